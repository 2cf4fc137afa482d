"""Processes with an answer journal in one Redis, and what they answer."""

import asyncio
from collections.abc import Awaitable, Callable

from features.keys import Keys
from features.redis_cluster_wire import ClusterWire
from features.redis_journal import RedisJournal
from features.redis_wire import SingleWire
from stream.journal import Journal
from tests.integration.redis_nodes import Site

KEYS = Keys("weir:", "0123456789ab")
N_SLOTS = 4
SOURCE = 300


class World:
    """One Redis, several processes: each `process()` is a worker with a journal of its own."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.client = site.new_client()
        self.wires: list[SingleWire | ClusterWire] = []

    def process(self, force_commit: Callable[[], Awaitable[None]] | None = None, *, n_slots: int = N_SLOTS) -> Journal:
        """Return the journal of one more worker; without `force_commit` it must not need one."""

        async def never() -> None:
            raise AssertionError("a commit was forced")

        self.wires.append(self.site.new_wire())
        return Journal(RedisJournal(self.wires[-1], KEYS, "group", n_slots=n_slots), force_commit or never)

    async def close(self) -> None:
        """Close every connection."""
        for wire in self.wires:
            await wire.close()
        await self.client.aclose()


def play(site: Site, law: Callable[[World], Awaitable[None]]) -> None:
    """Run `law(world)` in an event loop."""

    async def body() -> None:
        world = World(site)
        try:
            await asyncio.wait_for(law(world), 30)
        finally:
            await world.close()

    asyncio.run(body())
