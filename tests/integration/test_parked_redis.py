"""Parked labels in a real Redis and in a cluster: the laws of memory, and the storm of many workers."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from features import redis_log, redis_parked
from features.index import Entry, encode_entry
from features.index_budget import IndexBudget
from features.memory import MemoryLog
from features.memory_parked import MemoryParked
from features.parked import APPLY, CARRY, ELSEWHERE, GIVEN_UP, SETTLED, UNKNOWN, WAIT, Numbered, ParkedLabel
from features.redis_log import RedisLog
from features.redis_parked import RedisParked
from tests.integration.redis_nodes import Site
from tests.unit.parked_runs import KEYS, Storm, World

START_MS = 1_700_000_000_000


@asynccontextmanager
async def redis_world(site: Site):
    wire, client = site.new_wire(), site.new_client()
    log, parked = RedisLog(wire, KEYS, IndexBudget(0, 1)), RedisParked(wire, KEYS)
    await wire.everywhere([redis_log.library(), redis_parked.library()])
    yield log, parked, client
    await wire.close()
    await client.aclose()


@pytest.fixture(params=["memory", "single", "cluster"])
def run(request) -> Callable:
    """Return a function that runs `law(log, parked)` in an event loop on an empty store."""

    def run_law(law: Callable[..., Awaitable[None]]) -> None:
        async def body():
            if request.param == "memory":
                log = MemoryLog()
                await law(log, MemoryParked(log, KEYS))
                return
            async with redis_world(request.getfixturevalue(f"{request.param}_site")) as (log, parked, _):
                await law(log, parked)

        asyncio.run(body())

    return run_law


def kept(number: int, *, partition: int = 0, append_ms: int | None = None) -> ParkedLabel:
    appended = START_MS + 10 * number if append_ms is None else append_ms
    return ParkedLabel((7 << 48) + number, f"t{number}", "labels.v1", partition, number, appended, b"k", b"{}", (("h", b"1"),))


async def come(log, *numbers: int) -> None:
    """Put transactions into the decision index."""
    entries = [encode_entry(Entry(100 + i, START_MS, START_MS, ("c", "m", None, None))) for i in numbers]
    await log.claim([KEYS.index(f"t{i}") for i in numbers], entries, 0, ())


async def divert(parked, *numbers: int) -> list[int]:
    return await parked.divert([f"t{i}" for i in numbers], [kept(i).source for i in numbers])


def test_a_label_waits_for_good_once_it_had_to(run):
    async def law(log, parked):
        await come(log, 1)
        assert await divert(parked, 1, 2, 3) == [APPLY, WAIT, WAIT]
        await come(log, 2)
        assert await divert(parked, 1, 2, 3) == [APPLY, WAIT, WAIT]

    run(law)


def test_labels_wait_in_the_order_of_their_append_times_until_they_are_removed(run):
    async def law(log, parked):
        del log
        labels = [kept(i, append_ms=START_MS - i) for i in range(80)]
        await parked.put([*labels, kept(99, partition=1)])
        await parked.put(labels[::7])
        assert (await parked.count(0), await parked.count(1), await parked.count(2)) == (80, 1, 0)
        assert await parked.waiting(0, before_ms=None, start=0, most=100) == labels[::-1]
        assert await parked.waiting(0, before_ms=None, start=10, most=5) == labels[::-1][10:15]
        assert await parked.waiting(0, before_ms=START_MS - 77, start=0, most=100) == [labels[79], labels[78]]
        await parked.remove(0, labels[:78])
        await parked.remove(0, labels[:78])
        assert await parked.waiting(0, before_ms=None, start=0, most=100) == [labels[79], labels[78]]
        await parked.remove(0, [])

    run(law)


def test_numbers_grow_and_are_given_once(run):
    async def law(log, parked):
        labels = [kept(i) for i in range(70)]
        await parked.put(labels)
        assert await parked.known(labels[:2]) == [False, False]
        await come(log, 0)
        assert await parked.known(labels[:2]) == [True, False]
        first = await parked.number(0, labels[40:], most=100)
        again = await parked.number(0, labels[35:50], most=100)
        assert [n.label for n in first] == labels[40:]
        assert again[:30] == first
        assert [n.label for n in again[30:]] == labels[35:40]
        numbers = [n.number for n in again]
        assert numbers == sorted(set(numbers))
        assert 0 < numbers[0] <= numbers[-1] < 1 << 48
        assert await parked.waiting(0, before_ms=None, start=0, most=100) == labels[:35]
        assert await parked.number(0, [], most=3) == first[:3]
        await parked.remove(0, labels[40:])
        assert (await parked.number(0, [labels[41], labels[0]], most=100))[-1].number > numbers[-1]
        assert await parked.count(0) == 40

    run(law)


def test_a_number_or_nobody_carries_a_label(run):
    async def law(log, parked):
        await divert(parked, 1, 2, 3)
        await come(log, 1)
        assert await parked.give_up([kept(1), kept(2)]) == [False, True]
        assert await parked.carry([Numbered(5, kept(1)), Numbered(6, kept(2)), Numbered(7, kept(3))]) == [CARRY, GIVEN_UP, UNKNOWN]
        assert await parked.carry([Numbered(5, kept(1)), Numbered(8, kept(1))]) == [CARRY, ELSEWHERE]
        await come(log, 2, 3)
        assert await divert(parked, 1, 2, 3) == [SETTLED, SETTLED, WAIT]
        assert await parked.give_up([kept(1), kept(2), kept(3)]) == [False, True, False]
        assert await parked.carry([]) == []

    run(law)


def test_what_a_newer_weir_parked_is_left_to_it(site):
    async def law():
        async with redis_world(site) as (_, parked, client):
            await parked.put([kept(1), kept(2), kept(3)])
            records = parked._queue(0)[0]
            await client.hset(records, str(kept(2).source), b"\x9f newer")
            assert await parked.waiting(0, before_ms=None, start=0, most=9) == [kept(1), kept(3)]
            assert [n.label for n in await parked.number(0, [kept(1), kept(2), kept(3)], most=9)] == [kept(1)]
            assert await parked.count(0) == 3

    asyncio.run(law())


def test_fates_expire_and_waiting_labels_do_not(site):
    async def law():
        async with redis_world(site) as (log, parked, client):
            await divert(parked, 1)
            await parked.put([kept(1)])
            assert await client.ttl(parked._fate("t1", kept(1).source)) > 29 * 86_400
            assert await client.ttl(parked._queue(0)[0]) == -1
            await come(log, 1)
            await parked.carry(await parked.number(0, [kept(1)], most=1))
            assert 0 < await client.ttl(parked._fate("t1", kept(1).source)) <= 7 * 86_400

    asyncio.run(law())


@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_lost_and_nothing_counts_twice_in_a_storm_on_redis(site, seed):
    async def body():
        async with redis_world(site) as (log, parked, _):
            storm = Storm(World(log, parked), seed)
            await storm.run()
            assert storm.n_crashes > 0
            assert sum([await parked.count(partition) for partition in range(3)]) == 0
            storm.assert_exact()

    asyncio.run(body())
