"""Ctrl-C and SIGTERM for commands that run until they are told to stop."""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run_until_interrupted(work: Callable[[asyncio.Event], Coroutine[Any, Any, T]]) -> tuple[T, bool]:
    """Run `work(stop)` in an event loop of its own; the first Ctrl-C or SIGTERM sets `stop`, a second one ends at once.

    Returns:
        What `work` returned, and whether it was told to stop.
    """

    async def run() -> tuple[T, bool]:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        numbers = (signal.SIGINT, signal.SIGTERM)

        def interrupt() -> None:
            stop.set()
            for number in numbers:
                loop.remove_signal_handler(number)

        for number in numbers:
            loop.add_signal_handler(number, interrupt)
        return await work(stop), stop.is_set()

    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run())
