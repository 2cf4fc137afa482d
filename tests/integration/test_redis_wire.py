"""The wire to a real Redis that answers: a single server and a cluster."""

import asyncio
import os

import pytest

from domain.errors import Unavailable
from features.keys import N_BUCKETS
from features.redis_cluster_wire import ClusterWire
from features.redis_wire import Call, ReplyError, SingleWire
from tests.integration.wire_scenes import get, key, play

EVERY_BYTE = bytes(range(256)) * 5


@pytest.fixture
def servers(site) -> list:
    """All masters, emptied."""
    return site.masters


def test_the_address_tells_which_wire_it_needs(node, three):
    async def scene(wire):
        assert isinstance(wire, SingleWire)
        assert not wire.is_cluster

    async def cluster_scene(wire):
        assert isinstance(wire, ClusterWire)
        assert wire.is_cluster
        assert len(await wire.everywhere([("PING",)])) == 3

    play(node, scene)
    play(three.nodes[1], cluster_scene)


def test_each_call_gets_its_own_answers_in_order_from_all_buckets(servers):
    async def scene(wire):
        names = [key(bucket) for bucket in range(N_BUCKETS)]
        calls = [Call(name, (("SET", name, i), ("INCRBY", name, 100), ("GET", name))) for i, name in enumerate(names)]
        assert await wire.run(calls) == [[b"OK", 100 + i, b"%d" % (100 + i)] for i in range(N_BUCKETS)]
        assert await wire.run([get(name) for name in reversed(names)]) == [[b"%d" % (100 + i)] for i in reversed(range(N_BUCKETS))]
        assert await wire.run([]) == []
        assert sum(each.ask("DBSIZE") for each in servers) == N_BUCKETS

    play(servers[0], scene)


def test_a_transaction_answers_with_its_errors_in_place(servers):
    async def scene(wire):
        a, b = key(3, "a"), key(3, "b")
        commands = (("MULTI",), ("SET", a, "x"), ("LPUSH", a, 1), ("MGET", a, b), ("EXEC",))
        ((*_, done),) = await wire.run([Call(a, commands)])
        assert [done[0], done[2]] == [b"OK", [b"x", None]]
        assert isinstance(done[1], ReplyError)
        with pytest.raises(ReplyError, match="WRONGTYPE"):
            await wire.run([Call(a, (("LPUSH", a, 1),)), get(b)])
        assert await wire.run([get(a)]) == [[b"x"]]

    play(servers[0], scene)


def test_every_byte_passes_in_keys_and_values(servers):
    async def scene(wire):
        name = b"{7}" + EVERY_BYTE
        assert await wire.run([Call(name, (("SET", name, EVERY_BYTE), ("GET", name), ("STRLEN", name)))]) == [[b"OK", EVERY_BYTE, 1280]]

    play(servers[0], scene)


def test_concurrent_runs_get_their_own_answers(servers):
    """More at a time than connections, with answers of very different size."""

    async def scene(wire):
        async def one(i: int) -> None:
            size = 300_000 if i % 7 == 0 else i
            name, content = key(i % N_BUCKETS, str(i)), b"%d:" % i + os.urandom(size)
            for _ in range(5):
                assert await wire.run([Call(name, (("SET", name, content), ("GET", name))), get(key(i))]) == [[b"OK", content], [None]]
                assert all(pong == [b"PONG"] for pong in await wire.everywhere([("PING",)]))

        before = wire.generation
        await asyncio.gather(*(one(i) for i in range(40)))
        assert wire.generation == before

    play(servers[0], scene)


def test_a_cancelled_run_leaves_its_answers_to_nobody(servers):
    async def scene(wire):
        before = wire.generation
        for i in range(30):
            tasks = [asyncio.create_task(wire.run([Call(key(1), (("SET", key(1), f"{i}-{j}"), ("GET", key(1))))])) for j in range(4)]
            await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            found = await asyncio.gather(*tasks, return_exceptions=True)
            assert [found[1], found[3]] == [[[b"OK", b"%d-1" % i]], [[b"OK", b"%d-3" % i]]]
        assert wire.generation == before

    play(servers[0], scene)


def test_full_memory_is_an_outage_that_ends_on_the_same_connections(servers):
    async def scene(wire):
        before, name = wire.generation, key(5)
        call = Call(name, (("MULTI",), ("SET", name, "x"), ("EXEC",)))
        script = Call(name, (("MULTI",), ("EVAL", "return redis.call('SET', KEYS[1], 'y')", 1, name), ("EXEC",)))
        for each in servers:
            each.fill()
        for refused in (call, script, Call(name, (("SET", name, "z"),))):
            with pytest.raises(Unavailable, match="OOM"):
                await wire.run([get(key(6)), refused, get(key(7))])
        assert await wire.run([get(name)]) == [[None]]
        for each in servers:
            each.empty()
        assert (await wire.run([call]))[0][-1] == [b"OK"]
        assert wire.generation == before

    try:
        play(servers[0], scene)
    finally:
        for each in servers:
            each.empty()


def test_connections_and_round_trips_are_told(servers):
    connections, calls = [], []

    async def scene(wire):
        assert len(connections) == wire.generation
        calls.clear()
        await wire.run([get(key(1)), get(key(2))])
        await wire.everywhere([("PING",)])
        assert len(calls) == 2
        assert all(seconds > 0 for seconds in calls)

    play(servers[0], scene, on_connection=lambda: connections.append(1), on_call=calls.append)
