"""The answers of a chunk, before they are written."""

from collections.abc import Set as AbstractSet
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from domain.decision import Outcome, Reason, Shadow, Tier
from stream.lineup import Release
from stream.scored import Scored, ShadowCount


class Answered(NamedTuple):
    """The answers of a chunk, one in each column for each transaction."""

    probabilities: list[float]
    outcomes: list[Outcome]
    flags: list[int]
    tiers: list[Tier]
    release: Release
    """By what the rows are answered that are not in `releases`."""
    releases: dict[int, Release]
    """By what the others are: the challenger, a rule, or, for duplicates, what answered first."""
    reasons: dict[int, tuple[Reason, ...]]
    """Of the rows that become alerts."""
    drawn: dict[int, float]
    """Rows of the control sample, and the probability of being drawn."""
    shadows: list[Shadow] | None = None
    """What the other model says about each row; None: there is none, or it was not asked."""
    shadow_outcomes: list[Outcome] | None = None
    """What it would have decided."""

    def scored(self, vectors: NDArray[np.float32], time_ms: NDArray[np.int64], others: AbstractSet[int]) -> list[Scored]:
        """Return the rows but `others` for monitoring, those of each variant together; one tier answered all of them.

        Args:
            vectors: float32 (n, n_features).
            time_ms: Event times, (n,).
            others: Rows that are no first answers.
        """
        n = len(self.outcomes)
        if not others and not self.releases and self.shadows is None:
            return [Scored(vectors, np.array(self.probabilities), time_ms, self.outcomes, self.tiers[0], self.release.model)]
        found: dict[str, list[int]] = {}
        for row in range(n):
            if row not in others:
                found.setdefault(self.releases.get(row, self.release).variant, []).append(row)
        return [self._scored_rows(vectors, time_ms, rows) for rows in found.values()]

    def _scored_rows(self, vectors: NDArray[np.float32], time_ms: NDArray[np.int64], rows: list[int]) -> Scored:
        release = self.releases.get(rows[0], self.release)
        shadow = None
        if self.shadows is not None and self.shadow_outcomes is not None:
            n_alerts = sum(self.shadow_outcomes[row] != "approve" for row in rows)
            shadow = ShadowCount(self.shadows[rows[0]].model, len(rows), n_alerts)
        return Scored(
            vectors[rows], np.array([self.probabilities[row] for row in rows]), time_ms[rows], [self.outcomes[row] for row in rows],
            self.tiers[rows[0]], release.model, release.variant, shadow,
        )  # fmt: skip
