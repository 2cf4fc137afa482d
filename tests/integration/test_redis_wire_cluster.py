"""The wire while the slots of a real cluster move and its masters change."""

import pytest
from redis.crc import key_slot

from domain.errors import Unavailable
from features.keys import N_BUCKETS
from features.redis_wire import Call, ReplyError
from tests.integration.redis_nodes import CLUSTER_OPTIONS, cluster, is_working, single, until
from tests.integration.wire_scenes import answered, get, key, play


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
