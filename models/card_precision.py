"""Card precision: of the k cards that a team looks at each day, how many are frauds?"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_Counts = NDArray[np.float64]
#: Cards of a day beyond so many times k can only matter in a resample that leaves out nearly all before them.
_MARGIN = 8


class _Day(NamedTuple):
    card: NDArray[np.int64]
    """Cards of the day, the most suspicious first; ties by number."""
    is_fraud: NDArray[np.bool_]


class CardRanking:
    """The cards of each day in the order of their highest score.

    A card with any fraud on a day is a hit there; a card that was hit leaves the later days.
    """

    def __init__(
        self, score: NDArray[np.float64], target: NDArray[np.bool_], card: NDArray[np.int64], day: NDArray[np.int64], k: int = 100
    ) -> None:
        self.k = k
        self._n_cards = int(card.max(initial=-1)) + 1
        self._days = [_day(score[rows], target[rows], card[rows]) for rows in (np.flatnonzero(day == d) for d in np.unique(day))]

    def hits(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return, by day, the cards hit among the first k, and the fraud cards that were there to be hit."""
        gone = np.zeros(self._n_cards, np.bool_)
        hits, frauds = [], []
        for found in self._days:
            here = ~gone[found.card]
            card, is_fraud = found.card[here], found.is_fraud[here]
            hit = card[: self.k][is_fraud[: self.k]]
            gone[hit] = True
            hits.append(len(hit))
            frauds.append(int(is_fraud.sum()))
        return np.array(hits, np.int64), np.array(frauds, np.int64)

    @property
    def value(self) -> float:
        """Return card precision at k: the mean over the days of hits / k."""
        return float(self.hits()[0].mean() / self.k)

    @property
    def reach(self) -> float | None:
        """Return the mean of hits / min(k, fraud cards) over the days that have a fraud card; None if none has."""
        hits, frauds = self.hits()
        some = frauds > 0
        return float((hits[some] / np.minimum(self.k, frauds[some])).mean()) if some.any() else None

    def by_day(self, counts: _Counts) -> _Counts:
        """Return the precision of resamples of days; `counts` (n_days, B) tells how often each day was drawn."""
        found: _Counts = (self.hits()[0] / self.k) @ counts / counts.sum(axis=0)
        return found

    def by_card(self, counts: _Counts) -> _Counts:
        """Return the precision of resamples of cards; `counts` (n_cards, B): a card drawn twice takes two of the k places."""
        gone = np.zeros((self._n_cards, counts.shape[1]), np.bool_)
        total = np.zeros(counts.shape[1])
        for found in self._days:
            card, is_fraud = found.card[: _MARGIN * self.k], found.is_fraud[: _MARGIN * self.k, None]
            drawn = np.where(gone[card], 0.0, counts[card])
            before = np.cumsum(drawn, axis=0) - drawn
            seen = np.clip(self.k - before, 0.0, drawn) * is_fraud
            total += seen.sum(axis=0)
            gone[card] |= seen > 0
        found_precision: _Counts = total / (self.k * len(self._days))
        return found_precision


def _day(score: NDArray[np.float64], target: NDArray[np.bool_], card: NDArray[np.int64]) -> _Day:
    numbers, place = np.unique(card, return_inverse=True)
    highest = np.full(len(numbers), -np.inf)
    np.maximum.at(highest, place, score)
    order = np.lexsort((numbers, -highest))
    return _Day(numbers[order], (np.bincount(place, weights=target, minlength=len(numbers)) > 0)[order])
