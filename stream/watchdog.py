"""Ends the process when it is alive but no longer working. A thread, because the event loop may be what is stuck."""

import threading
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from stream.ending import End, ExitCode

_INTERVAL_S: Final = 0.25


class Limits(NamedTuple):
    """How long each kind of silence may last."""

    flow_s: float = 60.0
    """Records do not flow, and nobody says that the other side is away: a start or a rebalance that does not end."""
    loop_s: float = 15.0
    """The event loop does not turn."""
    coordinator_s: float = 2.0
    """A coordinator's error that nobody looked at."""
    unacknowledged_s: float = 30.0
    """The oldest unacknowledged chunk is neither answered nor told that the other side is away."""
    stop_s: float = 9.0
    """From the signal to the end of draining."""


class Vitals(NamedTuple):
    """The signs of life of one moment; times are monotonic seconds."""

    is_flowing: bool
    has_coordinator_error: bool = False
    is_coordinator_gone: bool = False
    stuck_since_s: float | None = None
    """See `stream.chunks.Flow.stuck_since_s`."""
    refused_s: float = 0.0
    """When an assignment was last refused because the other side is away; 0: never."""


class Judge:
    """Tells from the signs of life, looked at again and again, whether the process still works. Pure."""

    def __init__(self, limits: Limits, *, now_s: float) -> None:
        self._limits = limits
        self._flowed_s = now_s
        self._error_since_s: float | None = None
        self._stopping_since_s: float | None = None

    def stopping(self, now_s: float) -> None:
        """Note that the process was asked to stop; the first time counts."""
        self._stopping_since_s = self._stopping_since_s if self._stopping_since_s is not None else now_s

    def verdict(self, vitals: Vitals, *, loop_turned_s: float, now_s: float) -> str | None:
        """Return why the process must end, or None: it works."""
        limits = self._limits
        if self._stopping_since_s is not None:
            is_late = now_s - self._stopping_since_s > limits.stop_s
            return f"draining took longer than {limits.stop_s:g} s" if is_late else None
        if vitals.is_flowing:
            self._flowed_s = now_s
        self._flowed_s = max(self._flowed_s, vitals.refused_s)
        if not vitals.has_coordinator_error:
            self._error_since_s = None
        elif self._error_since_s is None:
            self._error_since_s = now_s
        age_s = 0.0 if vitals.stuck_since_s is None else now_s - vitals.stuck_since_s
        if self._error_since_s is not None and now_s - self._error_since_s > limits.coordinator_s:
            return "a coordinator's error is pending and nobody looks at it"
        if vitals.is_coordinator_gone:
            return "the coordination task has ended"
        if now_s - self._flowed_s > limits.flow_s:
            return f"no records flow for {limits.flow_s:g} s"
        if now_s - loop_turned_s > limits.loop_s:
            return f"the event loop did not turn for {limits.loop_s:g} s"
        if age_s > limits.unacknowledged_s:
            return f"a chunk is unacknowledged for {limits.unacknowledged_s:g} s"
        return None


class Watchdog:
    """The thread. `vitals` and `beat` are called in it, several times a second."""

    def __init__(
        self, vitals: Callable[[], Vitals], beat: Callable[[Callable[[], None]], None], *, end: End, limits: Limits | None = None
    ) -> None:
        """Prepare; nothing runs yet.

        Args:
            vitals: Returns the signs of life; must not block.
            beat: Schedules a function in the event loop; must not block.
            end: Ends the process.
            limits: None = the defaults.
        """
        self._vitals = vitals
        self._beat = beat
        self._end = end
        self._judge = Judge(limits or Limits(), now_s=time.monotonic())
        self._turned_s = time.monotonic()
        self._is_over = threading.Event()
        self.problem: str | None = None
        """Why the process is about to end; None: it works."""

    def start(self) -> None:
        """Begin to watch, in a daemon thread."""
        threading.Thread(target=self._watch, daemon=True, name="watchdog").start()

    def stopping(self) -> None:
        """Give the process its time to drain, and no more."""
        self._judge.stopping(time.monotonic())

    def stop(self) -> None:
        """Watch no longer."""
        self._is_over.set()

    def _watch(self) -> None:
        while not self._is_over.wait(_INTERVAL_S):
            self._beat(self._turn)
            self.problem = self._judge.verdict(self._vitals(), loop_turned_s=self._turned_s, now_s=time.monotonic())
            if self.problem is not None:
                self._end(ExitCode.STUCK, self.problem)
                return

    def _turn(self) -> None:
        self._turned_s = time.monotonic()
