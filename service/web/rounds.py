"""Work that goes on until it is told to stop, and then ends soon whatever it waits for."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any, Final

import structlog

_LEAVE_S: Final = 0.3
"""Work that heeds `stop` ends within this; the rest is cancelled,"""
_CANCEL_S: Final = 0.7
"""and what does not end even so is left behind."""
_log = structlog.get_logger()


async def together(work: Iterable[Coroutine[Any, Any, None]], stop: asyncio.Event) -> None:
    """Run all until `stop` is set; return about a second later at most.

    Raises:
        BaseException: What the first of them raised; the others are ended then too.
    """
    tasks = [asyncio.create_task(one) for one in work]
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
        if stop.is_set():
            await asyncio.wait(tasks, timeout=_LEAVE_S)
    finally:
        stopping.cancel()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=_CANCEL_S)
    for task in tasks:
        if task.done() and not task.cancelled():
            task.result()


async def every(
    period_s: float,
    work: Callable[[], Awaitable[object]],
    stop: asyncio.Event,
    *,
    passes: tuple[type[Exception], ...] = (),
    until: Callable[[], bool] = lambda: False,
) -> None:
    """Do the work every so often until `stop` is set; what it raises unforeseen is logged, and it is done again.

    Args:
        period_s: Pause between the end of one round and the next.
        work: One round.
        stop: Ends it.
        passes: Errors that end it.
        until: Asked after each round; True ends it.
    """
    while not stop.is_set():
        try:
            await work()
        except passes:
            raise
        except Exception:  # noqa: BLE001 - the other views go on, and the log has it
            _log.exception("round_failed")
        if until():
            return
        await pause(stop, period_s)


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Wait so long, or until `stop` is set."""
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
