"""Is a trial doing harm? Five-minute windows of what the workers count, judged without any label."""

from collections.abc import Iterable, Mapping, Sequence
from math import sqrt
from typing import Final

import msgspec

from monitoring.fleet import WorkerState

WINDOW_MS: Final = 300_000
FEWEST_ROWS: Final = 2_000
"""A window with fewer answers is not judged."""
LOOKED_AT: Final = 3
"""Judged windows that are looked at,"""
BROKEN: Final = 2
"""and how many of them must be broken."""
_RATE: Final = (0.5, 2.0)
"""Alert rate in canary against that in shadow."""
_SURE: Final = 3.5
"""Standard errors by which the rates differ at least: with few alerts a rate doubles by chance."""
_NOT_FULL: Final = 0.01
_LATE: Final = 0.01
"""More answers than this later than the budget: the 99th percentile exceeds it."""


class TrialWindow(msgspec.Struct, frozen=True):
    """What all workers counted in five minutes."""

    from_ms: int
    """Its beginning: UTC, ms since the epoch; it is WINDOW_MS long."""
    n: int = 0
    """Answers, whoever gave them."""
    n_not_full: int = 0
    """Of these: in another tier than full."""
    n_late: int = 0
    """Of these: surely later than the latency budget; 0 without one."""
    n_challenger: int = 0
    """Answers that the challenger gave,"""
    n_challenger_alerts: int = 0
    """alerts among them,"""
    n_shadow: int = 0
    """answers of others for which the challenger was asked,"""
    n_shadow_alerts: int = 0
    """and what it would have alerted of these."""

    def __add__(self, other: "TrialWindow") -> "TrialWindow":
        """Return both together; the beginning is this one's."""
        sums = {name: getattr(self, name) + getattr(other, name) for name in self.__struct_fields__[1:]}
        return TrialWindow(self.from_ms, **sums)


def harm(window: TrialWindow) -> str:
    """Return what is wrong with a window, empty if nothing is."""
    if window.n_challenger and window.n_shadow and _is_other_rate(window):
        rate, usual = window.n_challenger_alerts / window.n_challenger, window.n_shadow_alerts / window.n_shadow
        return f"it alerts on {rate:.2%} of the transactions that it decides and on {usual:.2%} of those that it only scores"
    if window.n_not_full > _NOT_FULL * window.n:
        return f"{window.n_not_full / window.n:.1%} of the answers are not the full model's"
    if window.n_late > _LATE * window.n:
        return f"{window.n_late / window.n:.1%} of the answers are later than the latency budget"
    return ""


def found_harm(window: TrialWindow) -> str:
    """Return what is wrong with a window that has enough answers to be judged, empty if nothing is."""
    return harm(window) if window.n >= FEWEST_ROWS else ""


def why_roll_back(windows: Sequence[TrialWindow]) -> str:
    """Return why a trial must end, empty if it need not: BROKEN of the last LOOKED_AT windows with FEWEST_ROWS are harmed.

    Args:
        windows: Ended ones, oldest first.
    """
    judged = [window for window in windows if window.n >= FEWEST_ROWS][-LOOKED_AT:]
    found = [said for window in judged if (said := harm(window))]
    if len(found) < BROKEN:
        return ""
    return f"in {len(found)} of the last {len(judged)} five-minute windows something was wrong; in the newest of them {found[-1]}"


class WindowCounter:
    """Makes windows of what the workers say, which is cumulative.

    Args:
        model: `name@version` of the challenger.
        started_ms: When its trial began: what was counted before does not count. A worker that started later counts from nothing.
        budget_ms: Latency budget; 0 = none.
    """

    def __init__(self, model: str, started_ms: int, budget_ms: float) -> None:
        self._model = model
        self._started_ms = started_ms
        self._budget_s = budget_ms / 1000
        self._last: dict[str, TrialWindow] = {}
        self._open: TrialWindow | None = None
        self.windows: list[TrialWindow] = []
        """Ended ones, the last LOOKED_AT that are judged and what lies between them, oldest first."""

    def hear(self, states: Iterable[WorkerState], now_ms: int) -> bool:
        """Take what the workers say now; tell whether a window has ended."""
        from_ms = now_ms // WINDOW_MS * WINDOW_MS
        has_ended = self._open is not None and self._open.from_ms < from_ms
        if self._open is not None and has_ended:
            self.windows = [*self.windows, self._open][-4 * LOOKED_AT :]
            self._open = None
        for state in states:
            total = self._total(state)
            before = self._last.get(state.worker)
            if before is None:
                before = TrialWindow(0) if state.started_ms >= self._started_ms else total
            self._last[state.worker] = total
            self._open = (self._open or TrialWindow(from_ms)) + _less(total, before)
        return has_ended

    def _total(self, state: WorkerState) -> TrialWindow:
        found: Mapping[str, list[int]] = {"challenger": [0, 0], "shadow": [0, 0]}
        n = n_not_full = 0
        for count in state.variants:
            if count.variant != "shadow":
                n, n_not_full = n + count.n, n_not_full + count.n_not_full
            if count.model == self._model and count.variant in found:
                found[count.variant][0] += count.n
                found[count.variant][1] += count.n_alerts
        return TrialWindow(0, n, n_not_full, self._late(state), *found["challenger"], *found["shadow"])

    def _late(self, state: WorkerState) -> int:
        """Return the answers in buckets that lie wholly above the budget."""
        if not self._budget_s:
            return 0
        lower = (0.0, *state.latency_edges_s)
        return sum(count for edge, count in zip(lower, state.latency_counts, strict=False) if edge >= self._budget_s)


def _less(total: TrialWindow, before: TrialWindow) -> TrialWindow:
    return TrialWindow(0, **{name: getattr(total, name) - getattr(before, name) for name in total.__struct_fields__[1:]})


def _is_other_rate(window: TrialWindow) -> bool:
    n, m, a, b = window.n_challenger, window.n_shadow, window.n_challenger_alerts, window.n_shadow_alerts
    rate, usual, pooled = a / n, b / m, (a + b) / (n + m)
    error = sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    return not _RATE[0] * usual <= rate <= _RATE[1] * usual and abs(rate - usual) > _SURE * error
