"""Which features earn their place: a report, not a decision. Judged on days that the member has not seen."""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from features.spec import FEATURES
from models.boosting import Boosting
from models.categories import CategoryTables
from models.dataset import Dataset, calibration_start
from models.hidden import BLOCKS, hidden_columns
from models.options import TrainingOptions
from models.sample import draw

#: Rank correlation from which on a feature says what a stronger one says already.
REDUNDANT: Final = 0.98
#: Sizes of the strongest sets that are tried.
_TOP: Final = (10, 20, 40, 80)
_REPEATS: Final = 3
_MOST_GOOD_ROWS: Final = 10_000
#: Rows for rank correlations.
_RANK_ROWS: Final = 4_000


class FeatureWorth(msgspec.Struct, frozen=True):
    """One feature."""

    name: str
    known_share: float
    """Of the rows in which it is not missing."""
    auc_alone: float
    """Of the feature by itself, the better direction, where it is known; 0.5 = says nothing."""
    gain_share: float
    """Of the booster's gain."""
    loss: float
    """Of average precision when its values are shuffled, mean of three shuffles."""
    loss_sd: float
    redundant_with: str
    """A stronger feature that ranks the rows alike; empty: none."""
    verdict: str
    """`useful`, `redundant`, `unused` (no split) or `weak` (shuffling costs nothing beyond its noise)."""


class SetWorth(msgspec.Struct, frozen=True):
    """The member trained again on a part of the features."""

    name: str
    n_features: int
    average_precision: float


class SelectionReport(msgspec.Struct, frozen=True):
    """The report; average precision is XGBoost's on the calibration days, good rows sampled down alike for all."""

    n_rows: int
    n_frauds: int
    features: list[FeatureWorth]
    """The most useful first."""
    sets: list[SetWorth]
    """All features, the strongest few, and all without one block."""


def select(dataset: Dataset, options: TrainingOptions, *, progress: Callable[[float], None] = lambda _share: None) -> SelectionReport:
    """Report what each feature, the strongest few, and each block of features are worth.

    Args:
        dataset: The eligible rows.
        options: Of the member, XGBoost, and of the draw.
        progress: Told the finished share.

    Raises:
        TrainingRefused: Too few days or frauds.
    """
    start = calibration_start(dataset, options)
    early, late = dataset.take(dataset.day < start), _thinned(dataset.take(dataset.day >= start), options.seed)
    sample, tables = draw(early, options), CategoryTables.fit(early.vectors, early.target)
    member, test = Boosting.fit(sample, options), tables.encode(late.vectors)
    gains = _gains(member)
    losses = _losses(member, test, late.target, gains, options.seed, lambda share: progress(0.6 * share))
    worth = _worth(test, late.target, gains, losses)
    order = [feature.name for feature in worth]
    n_all = len(FEATURES) - len(hidden_columns(options.without))
    sets = [SetWorth("all", n_all, _precision(member, test, late.target))]
    wanted = {f"strongest {n}": order[n:] for n in _TOP} | {f"without {block}": [block] for block in BLOCKS}
    for place, (name, without) in enumerate(wanted.items()):
        changed = msgspec.structs.replace(options, without=(*options.without, *without))
        again = Boosting.fit(draw(early, changed), changed)
        sets.append(SetWorth(name, len(FEATURES) - len(hidden_columns(changed.without)), _precision(again, test, late.target)))
        progress(0.6 + 0.4 * (place + 1) / len(wanted))
    return SelectionReport(len(late.target), int(late.target.sum()), worth, sets)


def _thinned(late: Dataset, seed: int) -> Dataset:
    """Return all frauds and some good rows: shuffling 188 features over every row would take minutes."""
    good = np.flatnonzero(~late.target)
    keep = late.target.copy()
    keep[np.random.default_rng(seed).permutation(good)[:_MOST_GOOD_ROWS]] = True
    return late.take(keep)


def _gains(member: Boosting) -> NDArray[np.float64]:
    found: Mapping[str, float] = member.booster.get_score(importance_type="total_gain")
    gains = np.array([found.get(f"f{place}", 0.0) for place in range(len(FEATURES))])
    return gains / max(float(gains.sum()), 1e-30)


def _losses(
    member: Boosting,
    test: NDArray[np.float32],
    target: NDArray[np.bool_],
    gains: NDArray[np.float64],
    seed: int,
    progress: Callable[[float], None],
) -> NDArray[np.float64]:
    """Return what shuffling costs, shape (features, repeats); 0 for a feature that is never split on (Breiman, 2001)."""
    whole = _precision(member, test, target)
    found = np.zeros((len(gains), _REPEATS))
    for column in np.flatnonzero(gains):
        kept = test[:, column].copy()
        generator = np.random.default_rng((seed, int(column)))
        for repeat in range(_REPEATS):
            test[:, column] = generator.permutation(kept)
            found[column, repeat] = whole - _precision(member, test, target)
        test[:, column] = kept
        progress((column + 1) / len(gains))
    return found


def _worth(
    test: NDArray[np.float32], target: NDArray[np.bool_], gains: NDArray[np.float64], losses: NDArray[np.float64]
) -> list[FeatureWorth]:
    mean, deviation = losses.mean(axis=1), losses.std(axis=1, ddof=1)
    order = np.lexsort((-gains, -mean))
    ranks = _ranks(test[:_RANK_ROWS])
    found: list[FeatureWorth] = []
    for place, column in enumerate(order):
        known = ~np.isnan(test[:, column])
        twin = ""
        if gains[column] > 0:
            alike = [other for other in order[:place] if abs(float(ranks[:, other] @ ranks[:, column])) >= REDUNDANT]
            twin = FEATURES[alike[0]].name if alike else ""
        is_weak = mean[column] <= 2.0 * deviation[column] / np.sqrt(_REPEATS)
        verdict = "unused" if gains[column] == 0 else "redundant" if twin else "weak" if is_weak else "useful"
        found.append(
            FeatureWorth(
                name=FEATURES[column].name,
                known_share=float(known.mean()),
                auc_alone=_auc(test[known, column], target[known]),
                gain_share=float(gains[column]),
                loss=float(mean[column]),
                loss_sd=float(deviation[column]),
                redundant_with=twin,
                verdict=verdict,
            )
        )
    return found


def _ranks(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return columns of ranks with mean 0 and length 1 (a constant column: zeros); missing values share the lowest rank."""
    filled = np.where(np.isnan(rows), np.float32(-np.inf), rows)
    ranks = np.empty(rows.shape)
    for column in range(rows.shape[1]):
        values, place = np.unique(filled[:, column], return_inverse=True)
        counts = np.bincount(place, minlength=len(values))
        ranks[:, column] = (np.cumsum(counts) - counts / 2.0)[place]
    ranks -= ranks.mean(axis=0)
    length = np.sqrt((ranks**2).sum(axis=0))
    return ranks / np.where(length > 0, length, 1.0)


def _auc(values: NDArray[np.float32], target: NDArray[np.bool_]) -> float:
    if not target.any() or target.all():
        return 0.5
    found = float(roc_auc_score(target, values))
    return max(found, 1.0 - found)


def _precision(member: Boosting, test: NDArray[np.float32], target: NDArray[np.bool_]) -> float:
    return float(average_precision_score(target, member.logit(test)))
