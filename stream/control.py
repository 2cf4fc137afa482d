"""The control sample's place in the answers: who is drawn for review, and what that changes."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from domain.decision import FLAG_BITS, Flag, Outcome
from features.index import FirstAnswer
from monitoring.control_sample import sampled

CONTROL: Final = FLAG_BITS[Flag.CONTROL]


class Control(NamedTuple):
    """How the control sample is drawn."""

    scale: float = 0.0
    """c in c sqrt(p); 0 = no sample."""
    is_released: bool = False
    """Whether a drawn transaction that would be declined is only reviewed. Nothing else changes a decision or an alert."""

    def draw(self, transaction_ids: Sequence[str], probabilities: NDArray[np.float64], outcomes: list[Outcome]) -> dict[int, float]:
        """Return row -> probability of being drawn, of the rows that are drawn; release the declined among them.

        The same transaction with the same probability is always or never drawn.

        Args:
            transaction_ids: As they arrived.
            probabilities: float64 (n,), calibrated.
            outcomes: Of the model; changed where a row is released.
        """
        if not self.scale:
            return {}
        mask, pi = sampled(transaction_ids, probabilities, self.scale)
        drawn = {row: float(pi[row]) for row in np.flatnonzero(mask).tolist()}
        if self.is_released:
            for row in drawn:
                if outcomes[row] == "decline":
                    outcomes[row] = "review"
        return drawn

    def draw_again(self, drawn: dict[int, float], row: int, first: FirstAnswer) -> None:
        """Let a duplicate be in the sample if its first answer is."""
        drawn.pop(row, None)
        if first.flags & CONTROL and self.scale:
            drawn[row] = float(sampled([""], np.array([first.probability]), self.scale).pi[0])


def with_control(flags: NDArray[np.uint16], drawn: Mapping[int, float]) -> NDArray[np.uint16]:
    """Return the flags of a chunk with those of the sample."""
    if not drawn:
        return flags
    flags = flags.copy()
    flags[list(drawn)] |= np.uint16(CONTROL)
    return flags
