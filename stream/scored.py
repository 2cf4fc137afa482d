"""What was answered for the first time: what monitoring counts."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from domain.decision import Outcome, Tier


class Scored(NamedTuple):
    """First answers of a chunk, published now: no duplicates, nothing that was answered before a crash or in an outage."""

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


OnScored = Callable[[Scored], None]
"""Told of first answers once they are handed to the producer."""
