"""A rebuilt decision index is what the stream would have left: bounded, the oldest gone first, counted by its budget."""

import asyncio

import numpy as np
import pytest
from redis.asyncio import Redis

from features import redis_index_rebuild
from features.index_budget import ENTRY_OVERHEAD_BYTES, IndexBudget
from features.redis_index_budget import RedisIndexBudget
from features.redis_rebuild import rebuild_states
from features.redis_wire import SingleWire
from tests.parity.test_offline import DAY_MS, HOUR_MS, KEYS, RATES, history_of

INDEX_DAYS = 400


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(redis_index_rebuild, "_BLOCK", 20)


@pytest.mark.parametrize("max_bytes", [0, 30_000, 1 << 40, 1])
def test_the_newest_entries_within_the_bound_are_kept_each_for_its_own_time(redis_url, small_blocks, max_bytes):
    history = history_of(400, 3, gap_ms=HOUR_MS)
    end_ms = int(history["event_time_ms"][-1]) + 1
    names = [KEYS.index(name) for name in history["transaction_id"].to_list()]

    async def run():
        client = Redis.from_url(redis_url)
        wire = SingleWire(client)
        built = await rebuild_states(wire, KEYS, history, RATES, end_ms=end_ms, index_days=INDEX_DAYS, index_max_bytes=max_bytes)
        entries, ttls = await client.mget(names), [await client.ttl(name) for name in names]
        budget = IndexBudget(max_bytes, INDEX_DAYS)
        await RedisIndexBudget(wire, KEYS.index_bytes, budget).sync(0)
        await wire.close()
        await client.aclose()
        return built, entries, ttls, budget

    built, entries, ttls, budget = asyncio.run(run())

    is_kept = np.array([entry is not None for entry in entries])
    size = sum(len(name) + len(entry) + ENTRY_OVERHEAD_BYTES for name, entry in zip(names, entries, strict=True) if entry is not None)
    assert is_kept.sum() == built.index_entries
    assert (np.diff(is_kept.astype(int)) >= 0).all()  # the oldest are left out
    assert size <= (max_bytes or size)
    assert (0 < built.index_entries < len(history)) == (max_bytes == 30_000)
    age_s = (end_ms - history["event_time_ms"].to_numpy()) / 1000
    wanted_s = INDEX_DAYS * 86_400 - age_s
    assert all(wanted - 60 <= ttl <= wanted + DAY_MS / 1000 for wanted, ttl in zip(wanted_s[is_kept], np.array(ttls)[is_kept], strict=True))
    assert sum(value for field, value in budget._known.items() if field[0] == "s") == size
    assert not any(field[0] == "h" for field in budget._known)  # nothing is known of the rate at which new ones come


def test_a_second_rebuild_counts_nothing_twice(redis_url):
    history = history_of(100, 3, gap_ms=HOUR_MS)
    end_ms = int(history["event_time_ms"][-1]) + 1

    async def run():
        client = Redis.from_url(redis_url)
        wire = SingleWire(client)
        counts = []
        for replace in (False, True):
            await rebuild_states(wire, KEYS, history, RATES, end_ms=end_ms, index_days=INDEX_DAYS, replace=replace)
            counts.append(await client.hgetall(KEYS.index_bytes))
        await wire.close()
        await client.aclose()
        return counts

    first, second = asyncio.run(run())

    assert first == second
