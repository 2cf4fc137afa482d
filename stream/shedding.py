"""Load shedding: when answers come late, the small model gives them until the stream has caught up. Pure."""

from collections.abc import Sequence
from typing import Final

#: Chunks one after the other that begin too late: one alone may be a pause of the machine.
_CHUNKS_ABOVE: Final = 3
#: How long chunks must begin early enough before the full model answers again.
_CALM_MS: Final = 5_000


class Shedding:
    """Decides, chunk by chunk, whether time is short. Begins above the budget, ends well below it (half, for 5 s).

    Attributes:
        is_on: Whether the small model answers now.
        n_times: How often it began.
    """

    def __init__(self, budget_ms: float) -> None:
        """Prepare.

        Args:
            budget_ms: From the append of a transaction to the beginning of its chunk; 0 = the full model always answers.
        """
        self._budget_ms = budget_ms
        self._n_above = 0
        self._calm_from_ms: int | None = None
        self.is_on = False
        self.n_times = 0

    def begin(self, append_ms: Sequence[int], now_ms: int) -> bool:
        """Tell whether a chunk that begins now is answered by the small model.

        Args:
            append_ms: Of its transactions, at least one; the oldest counts.
            now_ms: Wall clock.
        """
        if not self._budget_ms:
            return False
        waited_ms = now_ms - min(append_ms)
        self._n_above = self._n_above + 1 if waited_ms > self._budget_ms else 0
        if waited_ms > self._budget_ms / 2:
            self._calm_from_ms = None
        elif self._calm_from_ms is None:
            self._calm_from_ms = now_ms
        if self.is_on:
            self.is_on = self._calm_from_ms is None or now_ms - self._calm_from_ms < _CALM_MS
        elif self._n_above >= _CHUNKS_ABOVE:
            self.is_on = True
            self.n_times += 1
        return self.is_on
