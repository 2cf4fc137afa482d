"""The index's counts lie in Redis: all workers add to them, `weir doctor` tells what follows from them."""

import asyncio
import time

import pytest
from redis.asyncio import Redis

from domain.errors import Unavailable
from features.index_budget import IndexBudget
from features.redis_index_budget import RedisIndexBudget
from features.redis_wire import SingleWire
from service import diagnosis
from service.settings import Settings

DAY_S = 86_400
DAY_MS = DAY_S * 1000
KEY = b"weir:index_bytes"
MB = 1 << 20


def test_two_workers_add_up_and_the_past_is_dropped(site):
    async def body():
        wire, client = site.new_wire(), site.new_client()
        budgets = [IndexBudget(0, 45) for _ in range(2)]
        shared = [RedisIndexBudget(wire, KEY, budget) for budget in budgets]
        now_ms = 20_000 * DAY_MS
        for budget, each in zip(budgets, shared, strict=True):
            budget.written(now_ms, n_entries=0, n_bytes=MB, ttl_s=45 * DAY_S)
            await each.sync(now_ms)
        assert budgets[1].forecast(now_ms).kept_bytes == 2 * MB
        for _ in range(2):
            await shared[0].sync(now_ms)
        assert budgets[0].forecast(now_ms).kept_bytes == 2 * MB
        for _ in range(2):
            await shared[0].sync(now_ms + 50 * DAY_MS)
        assert budgets[0].forecast(now_ms).kept_bytes == 0
        assert await client.hlen(KEY) == 0
        await wire.close()
        await client.aclose()

    asyncio.run(body())


def test_what_redis_did_not_take_is_added_later():
    async def body():
        budget = IndexBudget(0, 45)
        client = Redis.from_url("redis://127.0.0.1:1")
        budget.written(0, n_entries=0, n_bytes=MB, ttl_s=DAY_S)
        with pytest.raises(Unavailable):
            await RedisIndexBudget(SingleWire(client), KEY, budget).sync(0)
        assert sorted(budget.changes().values()) == [MB, MB]
        await client.aclose()

    asyncio.run(body())


@pytest.mark.parametrize(
    ("written_mb", "maxmemory_mb", "ok", "hint"), [(10, 0, True, ""), (10, 4000, True, ""), (1000, 4000, False, "features.index_max_bytes")]
)
def test_the_doctor_tells_when_the_index_will_be_too_large(redis_client, written_mb, maxmemory_mb, ok, hint):
    now_ms = time.time_ns() // 1_000_000
    for hours in range(1, 25):
        budget = IndexBudget(0, 45)
        budget.written(now_ms - hours * 3_600_000, n_entries=0, n_bytes=written_mb * MB // 24, ttl_s=45 * DAY_S)
        for field, size in budget.changes().items():
            redis_client.hincrby(KEY, field, size)
    facts = {"maxmemory": maxmemory_mb * MB, "used_memory": 100 * MB}
    found = diagnosis._index(redis_client, facts, Settings())

    assert found.ok is ok
    assert f"{written_mb:,.0f} MB now" in found.detail or f"{written_mb - 1:,.0f} MB now" in found.detail
    assert "after 45 days" in found.detail
    assert hint in found.advice
