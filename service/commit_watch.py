"""Watch how far the workers' consumer group has committed."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final, Self

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from service.sending import Ends
from stream.connection import KafkaConnection

_SHORTEST_POLL_S: Final = 0.005
_LONGEST_POLL_S: Final = 0.1
STALL_S: Final = 10.0
"""Without progress for so long, the waiting is reported, and again after each further span."""


class CommitWatch:
    """Asks the broker for the committed offsets of one consumer group. Use as `async with CommitWatch(...) as watch`."""

    def __init__(self, connection: KafkaConnection, group: str, on_stall: Callable[[str], None]) -> None:
        """Watch `group` (with the installation's prefix); `on_stall` gets one sentence when nothing is committed for STALL_S."""
        self._connection = connection
        self._group = group
        self._on_stall = on_stall
        self._admin: Any = None
        self._last_behind = 0
        self._changed_at = time.monotonic()

    async def __aenter__(self) -> Self:
        """Connect."""
        self._admin = AIOKafkaAdminClient(**self._connection.aiokafka())
        await self._admin.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Disconnect."""
        await self._admin.close()

    async def behind(self, ends: Ends) -> int:
        """Return how many records before `ends` the group has not committed; a partition without a commit counts from 0."""
        try:
            found = await self._admin.list_consumer_group_offsets(self._group)
        except KafkaError:  # the group's coordinator is not there yet, or moves
            found = {}
        committed = {(place.topic, place.partition): max(0, at.offset) for place, at in found.items()}
        n_behind: int = sum(max(0, end - committed.get(place, 0)) for place, end in ends.items())
        self._report(n_behind)
        return n_behind

    async def wait(self, ends: Ends, stop: asyncio.Event) -> bool:
        """Wait until everything before `ends` is committed; False if `stop` was set before."""
        poll_s = _SHORTEST_POLL_S
        self._last_behind = 0
        while await self.behind(ends) > 0:
            if await stopped_within(stop, poll_s):
                return False
            poll_s = min(_LONGEST_POLL_S, poll_s * 1.5)
        return True

    def _report(self, n_behind: int) -> None:
        now = time.monotonic()
        if n_behind != self._last_behind:
            self._last_behind, self._changed_at = n_behind, now
        elif n_behind and now - self._changed_at >= STALL_S:
            self._changed_at = now
            self._on_stall(
                f"waiting: the group {self._group} has {n_behind} records to go and committed nothing for {STALL_S:.0f} s; "
                "is `weir worker` running?"
            )


async def stopped_within(stop: asyncio.Event, seconds: float) -> bool:
    """Wait for `stop`, at most `seconds`; True if it is set."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return stop.is_set()
    return True
