"""The decision index says the same in Python's memory and in Redis' Lua, whatever ids and labels it holds."""

import asyncio
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from features import layout as at
from features.index import Entry, decode_entry, encode_entry, encode_label
from features.index_budget import IndexBudget
from features.keys import Keys
from features.log import NOT_LATER
from features.memory import MemoryLog
from features.redis_log import RedisLog, library
from features.redis_wire import SingleWire

KEYS = Keys("weir:", "0" * 16)
EVENT_MS = 1_700_000_000_000
LONGEST_IDS = ("\U0001f600" * 64,) * 4
IDS = st.text(min_size=1, max_size=64)
ENTITIES = st.tuples(IDS, IDS, st.none() | IDS, st.none() | IDS) | st.just(LONGEST_IDS)
#: (source id, offset, label time after the event, is fraud): few values, so that labels repeat, tie and correct each other.
LABELS = st.lists(st.tuples(st.integers(2, 4), st.integers(0, 5), st.integers(-1, 4), st.booleans()), min_size=1, max_size=14)
numbers = count()


@pytest.fixture(scope="module")
def redis_address(redis_server) -> str:
    """The session's Redis; every example uses transactions of its own, so that nothing needs emptying."""
    return redis_server.url


async def changes_of(log, entry: Entry, name: str, labels) -> list[tuple[Entry, int]]:
    await log.claim([KEYS.index(name)], [encode_entry(entry)], 1_000, [])
    found = []
    for source, offset, after_ms, is_fraud in labels:
        answer = (await log.label([KEYS.index(name)], [(source << at.OFFSET_BITS) + offset], [EVENT_MS + after_ms], [is_fraud]))[0]
        found.append((decode_entry(answer[0]), answer[1]))
    return found


@given(entities=ENTITIES, labels=LABELS, source=st.integers(0, (1 << 63) - 1))
@settings(max_examples=80)
def test_labels_change_the_same_in_memory_and_in_redis(redis_address, entities, labels, source):
    name = f"{next(numbers)}"
    entry = Entry(source, EVENT_MS, EVENT_MS, entities)

    async def run():
        client = Redis.from_url(redis_address)
        log = RedisLog(SingleWire(client), KEYS, IndexBudget(0, 1))
        await client.execute_command(*library())
        found = await changes_of(log, entry, name, labels)
        ttl = await client.ttl(KEYS.index(name))
        await client.aclose()
        return found, ttl

    in_redis, ttl = asyncio.run(run())
    in_memory = asyncio.run(changes_of(MemoryLog(), entry, name, labels))

    assert in_redis == in_memory
    assert all(found == entry for found, _ in in_redis)
    assert 0 < ttl <= 86_400
    if len(set(labels)) <= 8 and len({label[:2] for label in labels}) == len(labels):
        noted = [label for label in labels if label[2] > 0]
        latest = max(noted, key=lambda label: (label[2], label[1]), default=None)
        if len({label[1:3] for label in noted}) == len(noted):
            assert sum(change for _, change in in_redis if change != NOT_LATER) == (latest is not None and latest[3])


@given(entities=ENTITIES, values=st.lists(st.booleans(), min_size=1, max_size=8), n_written=st.integers(0, 8))
@settings(max_examples=40)
def test_lua_reads_and_writes_the_very_bytes_of_python(redis_address, entities, values, n_written):
    name = KEYS.index(f"bytes-{next(numbers)}")
    entry = Entry(7, EVENT_MS, EVENT_MS, entities)
    sources = [(3 << at.OFFSET_BITS) + i for i in range(len(values))]
    changes = [int(value) - int(before) for before, value in zip([False, *values], values, strict=False)]
    labels = [
        encode_label(source, EVENT_MS + 1 + i, is_fraud=value, change=change)
        for i, (source, value, change) in enumerate(zip(sources, values, changes, strict=True))
    ]

    async def run():
        client = Redis.from_url(redis_address)
        log = RedisLog(SingleWire(client), KEYS, IndexBudget(0, 1))
        await client.execute_command(*library())
        await client.set(name, encode_entry(entry, b"".join(labels[:n_written])))
        found = [
            (await log.label([name], [source], [EVENT_MS + 1 + i], [value]))[0][1]
            for i, (source, value) in enumerate(zip(sources, values, strict=True))
        ]
        content = await client.get(name)
        await client.aclose()
        return found, content

    found, content = asyncio.run(run())

    assert found == changes
    assert content == encode_entry(entry, b"".join(labels))
