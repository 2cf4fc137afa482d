"""From a probability to an outcome: thresholds by tier, taken from the rates a team can work with."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from domain.decision import Outcome, Tier

_OUTCOMES: Final[tuple[Outcome, ...]] = ("approve", "review", "decline")


class Thresholds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Probabilities from which on (>=) a transaction is reviewed, and declined."""

    review: float
    decline: float


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The thresholds of each tier that a model answers for."""

    thresholds: Mapping[Tier, Thresholds]

    @property
    def version(self) -> str:
        """8 hex digits that change with any threshold."""
        return sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()[:8]

    def decide(self, probabilities: NDArray[np.float64], tier: Tier) -> list[Outcome]:
        """Return the outcome of each probability."""
        limits = self.thresholds[tier]
        severity = (probabilities >= limits.review).astype(np.int64) + (probabilities >= limits.decline)
        return [_OUTCOMES[place] for place in severity.tolist()]


def from_alert_rate(probabilities: NDArray[np.float64], *, alert_rate: float, decline_share: float) -> Thresholds:
    """Return the thresholds that make `alert_rate` of these probabilities alerts and `decline_share` of the alerts declines.

    Needs no labels. A threshold lies midway between two neighbouring probabilities, so that no row sits on it; where
    equal probabilities forbid the exact rate, the nearer one is taken.

    >>> from_alert_rate(np.arange(10) / 10, alert_rate=0.2, decline_share=0.5).review
    0.75
    """
    review = _cut(probabilities, alert_rate)
    return Thresholds(review, max(review, _cut(probabilities, alert_rate * decline_share)))


def _cut(probabilities: NDArray[np.float64], rate: float) -> float:
    values, counts = np.unique(probabilities, return_counts=True)
    above = np.append(np.cumsum(counts[::-1])[::-1], 0) / max(len(probabilities), 1)
    # above[i] is the share at or above values[i]; the last entry: nothing is.
    place = int(np.argmin(np.abs(above - rate)))
    if place == len(values):
        return (float(values[-1]) + 1.0) / 2 if len(values) else 1.0
    below = float(values[place - 1]) if place else 0.0
    return (below + float(values[place])) / 2
