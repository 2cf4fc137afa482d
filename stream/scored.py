"""What was answered for the first time: what monitoring counts."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from domain.decision import Outcome, Tier, Variant


class ShadowCount(NamedTuple):
    """What the other model would have decided about the same rows."""

    model: str
    """`name@version`."""
    n: int
    n_alerts: int


class Scored(NamedTuple):
    """First answers of a chunk by one model, published now: no duplicates, nothing that was answered before a crash or in an outage."""

    vectors: NDArray[np.float32]
    """(n, n_features); NaN = missing."""
    probabilities: NDArray[np.float64]
    """(n,), calibrated."""
    time_ms: NDArray[np.int64]
    """Event times, (n,)."""
    outcomes: Sequence[Outcome]
    tier: Tier
    """Of all of them."""
    model: str
    """`name@version`."""
    variant: Variant = "champion"
    shadow: ShadowCount | None = None
    """None: no other model was asked."""


OnScored = Callable[[Scored], None]
"""Told of first answers once they are handed to the producer."""
