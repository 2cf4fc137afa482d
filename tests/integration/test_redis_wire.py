"""The wire to a real Redis: a single server, a pair, and a cluster."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from time import monotonic

import pytest
import uvloop
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import key_slot

from domain.errors import Unavailable
from features.keys import N_BUCKETS
from features.redis_cluster_wire import ClusterWire, open_wire
from features.redis_wire import Call, ReplyError, SingleWire
from tests.integration.redis_nodes import CLUSTER_OPTIONS, RedisNode, cluster, is_working, pair, single, until

EVERY_BYTE = bytes(range(256)) * 5


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    with single(tmp_path_factory.mktemp("single")) as found:
        yield found


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    with cluster(tmp_path_factory.mktemp("cluster")) as found:
        yield found


@pytest.fixture(params=["single", "cluster"])
def servers(request) -> list[RedisNode]:
    """All masters, emptied."""
    nodes = [request.getfixturevalue("node")] if request.param == "single" else request.getfixturevalue("three").nodes
    for each in nodes:
        each.flush()
    return nodes


@asynccontextmanager
async def wire_to(server: RedisNode, *, timeout_s: float = 5.0, password: str | None = None, **options):
    retry = Retry(NoBackoff(), 0)
    client = Redis.from_url(server.url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=retry, password=password)
    wire = await open_wire(client, **options)
    yield wire
    await wire.close()
    await client.aclose()


def play(server: RedisNode, scene: Callable[..., Awaitable[None]], **options) -> None:
    async def body():
        async with wire_to(server, **options) as wire:
            await asyncio.wait_for(scene(wire), 60)

    asyncio.run(body())


def key(bucket: int, name: str = "k") -> bytes:
    return b"weir:{%d}:%b" % (bucket, name.encode())


def get(name: bytes) -> Call:
    return Call(name, (("GET", name),))


async def answered(wire, calls: list[Call]) -> list[list]:
    """Try until it works, as a worker does."""
    while True:
        try:
            return await wire.run(calls)
        except Unavailable:
            await asyncio.sleep(0.02)


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


def test_a_killed_server_is_an_outage_and_nothing_is_sent_on_a_connection_nobody_knows_of(tmp_path):
    calls = []
    with single(tmp_path) as server:

        async def scene(wire):
            name, before = key(1), wire.generation
            await wire.run([Call(name, (("SET", name, "before"),))])
            server.kill()
            for _ in range(2):
                with pytest.raises(Unavailable):
                    await wire.run([Call(name, (("SET", name, "lost"),))])
            assert wire.generation == before
            server.start()
            with pytest.raises(Unavailable, match="nothing was sent"):
                await wire.run([Call(name, (("SET", name, "too early"),))])
            assert wire.generation > before
            assert await wire.run([get(name)]) in ([[b"before"]], [[None]])  # its last second may be lost
            assert calls[-4:-1] == [None] * 3

        play(server, scene, on_call=calls.append)


def test_opening_again_spares_the_failing_call(tmp_path):
    with single(tmp_path) as server:

        async def scene(wire):
            before = wire.generation
            server.kill()
            with pytest.raises(Unavailable):
                await wire.run([get(key(1))])
            with pytest.raises(Unavailable):
                await wire.open()
            server.start()
            await wire.open()
            assert wire.generation > before
            assert await wire.run([get(key(1))]) == [[None]]

        play(server, scene)


def test_connections_cut_while_idle_are_not_used_again(node):
    async def scene(wire):
        await wire.run([get(key(1))])
        before = wire.generation
        node.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await answered(wire, [get(key(1))])
        assert wire.generation > before

    play(node, scene)


def test_a_server_that_falls_silent_is_given_up_and_its_late_answers_with_it(tmp_path):
    with single(tmp_path) as server:

        async def scene(wire):
            before = wire.generation
            server.pause()
            found = await asyncio.gather(*(wire.run([get(key(i))]) for i in range(5)), return_exceptions=True)
            assert all(isinstance(each, Unavailable) for each in found)
            server.resume()
            assert await answered(wire, [Call(key(1), (("ECHO", "mine"),))]) == [[b"mine"]]
            assert wire.generation > before

        play(server, scene, timeout_s=0.15)


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_an_answer_that_waits_for_a_busy_event_loop_is_not_overdue(node, new_loop):
    async def body():
        async with wire_to(node, timeout_s=0.05) as wire:
            before = wire.generation
            for _ in range(5):
                running = asyncio.create_task(wire.run([get(key(1))]))
                await asyncio.sleep(0)
                free_s = monotonic() + 0.12
                until(lambda free_s=free_s: monotonic() > free_s, "twice the time-out is over")
                assert len(await running) == 1
            assert wire.generation == before

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(body())


def test_a_server_with_a_password_wants_it_on_every_connection(tmp_path):
    with single(tmp_path) as server:
        server.ask("CONFIG", "SET", "requirepass", "secret")

        async def scene(wire):
            assert await asyncio.gather(*(wire.run([Call(b"k", (("PING",),))]) for _ in range(9))) == [[[b"PONG"]]] * 9

        async def stranger():
            async with wire_to(server):
                raise AssertionError("let in")

        play(server, scene, password="secret")
        with pytest.raises(Unavailable, match="authenticate"):
            asyncio.run(stranger())


def test_wait_covers_what_other_runs_wrote_and_may_take_longer_than_the_time_out(tmp_path):
    with pair(tmp_path) as both:

        async def scene(wire):
            for i in range(50):
                await asyncio.gather(*(wire.run([Call(key(j), (("SET", key(j), i),))]) for j in range(3)))
                assert await wire.everywhere([("WAIT", 1, 5_000)]) == [[1]]
                assert both.replica.ask("MGET", *map(key, range(3))) == [b"%d" % i] * 3
            before = wire.generation
            both.replica.pause()
            await wire.run([Call(key(1), (("SET", key(1), "late"),))])
            assert await wire.everywhere([("WAIT", 1, 600)]) == [[0]]
            assert wire.generation == before

        play(both.primary, scene, timeout_s=0.4)


def test_a_replica_is_an_outage_until_it_is_promoted(tmp_path):
    with pair(tmp_path) as both:

        async def scene(wire):
            name, before = key(1), wire.generation
            write = Call(name, (("MULTI",), ("EVAL", "return redis.call('SET', KEYS[1], 1)", 1, name), ("EXEC",)))
            for call in (write, Call(name, (("SET", name, 1),))):
                with pytest.raises(Unavailable, match="replica"):
                    await wire.run([call])
                with pytest.raises(Unavailable, match="nothing was sent"):
                    await wire.run([call])
            seen = wire.generation
            assert seen > before
            both.fail_over()
            assert (await answered(wire, [write]))[0][-1] == [b"OK"]

        play(both.replica, scene)


def test_a_demoted_primary_loses_its_connections(tmp_path):
    """Its data are replaced under them, so after its return they prove nothing."""
    with pair(tmp_path) as both:

        async def scene(wire):
            write, before = Call(key(1), (("SET", key(1), 1),)), wire.generation
            await wire.run([write])
            both.replica.promote()
            both.primary.follow(both.replica)
            with pytest.raises(Unavailable):
                await wire.run([write])
            both.primary.promote()
            await answered(wire, [write])
            assert wire.generation > before

        play(both.primary, scene)


def test_commands_that_leave_their_slot_are_refused_by_name(three):
    async def scene(wire):
        with pytest.raises(ReplyError, match="CROSSSLOT"):
            await wire.run([Call(key(1), (("MGET", key(1), key(2)),))])

    play(three.nodes[0], scene)


@pytest.mark.parametrize("n_seen", [0, 1])
def test_a_slot_that_moves_while_it_is_used_is_followed(three, n_seen):
    """Before, during and after the move, in transactions: keys that are there, keys that are gone, keys that are new."""
    name = key(11 + n_seen)
    source = three.owner(name)
    target = next(node for node in three.nodes if node is not source)

    async def scene(wire):
        def add(suffix: bytes) -> Call:
            return Call(name, (("MULTI",), ("APPEND", name + suffix, "x"), ("GET", name + suffix), ("EXEC",), ("STRLEN", name + suffix)))

        async def added(suffix: bytes) -> tuple[bytes, int]:
            _, (_, _, _, done, length), _ = await wire.run([get(key(1)), add(suffix), get(key(2))])
            return done[1], length

        before = wire.generation
        for expected in ((b"x", 1), (b"xx", 2)):
            assert await added(b":old") == expected
        three.begin_move(key_slot(name), source, target)
        assert await added(b":old") == (b"xxx", 3)  # still at the source
        assert await added(b":new") == (b"x", 1)  # already at the target
        with pytest.raises(Unavailable, match="TRYAGAIN"):
            await wire.run([Call(name, (("MGET", name + b":old", name + b":new"),))])
        three.move_keys(key_slot(name), source, target)
        assert await added(b":old") == (b"xxxx", 4)
        three.end_move(key_slot(name), target)
        assert await added(b":old") == (b"xxxxx", 5)
        assert await wire.run([Call(name, (("MGET", name + b":old", name + b":new"),))]) == [[[b"xxxxx", b"x"]]]
        assert wire.generation == before

    play(three.nodes[n_seen], scene)


def test_a_slot_that_moves_to_a_master_that_joined_later_is_followed(tmp_path):
    name = key(11)
    with cluster(tmp_path / "first", n_masters=2) as made, single(tmp_path / "joined", **CLUSTER_OPTIONS) as joined:

        async def scene(wire):
            write = Call(name, (("APPEND", name, "x"),))
            before, source = wire.generation, made.owner(name)
            await wire.run([write])
            made.join(joined)
            until(lambda: is_working(joined), "it sees the cluster in order")
            made.begin_move(key_slot(name), source, joined)
            made.move_keys(key_slot(name), source, joined)
            with pytest.raises(Unavailable, match="not connected"):
                await wire.run([write])
            assert wire.generation > before
            assert await wire.run([write]) == [[2]]
            made.end_move(key_slot(name), joined)
            assert await wire.run([write]) == [[3]]
            assert len(await wire.everywhere([("PING",)])) == 3

        play(made.nodes[0], scene)


def test_a_promoted_replica_of_a_cluster_takes_over(tmp_path):
    with cluster(tmp_path / "masters") as made, single(tmp_path / "replica", **CLUSTER_OPTIONS) as replica:
        lost = made.nodes[0]
        made.follow(replica, lost)

        async def scene(wire):
            names = [key(bucket) for bucket in range(N_BUCKETS)]
            write = [Call(name, (("APPEND", name, "x"),)) for name in names]
            before = wire.generation
            assert await wire.run(write) == [[1]] * N_BUCKETS
            until(lambda: replica.ask("DBSIZE") == lost.ask("DBSIZE") > 0, "the replica is in step")
            lost.kill()
            with pytest.raises(Unavailable):
                await wire.run(write)
            await answered(wire, write)
            assert wire.generation > before
            assert {n for (n,) in await wire.run([Call(name, (("STRLEN", name),)) for name in names])} <= {2, 3}
            assert replica.ask("ROLE")[0] == b"master"

        play(made.nodes[1], scene)
