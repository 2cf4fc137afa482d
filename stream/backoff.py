"""Wait and try again while the other side is unavailable."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import structlog

from domain.errors import Unavailable

T = TypeVar("T")

_FIRST_S: Final = 0.05
_LONGEST_S: Final = 2.0

log = structlog.get_logger("weir.backoff")


async def retrying(attempt: Callable[[], Awaitable[T]], what: str) -> T:
    """Return what `attempt` returns, trying again as long as it raises `Unavailable`.

    Pauses double from 50 ms to 2 s, each drawn at random between half and the whole of itself, so that many workers do
    not knock together. Anything else that is raised passes through at once.
    """
    pause_s = _FIRST_S
    while True:
        try:
            return await attempt()
        except Unavailable as error:
            log.warning("unavailable", what=what, reason=str(error), pause_s=round(pause_s, 2))
        await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load, guards nothing
        pause_s = min(2 * pause_s, _LONGEST_S)
