"""What serving computes of a simulated history is what replay computes of it, bit for bit: in memory and in Redis."""

import asyncio

import numpy as np
import polars as pl
import pytest
from redis.asyncio import Redis

from features.columns import columns_of
from features.currency import Rates
from features.history import SCHEMA, normalised
from features.index_budget import IndexBudget
from features.keys import Keys
from features.memory import MemoryLog
from features.offline import replay
from features.redis_log import RedisLog, library
from features.redis_wire import SingleWire
from features.spec import FeatureSettings, fingerprint
from features.store import FeatureStore
from simulate.generate import generate
from tests.parity.test_offline import serve

SETTINGS = FeatureSettings()
RATES = Rates("EUR")
KEYS = Keys("weir:", fingerprint(SETTINGS))


@pytest.fixture(scope="module")
def history() -> pl.DataFrame:
    return normalised(generate(n_days=80, n_cards=2_500, seed=12).select(*SCHEMA), "simulated")


def n_pairs(history: pl.DataFrame) -> int:
    return sum(int((entities.code >= 0).sum()) for entities in columns_of(history, RATES).entities)


def assert_served_as_replayed(served: np.ndarray, history: pl.DataFrame) -> None:
    offline = replay(history, SETTINGS, RATES)
    is_missing = np.isnan(offline)
    assert np.array_equal(np.isnan(served), is_missing)
    assert float(np.abs(np.where(is_missing, 0, served) - np.where(is_missing, 0, offline)).max()) == 0.0
    assert np.array_equal(served.view(np.int32)[~is_missing], offline.view(np.int32)[~is_missing])


def test_half_a_million_pairs_in_memory_differ_in_no_bit(history):
    assert n_pairs(history) >= 500_000

    served = asyncio.run(serve(FeatureStore(MemoryLog(), KEYS, SETTINGS, RATES), history, 0, chunk=256))

    assert_served_as_replayed(served, history)


def test_a_hundred_thousand_pairs_in_redis_differ_in_no_bit(history, redis_url):
    part = history.head(40_000)
    assert n_pairs(part) >= 100_000

    async def run() -> np.ndarray:
        client = Redis.from_url(redis_url)
        wire = SingleWire(client)
        await wire.everywhere([library()])
        served = await serve(FeatureStore(RedisLog(wire, KEYS, IndexBudget(0, 1)), KEYS, SETTINGS, RATES), part, 0, chunk=256)
        await wire.close()
        await client.aclose()
        return served

    assert_served_as_replayed(asyncio.run(run()), part)
