"""The wire while a real Redis is killed, silent, cut off, a replica or demoted."""

import asyncio
from time import monotonic

import pytest
import uvloop

from domain.errors import Unavailable
from features.redis_wire import Call
from tests.integration.redis_nodes import pair, single, until
from tests.integration.wire_scenes import answered, get, key, play, wire_to


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
        async with wire_to(node, timeout_s=0.6) as wire:
            before = wire.generation
            for _ in range(2):
                running = asyncio.create_task(wire.run([get(key(1))]))
                await asyncio.sleep(0)
                free_s = monotonic() + 1.3
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
