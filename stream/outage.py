"""Whether the states' side is gone, and who is told when it is back."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import structlog

from domain.errors import Unavailable

#: Failures one after the other that begin an outage.
_FAILURES: Final = 2
_PROBE_S: Final = 0.5

log = structlog.get_logger("weir.outage")


class Outage:
    """A breaker: after two failures in a row answers do not wait for the states any more, until a seek has looked at them.

    While it is on nothing is applied, whatever answers again meanwhile: what was not applied comes first, after the seek.
    """

    def __init__(self, ping: Callable[[], Awaitable[object]], seek: asyncio.Event, *, is_degrading: bool) -> None:
        """Prepare.

        Args:
            ping: Asks the other side whether it is there; raises Unavailable if not.
            seek: Set as soon as it is there again.
            is_degrading: Answers go on without states. False: there is never an outage, work waits.
        """
        self._ping = ping
        self._seek = seek
        self._is_degrading = is_degrading
        self._n_failures = 0
        self.is_on = False
        self.n_outages = 0
        """The present one included."""
        self._began_s = 0.0
        self._past_s = 0.0

    @property
    def total_s(self) -> float:
        """Seconds in outages, the present one included."""
        return self._past_s + (time.monotonic() - self._began_s if self.is_on else 0.0)

    def failed(self) -> None:
        """Count a failure."""
        self._n_failures += 1
        if self._is_degrading and not self.is_on and self._n_failures >= _FAILURES:
            self.is_on = True
            self.n_outages += 1
            self._began_s = time.monotonic()
            log.error("answers_are_degraded", reason="redis does not answer; transactions are scored without their history")

    def worked(self) -> None:
        """Count a success; an outage lasts until `over`."""
        self._n_failures = 0

    def over(self) -> None:
        """End the outage: positions were read, what was not applied comes again."""
        self._n_failures = 0
        if self.is_on:
            self._past_s = self.total_s
            self.is_on = False
            log.warning("answers_are_whole_again")

    async def watch(self) -> None:
        """Ask every half second during an outage whether it is over, and wish for the seek then."""
        while True:
            await asyncio.sleep(_PROBE_S)
            if self.is_on:
                with suppress(Unavailable):
                    await self._ping()
                    self._seek.set()
