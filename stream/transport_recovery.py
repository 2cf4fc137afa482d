"""A repair of Faust's recovery step, which takes a time-out for 'the service was stopped' and then stalls for good."""

from typing import Any

from faust.tables.recovery import RebalanceAgain, Recovery, ServiceStopped


async def _wait(self: Any, coro: Any, timeout: Any = None) -> None:
    """Wait for a step of the recovery; a time-out means try again.

    Raises:
        ServiceStopped: It was.
        RebalanceAgain: Another rebalance has begun, or the step took too long.
    """
    signal = self.signal_recovery_start
    result = await self.wait_first(coro, signal, timeout=timeout)
    if result.stopped:
        if self.should_stop:
            raise ServiceStopped
        signal.set()
        raise RebalanceAgain
    if signal in result.done:
        raise RebalanceAgain


def repair() -> None:
    """Put the repaired step in place, for this process."""
    Recovery._wait = _wait  # noqa: SLF001 - the one place; guarded by self_check
