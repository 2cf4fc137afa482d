"""Position markers on a real Redis: a single server and a cluster."""

import asyncio
import struct
from collections.abc import Awaitable, Callable

import pytest
from redis.asyncio import Redis

from domain.errors import Unavailable
from features.keys import N_BUCKETS, Keys
from features.redis_markers import Position, RedisMarkers
from features.redis_wire import SingleWire
from service.embedded_redis import RedisServer
from service.embedded_server import HOST
from tests.integration.redis_nodes import Site

KEYS = Keys("weir:", "0123456789ab")
NOW_MS = 1_700_000_000_000


@pytest.fixture
def run(site) -> Callable:
    """Return a function that runs `law(new_markers, client)` in an event loop."""
    return lambda law: play(site, law)


def play(site: Site, law: Callable[..., Awaitable[None]]) -> None:
    async def body():
        wire, client = site.new_wire(), site.new_client()
        await asyncio.wait_for(law(lambda group="group", **options: RedisMarkers(wire, KEYS, group, **options), client), 30)
        await wire.close()
        await client.aclose()

    asyncio.run(body())


def test_what_was_written_is_read_and_what_was_not_is_none(run):
    async def law(new, client):
        await new().write({300: (17, NOW_MS), 301: Position(0, 0)})
        assert await new().read([301, 300, 302]) == {301: (0, 0), 300: (17, NOW_MS), 302: None}
        assert await new("other").read([300]) == {300: None}
        assert await new().read([]) == {}
        await new().write({})

    run(law)


def test_a_marker_never_goes_back_unless_asked(run):
    async def law(new, client):
        markers = new()
        await markers.write({300: (1 << 47, NOW_MS), 301: (5, NOW_MS)})
        await markers.write({300: ((1 << 47) - 1, NOW_MS + 9), 301: (6, NOW_MS - 9)})
        assert await markers.read([300, 301]) == {300: (1 << 47, NOW_MS), 301: (6, NOW_MS - 9)}
        await markers.write({300: (4, 1)}, may_go_back=True)
        assert await markers.read([300]) == {300: (4, 1)}

    run(law)


def test_time_goes_on_while_nothing_comes_and_does_not_go_back(run):
    async def law(new, client):
        markers = new()
        for append_ms in (NOW_MS, NOW_MS + 5, NOW_MS + 3):
            await markers.write({300: (7, append_ms)})
        assert await markers.read([300]) == {300: (7, NOW_MS + 5)}

    run(law)


def test_the_least_of_all_nodes_counts_and_a_missing_one_counts_as_none(cluster_site):
    async def law(new, client):
        await new().write({300: (7, NOW_MS)})
        assert sorted(cluster_site.all_keys()) == sorted(KEYS.marker("group", bucket, 300) for bucket in range(N_BUCKETS))
        await client.set(KEYS.marker("group", 0, 300), struct.pack("<qq", 3, NOW_MS))
        assert await new().read([300]) == {300: (3, NOW_MS)}
        await client.delete(KEYS.marker("group", 63, 300))
        assert await new().read([300]) == {300: None}

    play(cluster_site, law)


def test_one_emptied_node_of_a_cluster_is_told_whichever_it_is(cluster_site):
    async def law(new, client):
        del client
        for node in cluster_site.masters:
            await new().set_alive()
            await new().write({300: (7, NOW_MS)})
            assert not await new().is_emptied()
            assert await new().read([300]) == {300: (7, NOW_MS)}
            node.flush()
            assert await new().is_emptied()
            assert await new().read([300]) == {300: None}

    play(cluster_site, law)


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 17])
def test_a_marker_of_wrong_length_counts_as_none_and_is_replaced(run, content):
    async def law(new, client):
        await client.set(KEYS.marker("group", 0, 300), content)
        assert await new().read([300]) == {300: None}
        await new().write({300: (1, 2)})
        assert await new().read([300]) == {300: (1, 2)}
        await client.delete(KEYS.marker("group", 0, 300))
        await client.lpush(KEYS.marker("group", 0, 300), "not a string")
        await new().write({300: (1, 2)})
        assert await new().read([300]) == {300: (1, 2)}

    run(law)


def test_too_few_replicas_are_an_outage_that_names_the_setting(run):
    async def law(new, client):
        with pytest.raises(Unavailable, match=r"0 Redis replicas .* redis\.wait_replicas asks for 1"):
            await new(wait_replicas=1, wait_timeout_ms=10).write({300: (1, 2)})
        with pytest.raises(Unavailable, match="wait_replicas"):
            await new(wait_replicas=1, wait_timeout_ms=10).write({})

    run(law)


def test_the_sentinel_tells_an_emptied_redis(run):
    async def law(new, client):
        assert await new().is_emptied()
        await new().set_alive()
        await new().set_alive()
        assert not await new("other").is_emptied()
        await client.flushall()
        assert await new().is_emptied()

    run(law)


def test_a_written_marker_is_on_the_replica_which_is_promoted(tmp_path):
    master, replica = (RedisServer(tmp_path / name, is_guarded=True) for name in ("master", "replica"))

    async def law():
        wire, client = SingleWire(Redis.from_url(master.url)), Redis.from_url(replica.url)
        async with Redis.from_url(master.url) as admin:
            await admin.config_set("repl-diskless-sync-delay", 0)
        await client.replicaof(HOST, master.port)
        for offset in range(20):
            await RedisMarkers(wire, KEYS, "group", wait_replicas=1, wait_timeout_ms=10_000).write({300: (offset, NOW_MS)})
        master.kill()
        with pytest.raises(Unavailable):
            await RedisMarkers(wire, KEYS, "group", wait_replicas=1).write({300: (20, NOW_MS)})
        await client.replicaof("NO", "ONE")
        promoted = SingleWire(Redis.from_url(replica.url))
        assert await RedisMarkers(promoted, KEYS, "group").read([300]) == {300: (19, NOW_MS)}
        await promoted.close()
        await wire.close()
        await client.aclose()

    try:
        master.start()
        replica.start()
        asyncio.run(asyncio.wait_for(law(), 60))
    finally:
        master.kill()
        replica.kill()
