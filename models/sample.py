"""What the members are fitted on: encoded rows, the good ones sampled down, blocks missing here and there."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.categories import CATEGORY_COLUMNS, encode_by_day
from models.dataset import Dataset
from models.hidden import hidden_columns
from models.imbalance import balanced
from models.missing import with_missing_blocks
from models.options import TrainingOptions


@dataclass(frozen=True, slots=True)
class Sample:
    """Rows to fit a member on.

    Attributes:
        inputs: float32, shape (n, N_FEATURES); categories already log odds; NaN is missing.
        target: Fraud or not.
        weight: What a row stands for, sampling apart.
        good_share: Share of the good rows that were kept, over what a fraud counts; odds learnt here times it are the true odds.
    """

    inputs: NDArray[np.float32]
    target: NDArray[np.bool_]
    weight: NDArray[np.float32]
    good_share: float


def draw(dataset: Dataset, options: TrainingOptions) -> Sample:
    """Return all frauds and at most `most_good_rows` good rows, drawn by the seed, with repetitions without blocks.

    Features that the model may not use are missing throughout: no member learns anything from them.

    Raises:
        ConfigError: The options name a feature that does not exist.
    """
    good = np.flatnonzero(~dataset.target)
    share = min(1.0, options.most_good_rows / max(len(good), 1))
    chosen = np.random.default_rng(options.seed).choice(good, round(share * len(good)), replace=False)
    rows = np.sort(np.concatenate([np.flatnonzero(dataset.target), chosen]))
    inputs = dataset.vectors[rows]
    # What a category is worth comes from all rows, not from the sample.
    inputs[:, CATEGORY_COLUMNS] = encode_by_day(dataset.vectors[:, CATEGORY_COLUMNS], dataset.target, dataset.day)[rows]
    inputs[:, hidden_columns(options.without)] = np.nan
    (inputs, target, weight), correction = balanced((inputs, dataset.target[rows], dataset.weight[rows]), options)
    inputs, target, weight = with_missing_blocks(inputs, target, weight, options.seed + 1)
    return Sample(inputs, target, weight.astype(np.float32), share * correction)
