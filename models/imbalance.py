"""Ways to make rare frauds count more in fitting. The odds learnt are corrected, so probabilities stay true.

None of them won on the histories that the recipe was chosen on; they are here to be compared: `weir evaluate --configurations`.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from features.spec import CATEGORY_FEATURES, COLUMN
from models.options import TrainingOptions
from models.standard import Standard

#: Fraud neighbours between which a synthetic fraud may lie; the paper's.
_NEIGHBOURS: Final = 5

Rows = tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.float64]]


def balanced(rows: Rows, options: TrainingOptions) -> tuple[Rows, float]:
    """Return inputs, target and weight with every fraud counting `fraud_factor` times, and the odds' correction.

    `weights` multiplies the weight of frauds, `repeat` repeats their rows, `smote` adds rows between neighbouring
    frauds (Chawla and others, 2002); `none` leaves all as it is.

    Args:
        rows: Inputs float32 (n, N_FEATURES), target, weight.
        options: Which way, how strong, and the seed.
    """
    inputs, target, weight = rows
    if options.imbalance == "none" or options.fraud_factor == 1 or not target.any():
        return rows, 1.0
    correction = 1.0 / options.fraud_factor
    if options.imbalance == "weights":
        return (inputs, target, np.where(target, weight * options.fraud_factor, weight)), correction
    frauds = np.repeat(np.flatnonzero(target), options.fraud_factor - 1)
    more = inputs[frauds] if options.imbalance == "repeat" else _between(inputs, target, frauds, options.seed + 3)
    parts = (np.concatenate([inputs, more]), np.concatenate([target, target[frauds]]), np.concatenate([weight, weight[frauds]]))
    return parts, correction


def _between(inputs: NDArray[np.float32], target: NDArray[np.bool_], frauds: NDArray[np.int64], seed: int) -> NDArray[np.float32]:
    """Return a row between each of `frauds` and one of its nearest frauds; what is missing in one of both is the fraud's own."""
    generator = np.random.default_rng(seed)
    own = np.flatnonzero(target)
    _, columns = Standard.fit(inputs[own])
    n_near = min(_NEIGHBOURS, len(own) - 1) + 1
    near = NearestNeighbors(n_neighbors=n_near, algorithm="brute").fit(columns).kneighbors(columns, return_distance=False)
    place = np.searchsorted(own, frauds)
    other = own[near[place, generator.integers(min(1, n_near - 1), n_near, len(frauds))]]
    share = generator.random((len(frauds), 1), np.float32)
    start = inputs[frauds]
    step = share * (inputs[other] - start)
    # Between two categories there is nothing.
    step[:, [COLUMN[name] for name in CATEGORY_FEATURES]] = 0.0
    found: NDArray[np.float32] = start + np.nan_to_num(step, nan=0.0)
    return found
