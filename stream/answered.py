"""The answers of a chunk, before they are written."""

from collections.abc import Set as AbstractSet
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from domain.decision import Outcome, Reason, Tier
from stream.scored import Scored


class Answered(NamedTuple):
    """The answers of a chunk, one in each column for each transaction."""

    probabilities: list[float]
    outcomes: list[Outcome]
    flags: list[int]
    tiers: list[Tier]
    reasons: dict[int, tuple[Reason, ...]]
    """Of the rows that become alerts."""
    releases: dict[int, str]
    """What answered first, where it was not this worker's model; see `stream.pipeline`."""
    drawn: dict[int, float]
    """Rows of the control sample, and the probability of being drawn."""

    def scored(self, vectors: NDArray[np.float32], time_ms: NDArray[np.int64], model: str, others: AbstractSet[int]) -> Scored:
        """Return the rows but `others` for monitoring; at least one is left, and one tier answered all of them.

        Args:
            vectors: float32 (n, n_features).
            time_ms: Event times, (n,).
            model: `name@version`.
            others: Rows that are no first answers.
        """
        if not others:
            return Scored(vectors, np.array(self.probabilities), time_ms, self.outcomes, self.tiers[0], model)
        rows = [row for row in range(len(self.outcomes)) if row not in others]
        probabilities = np.array([self.probabilities[row] for row in rows])
        return Scored(vectors[rows], probabilities, time_ms[rows], [self.outcomes[row] for row in rows], self.tiers[rows[0]], model)
