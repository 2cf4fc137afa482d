"""Is the difference between two models more than chance? Both are measured on the same resamples of cards and of days.

Errors of a card's rows go together, and so do those of a day; the larger of the two standard errors counts
(1,000 resamples; Efron and Tibshirani 1993, block resampling by card and by day).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.card_precision import CardRanking
from models.ranking import Ranking

_Scores = NDArray[np.float64]
_Flags = NDArray[np.bool_]
_Numbers = NDArray[np.int64]
_CHUNK: Final = 100
_RESAMPLES: Final = 1000
_SEED: Final = 20_260_101


class Paired(msgspec.Struct, frozen=True):
    """A minus b."""

    mean: float
    """Mean over the folds."""
    se: float
    """The larger of the two standard errors."""
    better_folds: int
    """Folds in which a is better."""
    n_folds: int
    se_by_card: float
    se_by_day: float


class _Measured(NamedTuple):
    """A metric of one fold, of itself and of resamples."""

    value: float
    by_card: Callable[[_Scores], _Scores]
    by_day: Callable[[_Scores], _Scores]


Metric = Callable[[_Scores, _Flags, _Numbers, _Numbers], _Measured]


def _by_rank(method: str, score: _Scores, target: _Flags, card: _Numbers, day: _Numbers) -> _Measured:
    by_card, by_day = (Ranking(score, target, cluster, int(cluster.max()) + 1) for cluster in (card, day))
    return _Measured(float(getattr(by_day, method)(by_day.once)[0]), getattr(by_card, method), getattr(by_day, method))


def card_precision_at(k: int) -> Metric:
    """Return card precision at k as a metric; rows of known cards must be left out before."""

    def metric(score: _Scores, target: _Flags, card: _Numbers, day: _Numbers) -> _Measured:
        found = CardRanking(score, target, card, day, k)
        return _Measured(found.value, found.by_card, found.by_day)

    return metric


#: Metrics that `paired_difference` knows by name; larger is better for all of them.
METRICS: Final[Mapping[str, Metric]] = {
    "average_precision": partial(_by_rank, "average_precision"),
    "roc_auc": partial(_by_rank, "roc_auc"),
    "card_precision_at_100": card_precision_at(100),
}


@dataclass(frozen=True, slots=True)
class Spread:
    """One model's metric: by fold, and its mean over the folds in every resample."""

    by_fold: _Scores
    by_card: _Scores
    by_day: _Scores

    def minus(self, other: "Spread") -> Paired:
        """Return the paired difference; both must come from the same `Resamples`."""
        by_fold = self.by_fold - other.by_fold
        by_card, by_day = (float(np.nanstd(d, ddof=1)) for d in (self.by_card - other.by_card, self.by_day - other.by_day))
        return Paired(float(by_fold.mean()), max(by_card, by_day), int((by_fold > 0).sum()), len(by_fold), by_card, by_day)


class Resamples:
    """Draws of cards (over all folds together) and of days (within each fold), the same for every model.

    Memory: one byte for each card and resample.

    Args:
        target: Fraud or not, (n,).
        card: Any number of each row's card.
        day: Any number of each row's day.
        fold: Number of each row's fold; None = there is one.
        n_resamples: How many draws.
        seed: The same seed draws the same.
    """

    def __init__(
        self, target: _Flags, card: _Numbers, day: _Numbers, fold: _Numbers | None = None, *, n_resamples: int = _RESAMPLES,
        seed: int = _SEED,
    ) -> None:  # fmt: skip
        self._target = target
        cards, self._card = np.unique(card, return_inverse=True)
        fold = np.zeros(len(target), np.int64) if fold is None else fold
        self._folds = [np.flatnonzero(fold == number) for number in np.unique(fold)]
        self._days = [np.unique(day[rows], return_inverse=True)[1] for rows in self._folds]
        random = np.random.default_rng(seed)
        self._by_card = _draws(random, len(cards), n_resamples)
        self._by_day = [_draws(random, int(days.max()) + 1, n_resamples) for days in self._days]

    def spread(self, metric: Metric, score: _Scores) -> Spread:
        """Return a model's metric by fold and by resample."""
        n = self._by_card.shape[1]
        by_fold, by_card, by_day = [], np.zeros(n), np.zeros(n)
        for rows, days, day_draws in zip(self._folds, self._days, self._by_day, strict=True):
            cards, card = np.unique(self._card[rows], return_inverse=True)
            measured = metric(score[rows], self._target[rows], card, days)
            by_fold.append(measured.value)
            by_day += measured.by_day(day_draws.astype(np.float64))
            for first in range(0, n, _CHUNK):
                chosen = slice(first, first + _CHUNK)
                by_card[chosen] += measured.by_card(self._by_card[cards, chosen].astype(np.float64))
        return Spread(np.array(by_fold), by_card / len(self._folds), by_day / len(self._folds))


def paired_difference(
    metric: str | Metric,
    a: _Scores,
    b: _Scores,
    target: _Flags,
    card: _Numbers,
    day: _Numbers,
    *,
    fold: _Numbers | None = None,
    n_resamples: int = _RESAMPLES,
    seed: int = _SEED,
) -> Paired:
    """Return how much better `a` is than `b` on the same rows, with its standard error.

    Args:
        metric: A name of METRICS, or a metric.
        a: Scores, (n,).
        b: Scores of the same rows.
        target: Fraud or not; each fold needs both kinds.
        card: Any number of each row's card.
        day: Any number of each row's day.
        fold: Number of each row's fold; the metric is taken by fold, then averaged. None = one fold.
        n_resamples: How many draws.
        seed: Of the draws.
    """
    resamples = Resamples(target, card, day, fold, n_resamples=n_resamples, seed=seed)
    found = METRICS[metric] if isinstance(metric, str) else metric
    return resamples.spread(found, a).minus(resamples.spread(found, b))


def _draws(random: np.random.Generator, n: int, n_resamples: int) -> NDArray[np.uint8]:
    """Return how often each of n clusters is drawn in each resample of n, (n, n_resamples)."""
    found = np.empty((n_resamples, n), np.uint8)
    for place in range(n_resamples):
        found[place] = np.bincount(random.integers(0, n, n), minlength=n)
    return np.ascontiguousarray(found.T)
