"""From a probability to an outcome: thresholds by tier, taken from the rates a team can work with, and rules around them."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from domain.decision import Outcome, Tier
from models.rules import Rules

NO_RULES: Final = Rules()
_OUTCOMES: Final[tuple[Outcome, ...]] = ("approve", "review", "decline")


class Thresholds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Probabilities from which on (>=) a transaction is reviewed, and declined."""

    review: float
    decline: float

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            ValueError: The two are out of order, or not probabilities.
        """
        if not 0 <= self.review <= self.decline <= 1:
            raise ValueError(
                f"thresholds out of order: review from {self.review} on, decline from {self.decline} on; "
                "give probabilities, review not above decline"
            )


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The thresholds of each tier that a model answers for, and the rules around it."""

    thresholds: Mapping[Tier, Thresholds]
    rules: Rules = NO_RULES

    @property
    def version(self) -> str:
        """8 hex digits that change with any threshold and any rule."""
        return _digest(self)

    def decide(self, probabilities: NDArray[np.float64], tier: Tier) -> list[Outcome]:
        """Return the outcome of each probability."""
        limits = self.thresholds[tier]
        severity = (probabilities >= limits.review).astype(np.int64) + (probabilities >= limits.decline)
        return [_OUTCOMES[place] for place in severity.tolist()]


class LivePolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What people set while models serve; it replaces parts of the policy in each model's bundle."""

    thresholds: Mapping[Tier, Thresholds] | None = None
    """None, or a tier that is not in it: the bundle's."""
    model: str = ""
    """`name@version` that the thresholds are for: another model's probabilities mean something else, so it keeps its own."""
    rules: Rules = NO_RULES
    """For every model."""

    def __post_init__(self) -> None:
        """Refuse thresholds that are for no model.

        Raises:
            ValueError: There are some, and `model` is empty.
        """
        if self.thresholds and not self.model:
            raise ValueError("the thresholds name no model; give the name@version that they are for")

    @property
    def version(self) -> str:
        """8 hex digits that change with anything in it."""
        return _digest(self)

    def encode(self) -> bytes:
        """Return its bytes: JSON, keys in a fixed order."""
        return msgspec.json.encode(self, order="deterministic")


def effective(default: Policy, live: LivePolicy | None, model: str) -> Policy:
    """Return the policy that decides a model's answers.

    Args:
        default: Of the model's bundle.
        live: Set in the registry; None = none is.
        model: `name@version` of the model.
    """
    if live is None:
        return default
    thresholds = dict(default.thresholds)
    if live.thresholds and live.model == model:
        thresholds.update({tier: found for tier, found in live.thresholds.items() if tier in thresholds})
    return Policy(thresholds, live.rules or default.rules or NO_RULES)


def from_alert_rate(probabilities: NDArray[np.float64], *, alert_rate: float, decline_share: float) -> Thresholds:
    """Return the thresholds that make `alert_rate` of these probabilities alerts and `decline_share` of the alerts declines.

    Needs no labels. A threshold lies midway between two neighbouring probabilities, so that no row sits on it; where
    equal probabilities forbid the exact rate, the nearer one is taken.

    >>> from_alert_rate(np.arange(10) / 10, alert_rate=0.2, decline_share=0.5).review
    0.75
    """
    review = _cut(probabilities, alert_rate)
    return Thresholds(review, max(review, _cut(probabilities, alert_rate * decline_share)))


def _digest(value: msgspec.Struct) -> str:
    return sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()[:8]


def _cut(probabilities: NDArray[np.float64], rate: float) -> float:
    values, counts = np.unique(probabilities, return_counts=True)
    above = np.append(np.cumsum(counts[::-1])[::-1], 0) / max(len(probabilities), 1)
    # above[i] is the share at or above values[i]; the last entry: nothing is.
    place = int(np.argmin(np.abs(above - rate)))
    if place == len(values):
        return (float(values[-1]) + 1.0) / 2 if len(values) else 1.0
    below = float(values[place - 1]) if place else 0.0
    return (below + float(values[place])) / 2
