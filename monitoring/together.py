"""Transactions of one day against earlier days, all features at once: what was found, beside what is usual.

Days can always be told apart to some degree, for rows of one card or merchant resemble each other; so each earlier day is held
against the others by the same method, and only what exceeds the most unusual of them counts as a change. It is shown beside the
alarms of single features and never an alarm by itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from monitoring.drift_evaluation import CLOCK, GROWING_SUFFIX
from monitoring.multivariate import Matrix, Subspace, Telling, telling

LEAST_ROWS: Final = 500
"""Of each day; with fewer the classifier learns the rows by heart."""
_MORE_TOLD: Final = 0.05
"""So much more than usual the AUC must be."""
_LOOSER: Final = 1.2
"""So many times the usual the reconstruction error must be."""
_Z_95: Final = 1.96
_TINY: Final = float(np.finfo(float).tiny)


@dataclass(frozen=True, slots=True)
class ErrorRatio:
    """Mean squared reconstruction error (in variances of a feature) of a day and of earlier days, and how they compare."""

    now: float
    before: float
    """Of rows that the axes were not fitted on."""
    low: float
    """95 % interval of `now / before`, for independent rows."""
    high: float

    @property
    def times(self) -> float:
        """Return `now / before`; above 1 features go together less closely than before."""
        return self.now / max(self.before, _TINY)


@dataclass(frozen=True, slots=True)
class Together:
    """One comparison."""

    told: Telling
    told_by: tuple[str, ...]
    """Features by which it is told, the strongest first."""
    error: ErrorRatio
    usual_auc: float | None
    """The highest that an earlier day reaches against the others; None with fewer than two of them."""
    usual_times: float | None
    """The same of the reconstruction error."""

    @property
    def is_told(self) -> bool:
        """Whether the day can be told from earlier ones by more than is usual."""
        return self.usual_auc is not None and self.told.low > self.usual_auc and self.told.auc >= self.usual_auc + _MORE_TOLD

    @property
    def is_looser(self) -> bool:
        """Whether its features go together less closely than is usual."""
        return self.usual_times is not None and self.error.low > self.usual_times and self.error.times >= self.usual_times * _LOOSER


def is_telling_time(feature: str) -> bool:
    """Tell whether a feature follows the clock or grows for ever: by it, days can always be told apart.

    >>> is_telling_time("event_hour_sin"), is_telling_time("card_transactions_ever"), is_telling_time("card_count_24h")
    (True, True, False)
    """
    return feature in CLOCK or feature.endswith(GROWING_SUFFIX)


def compare(recent: Matrix, earlier: Sequence[Matrix], names: Sequence[str], *, seed: int) -> Together:
    """Compare a day with earlier ones; it takes seconds for 3,000 rows of 200 features of each day.

    Args:
        recent: (n, len(names)), at least LEAST_ROWS rows in no particular order; NaN = missing.
        earlier: Likewise, of each earlier day. Of these as many rows are taken as the day has that is held against them.
        names: Of the features; those that tell the time are left out.
        seed: Of the classifier's folds.
    """
    columns = [place for place, name in enumerate(names) if not is_telling_time(name)]
    recent, earlier = recent[:, columns], [day[:, columns] for day in earlier]
    told, error = _against(recent, earlier, seed)
    told_by = tuple(names[columns[place]] for place in told.columns)
    if len(earlier) < 2:
        return Together(told, told_by, error, None, None)
    usual = [_against(day, [*earlier[:place], *earlier[place + 1 :]], seed) for place, day in enumerate(earlier)]
    return Together(told, told_by, error, max(told.auc for told, _ in usual), max(error.times for _, error in usual))


def _against(day: Matrix, others: Sequence[Matrix], seed: int) -> tuple[Telling, ErrorRatio]:
    n_each = -(-len(day) // len(others))
    reference = np.concatenate([other[:n_each] for other in others])
    subspace = Subspace.fit(reference[::2])
    now, before = subspace.errors(day), subspace.errors(reference[1::2])
    mean, mean_before = float(now.mean()), float(before.mean())
    relative = [float(e.std()) / np.sqrt(len(e)) / max(m, _TINY) for e, m in ((now, mean), (before, mean_before))]
    times, factor = mean / max(mean_before, _TINY), float(np.exp(_Z_95 * np.hypot(*relative)))
    return telling(reference, day, seed=seed), ErrorRatio(mean, mean_before, times / factor, times * factor)
