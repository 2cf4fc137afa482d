"""Search for a better XGBoost member by folds in time: trained on earlier days, judged on later ones, never on the last."""

from collections.abc import Callable, Mapping
from itertools import pairwise
from math import ceil
from typing import Any, Final, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from domain.errors import TrainingRefused
from models.boosting import Boosting
from models.categories import CategoryTables
from models.dataset import Dataset, calibration_start
from models.options import TrainingOptions, options_from
from models.sample import draw

N_FOLDS: Final = 3
#: A fold with fewer frauds to find says more about chance than about the options.
_FEWEST_FRAUDS: Final = 10

Space = Mapping[str, tuple[float, float, bool]]
"""Entry of the options -> least, most, whether it is searched on a logarithmic scale."""

SPACE: Final[Space] = {
    "boosting.depth": (2, 8, False),
    "boosting.learning_rate": (0.01, 0.3, True),
    "boosting.row_share": (0.4, 1.0, False),
    "boosting.feature_share": (0.1, 1.0, False),
    "boosting.min_child_weight": (0.1, 30.0, True),
    "boosting.l2": (0.1, 30.0, True),
    "sizes.boosting_rounds": (50, 800, True),
}

Point = Mapping[str, float]
"""Entry of SPACE -> value."""


class Proposer(Protocol):
    """Says where to look next."""

    def ask(self) -> Point:
        """Return the next point."""
        ...

    def tell(self, value: float) -> None:
        """Learn what the point asked last was worth; more is better."""
        ...


class Trial(msgspec.Struct, frozen=True):
    """One point that was tried."""

    options: Mapping[str, Any]
    """As in a file of training options; empty = the options that the search started from."""
    folds: list[float]
    """Average precision of each fold."""
    average_precision: float
    """Their mean."""


class Found(msgspec.Struct, frozen=True):
    """What a search found."""

    start: Trial
    best: Trial
    """May be the start itself."""
    trials: list[Trial]
    start_on_last_days: float | None
    best_on_last_days: float | None
    """Average precision on the calibration days, which no trial saw: the honest figure; None without frauds."""


def space_of(most_rounds: int) -> Space:
    """Return SPACE with at most so many boosting rounds: they are what a search takes its time for."""
    least, most, is_log = SPACE["sizes.boosting_rounds"]
    return {**SPACE, "sizes.boosting_rounds": (min(least, most_rounds), min(most, most_rounds), is_log)}


class RandomProposer:
    """Points drawn evenly from a space (Bergstra and Bengio, 2012)."""

    def __init__(self, seed: int, space: Space = SPACE) -> None:
        self._generator = np.random.default_rng(seed)
        self._space = space

    def ask(self) -> Point:
        """Return the next point."""
        found = {}
        for name, (least, most, is_log) in self._space.items():
            value = float(np.exp(self._generator.uniform(np.log(least), np.log(most))) if is_log else self._generator.uniform(least, most))
            found[name] = float(round(value)) if is_whole(name) else value
        return found

    def tell(self, value: float) -> None:
        """Learn nothing: every draw is independent."""


def is_whole(name: str) -> bool:
    """Tell whether an entry of SPACE is a whole number."""
    return name in ("boosting.depth", "sizes.boosting_rounds")


def search(
    dataset: Dataset,
    options: TrainingOptions,
    proposer: Proposer,
    *,
    n_trials: int,
    progress: Callable[[int, float], None] = lambda _number, _best: None,
) -> Found:
    """Try `n_trials` points beside the options as they are.

    Targets are those known at the moment of training, in every fold. The same dataset, options and proposer find the same.

    Args:
        dataset: The eligible rows.
        options: Where the search starts, and everything that it leaves alone.
        proposer: Says where to look.
        n_trials: Points.
        progress: Told the number of finished trials and the best average precision so far.

    Raises:
        TrainingRefused: Too few days or frauds for folds.
    """
    last = calibration_start(dataset, options)
    early = dataset.take(dataset.day < last)
    starts = fold_starts(early)
    best = start = _tried({}, early, starts, options)
    trials = []
    for number in range(n_trials):
        point = proposer.ask()
        trial = _tried(_table(point), early, starts, options)
        proposer.tell(trial.average_precision)
        trials.append(trial)
        if trial.average_precision > best.average_precision:
            best = trial
        progress(number + 1, best.average_precision)
    return Found(start, best, trials, _judged(dataset, last, None, start, options), _judged(dataset, last, None, best, options))


def fold_starts(early: Dataset) -> list[tuple[int, int]]:
    """Return the test days `[first, end)` of each fold: the last half of the days, cut in N_FOLDS.

    Raises:
        TrainingRefused: Too few days, or fewer frauds in a fold than would mean something.
    """
    days = np.unique(early.day)
    width = ceil(len(days) / 2 / N_FOLDS)
    edges = [len(days) - width * place for place in range(N_FOLDS, -1, -1)]
    if edges[0] < 1:
        raise TrainingRefused(
            f"{len(days)} day(s) before the calibration days are too few for {N_FOLDS} folds in time; give an earlier --from"
        )
    bounds = [int(days[edge]) if edge < len(days) else int(days[-1]) + 1 for edge in edges]
    found = list(pairwise(bounds))
    for first, end in found:
        n_frauds = int(early.target[(early.day >= first) & (early.day < end)].sum())
        if n_frauds < _FEWEST_FRAUDS or not early.target[early.day < first].any():
            raise TrainingRefused(
                f"a fold of the search would hold {n_frauds} known frauds, {_FEWEST_FRAUDS} are needed, and some before it; "
                "give an earlier --from"
            )
    return found


def _tried(table: dict[str, Any], early: Dataset, starts: list[tuple[int, int]], options: TrainingOptions) -> Trial:
    trial = Trial(table, [], 0.0)
    folds = [_judged(early, first, end, trial, options) or 0.0 for first, end in starts]
    return Trial(table, folds, float(np.mean(folds)))


def _judged(dataset: Dataset, first: int, end: int | None, trial: Trial, options: TrainingOptions) -> float | None:
    train = dataset.take(dataset.day < first)
    test = dataset.take((dataset.day >= first) & (dataset.day < (end or int(dataset.day.max()) + 1)))
    if not test.target.any():
        return None
    changed = options_from(trial.options, options, "search")
    member = Boosting.fit(draw(train, changed), changed)
    logit: NDArray[np.float64] = member.logit(CategoryTables.fit(train.vectors, train.target).encode(test.vectors))
    return float(average_precision_score(test.target, logit))


def _table(point: Point) -> dict[str, dict[str, float | int]]:
    """Return a point as tables of a file of training options; four digits are enough."""
    found: dict[str, dict[str, float | int]] = {}
    for name, value in point.items():
        section, _, entry = name.partition(".")
        found.setdefault(section, {})[entry] = int(value) if is_whole(name) else float(f"{value:.4g}")
    return found
