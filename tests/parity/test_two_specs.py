"""Two feature specs live in one Redis: serving one and rebuilding the other, neither touches what the other has."""

import asyncio

import numpy as np
import polars as pl
import pytest
from redis.asyncio import Redis

from features.currency import Rates
from features.index_budget import IndexBudget
from features.keys import Keys
from features.offline import replay
from features.redis_log import RedisLog, library
from features.redis_markers import RedisMarkers
from features.redis_rebuild import rebuild_states, set_positions
from features.redis_wire import SingleWire
from features.spec import FeatureSettings, fingerprint
from features.store import FeatureStore
from tests.parity.test_offline import HOUR_MS, bits, history_of, serve

RATES = Rates("EUR")
OLD, NEW = FeatureSettings(maturity_days=3), FeatureSettings(maturity_days=10)
OLD_KEYS, NEW_KEYS = (Keys("weir:", fingerprint(each)) for each in (OLD, NEW))


@pytest.fixture(scope="module")
def history() -> pl.DataFrame:
    return history_of(600, 8, fraud_share=0.15, gap_ms=HOUR_MS)


def vectors_of(history: pl.DataFrame, definition: FeatureSettings, from_ms: int) -> np.ndarray:
    return bits(replay(history, definition, RATES)[(history["event_time_ms"] >= from_ms).to_numpy()])


def store_of(wire: SingleWire, keys: Keys, definition: FeatureSettings) -> FeatureStore:
    return FeatureStore(RedisLog(wire, keys, IndexBudget(0, 1)), keys, definition, RATES)


def between(history: pl.DataFrame, end_ms: int) -> pl.DataFrame:
    """Return what is known before a time: its rows, with the labels told by then."""
    is_told = pl.col("label_time_ms") < end_ms
    known = history.filter(pl.col("event_time_ms") < end_ms)
    return known.with_columns(
        is_fraud=pl.when(is_told).then("is_fraud"), label_time_ms=pl.when(is_told & pl.col("is_fraud").is_not_null()).then("label_time_ms")
    )


def test_a_new_spec_is_rebuilt_beside_the_serving_old_one(redis_url, history):
    """The old spec serves, the new one is built while it does, then both serve the same stream: each as if it were alone."""
    assert fingerprint(OLD) != fingerprint(NEW)
    first_ms, switch_ms = (int(history["event_time_ms"][i]) for i in (250, 450))

    async def run():
        client = Redis.from_url(redis_url)
        wire = SingleWire(client)
        await wire.everywhere([library()])
        await rebuild_states(wire, OLD_KEYS, history, RATES, end_ms=first_ms, index_days=400)
        before = await serve(store_of(wire, OLD_KEYS, OLD), between(history, switch_ms), first_ms)
        old_states = await snapshot(client, OLD_KEYS)
        index = await client.get(OLD_KEYS.index(history["transaction_id"][300]))

        await rebuild_states(wire, NEW_KEYS, history, RATES, end_ms=switch_ms, index_days=400)

        assert await snapshot(client, OLD_KEYS) == old_states
        assert await client.get(OLD_KEYS.index(history["transaction_id"][300])) == index
        rest = history
        new = await serve(store_of(wire, NEW_KEYS, NEW), rest, switch_ms)
        assert await snapshot(client, OLD_KEYS) == old_states
        await wire.close()
        await client.aclose()
        return before, new

    before, new = asyncio.run(run())

    known = between(history, switch_ms)
    assert np.array_equal(bits(before), vectors_of(known, OLD, first_ms))
    assert np.array_equal(bits(new), vectors_of(history, NEW, switch_ms))
    assert not np.array_equal(bits(new), vectors_of(history, OLD, switch_ms))


async def snapshot(client: Redis, keys: Keys) -> dict[bytes, bytes]:
    names = [name async for name in client.scan_iter(match=keys.state_pattern, count=1_000)]
    return dict(zip(names, await client.mget(names), strict=True))


def test_positions_of_one_spec_and_group_are_not_those_of_another(redis_url):
    async def run():
        client = Redis.from_url(redis_url)
        wire = SingleWire(client)
        for keys, group, offset in ((OLD_KEYS, "g", 5), (OLD_KEYS, "g2", 6), (NEW_KEYS, "g", 7)):
            await set_positions(wire, keys, group, {2: (offset, 1), 3: (offset, 1)})
        await set_positions(wire, NEW_KEYS, "g", {2: (4, 1)})  # backwards, and source 3 is forgotten
        found = [
            {source: position and position.next_offset for source, position in (await RedisMarkers(wire, keys, group).read([2, 3])).items()}
            for keys, group in ((OLD_KEYS, "g"), (OLD_KEYS, "g2"), (NEW_KEYS, "g"))
        ]
        is_emptied = await RedisMarkers(wire, OLD_KEYS, "g").is_emptied()
        await wire.close()
        await client.aclose()
        return found, is_emptied

    found, is_emptied = asyncio.run(run())

    assert found == [{2: 5, 3: 5}, {2: 6, 3: 6}, {2: 4, 3: None}]
    assert not is_emptied


def test_replacing_the_states_of_one_spec_leaves_those_of_another(redis_url, history):
    end_ms = int(history["event_time_ms"][-1]) + 1

    async def run():
        client = Redis.from_url(redis_url)
        wire = SingleWire(client)
        for keys in (OLD_KEYS, NEW_KEYS):
            await rebuild_states(wire, keys, history, RATES, end_ms=end_ms, index_days=400)
        old = await snapshot(client, OLD_KEYS)
        await rebuild_states(wire, NEW_KEYS, history.head(50), RATES, end_ms=end_ms, index_days=400, replace=True)
        found = await snapshot(client, OLD_KEYS), await snapshot(client, NEW_KEYS)
        await wire.close()
        await client.aclose()
        return old, found

    old, (old_after, new_after) = asyncio.run(run())

    assert old_after == old
    assert 0 < len(new_after) <= len(old)
