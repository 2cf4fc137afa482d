"""Scenes on a wire to a real Redis, and the calls that they make."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from domain.errors import Unavailable
from features.redis_cluster_wire import ClusterWire, open_wire
from features.redis_wire import Call, SingleWire
from tests.integration.redis_nodes import RedisNode


@asynccontextmanager
async def wire_to(
    server: RedisNode, *, timeout_s: float = 5.0, password: str | None = None, **options: Callable
) -> AsyncIterator[SingleWire | ClusterWire]:
    """Yield the wire that fits a server, connected."""
    retry = Retry(NoBackoff(), 0)
    client = Redis.from_url(server.url, socket_timeout=timeout_s, socket_connect_timeout=5.0, retry=retry, password=password)
    wire = await open_wire(client, **options)
    yield wire
    await wire.close()
    await client.aclose()


def play(server: RedisNode, scene: Callable[..., Awaitable[None]], **options) -> None:
    """Run `scene(wire)` in an event loop; options as of `wire_to`."""

    async def body() -> None:
        async with wire_to(server, **options) as wire:
            await asyncio.wait_for(scene(wire), 60)

    asyncio.run(body())


def key(bucket: int, name: str = "k") -> bytes:
    """Return a key of a bucket."""
    return b"weir:{%d}:%b" % (bucket, name.encode())


def get(name: bytes) -> Call:
    """Return a call that reads a key."""
    return Call(name, (("GET", name),))


async def answered(wire: SingleWire | ClusterWire, calls: list[Call]) -> list[list]:
    """Try until it works, as a worker does."""
    while True:
        try:
            return await wire.run(calls)
        except Unavailable:
            await asyncio.sleep(0.02)
