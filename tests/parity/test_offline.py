"""The offline twin: it is the definition in plain order, it sees no future, and serving goes on from what it folded."""

import asyncio
import math
from itertools import groupby

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from domain.errors import ConfigError, HistoryError, Unavailable
from domain.transaction import Transaction
from features import layout as at
from features import spec
from features.batch import batch_of, places
from features.columns import columns_of
from features.currency import Rates
from features.history import SCHEMA, normalised
from features.index_budget import IndexBudget
from features.keys import Keys
from features.memory import MemoryLog
from features.offline import LoggedOrder, default_events, fold_states, replay, replay_in_order
from features.redis_log import RedisLog, library
from features.redis_rebuild import rebuild
from features.redis_wire import SingleWire
from features.spec import COLUMN, ENTITIES, FeatureSettings, fingerprint
from features.store import FeatureStore
from tests.parity.definition import Item, features_before
from tests.parity.kernel_runs import names_of
from tests.parity.test_definition import assert_close

SETTINGS = FeatureSettings(maturity_days=3)
RATES = Rates("EUR")
KEYS = Keys("weir:", fingerprint(SETTINGS))
START_MS = 1_700_000_000_000
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
ID_COLUMNS = ("card_id", "merchant_id", "device_id", "ip")


def frame_of(rows: list[dict]) -> pl.DataFrame:
    return normalised(pl.DataFrame([{name: row.get(name) for name in SCHEMA} for row in rows], schema=SCHEMA, orient="row"), "test")


def history_of(n: int, seed: int, *, fraud_share: float = 0.2, gap_ms: int = 6 * HOUR_MS) -> pl.DataFrame:
    """A history with equal times, missing devices and places, unknown currencies, an idle time and labels of any delay."""
    r = np.random.default_rng(seed)
    gaps = (r.integers(0, gap_ms, n) * (r.random(n) < 0.8)).astype(np.int64)
    gaps[n // 3] = 101 * DAY_MS
    times = START_MS + np.cumsum(gaps)
    rows = []
    for i, time_ms in enumerate(times.tolist()):
        is_fraud = [True, False, None][r.choice(3, p=[fraud_share, 0.7 - fraud_share / 2, 0.3 - fraud_share / 2])]
        is_known = is_fraud is True or (is_fraud is False and r.random() < 0.3)
        # often at the very time of another transaction
        delay = int(times[r.integers(n)]) - time_ms if r.random() < 0.3 else int(r.integers(1, 20 * DAY_MS))
        rows.append(
            {"transaction_id": f"t{r.integers(1 << 40):012}{i}", "event_time_ms": time_ms, "card_id": f"c{r.integers(6)}",
             "merchant_id": f"m{r.integers(4)}", "device_id": f"d{r.integers(3)}" if r.random() < 0.7 else None,
             "ip": f"i{r.integers(3)}" if r.random() < 0.8 else None, "amount_minor": int(r.integers(0, 100_000)),
             "currency": "EUR" if r.random() < 0.9 else "XXX", "lat": float(r.uniform(-90, 90)) if r.random() < 0.8 else None,
             "lon": float(r.uniform(-180, 180)), "channel": "pos", "mcc": 5411, "country": "FR", "is_fraud": is_fraud,
             "label_time_ms": time_ms + max(delay, 1) if is_known else None}
        )  # fmt: skip
    return frame_of(rows)


def folded(history: pl.DataFrame, end_ms: int):
    return fold_states(columns_of(history, RATES), default_events(history, end_ms=end_ms), RATES.major)


def bits(vectors) -> np.ndarray:
    return np.ascontiguousarray(vectors).view(np.int32)


def item_of(row: dict, kind: int) -> Item:
    lat, lon = (int(x[0]) for x in places(np.array([row["lat"]], np.float64), np.array([row["lon"]], np.float64)))
    return Item(
        "transaction", row["event_time_ms"], row["amount_minor"] if row["currency"] == "EUR" else None,
        row["merchant_id"] if kind == at.CARD else row["card_id"], None if lat == at.NO_PLACE else (lat, lon),
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_replay_is_the_definition_in_plain_order(seed):
    history = history_of(90, seed)
    rows = history.to_dicts()
    found = replay(history, SETTINGS, RATES)
    logs: dict[tuple[int, str], list[Item]] = {}
    labels = sorted((row["label_time_ms"], i) for i, row in enumerate(rows) if row["is_fraud"] and row["label_time_ms"] is not None)
    for i, row in enumerate(rows):
        while labels and labels[0][0] < row["event_time_ms"]:
            of = rows[labels.pop(0)[1]]
            for kind in (at.CARD, at.MERCHANT):
                logs.setdefault((kind, of[ID_COLUMNS[kind]]), []).append(Item("fraud", of["event_time_ms"]))
        for kind, entity in enumerate(ENTITIES):
            columns = [COLUMN[name] for name in names_of(entity)]
            if row[ID_COLUMNS[kind]] is None:
                assert np.isnan(found[i, columns]).all()
                continue
            log, now = logs.setdefault((kind, row[ID_COLUMNS[kind]]), []), item_of(row, kind)
            expected = {name: float(np.float32(value)) for name, value in features_before(entity, log, now, maturity_days=3).items()}
            assert_nearly(dict(zip(names_of(entity), found[i, columns].tolist(), strict=True)), expected)
            log.append(now)


def assert_nearly(found: dict[str, float], expected: dict[str, float]) -> None:
    """Compare at float32: the definition adds in another order."""
    rounded = {}
    for name, value in found.items():
        wanted = expected[name]
        rounded[name] = wanted if math.isclose(value, wanted, rel_tol=1e-6) else value
    assert_close(rounded, {name: expected[name] for name in found})


@given(seed=st.integers(0, 10_000), cut=st.integers(0, 119))
@settings(max_examples=60)
def test_no_vector_depends_on_a_later_transaction_or_a_label_not_yet_known(seed, cut):
    history = history_of(120, seed)
    rows = history.to_dicts()
    now_ms = rows[cut]["event_time_ms"]
    r = np.random.default_rng(seed + 1)
    other = []
    for row in rows[: cut + 1]:
        if row["label_time_ms"] is not None and row["label_time_ms"] < now_ms:
            other.append(row)
        else:  # what was not known yet: a coin flip, told at any time from now on
            is_fraud = bool(r.random() < 0.5)
            delay_ms = int(r.integers(2)) * int(r.integers(10**9))
            other.append(row | {"is_fraud": is_fraud, "label_time_ms": max(now_ms, row["event_time_ms"] + 1) + delay_ms})
    for row in rows[cut + 1 :]:
        noise = {
            "amount_minor": int(r.integers(1 << 32)), "card_id": f"c{r.integers(6)}", "merchant_id": f"m{r.integers(4)}",
            "device_id": f"d{r.integers(3)}", "ip": f"i{r.integers(3)}", "lat": float(r.uniform(-90, 90)), "currency": "EUR",
            "event_time_ms": row["event_time_ms"] + int(r.integers(2)) * int(r.integers(10**9)),
            "transaction_id": "~" + row["transaction_id"], "is_fraud": None, "label_time_ms": None,
        }  # fmt: skip
        other.append(row | noise)

    noisy = frame_of(other)

    assert noisy["transaction_id"][: cut + 1].to_list() == history["transaction_id"][: cut + 1].to_list()
    assert np.array_equal(bits(replay(noisy, SETTINGS, RATES)[: cut + 1]), bits(replay(history, SETTINGS, RATES)[: cut + 1]))


@given(seed=st.integers(0, 10_000), keep=st.lists(st.booleans(), min_size=80, max_size=80))
@settings(max_examples=30)
def test_kept_rows_are_the_same_as_in_the_whole(seed, keep):
    history = history_of(80, seed)
    mask = np.array(keep)

    found = replay(history, SETTINGS, RATES, keep=mask)

    assert found.dtype == np.float32
    assert np.array_equal(bits(found), bits(replay(history, SETTINGS, RATES)[mask]))


def known_frauds(label_ms: int, at_ms: int, entity: str = "merchant") -> float:
    common = {"card_id": "c", "merchant_id": "m", "amount_minor": 1, "currency": "EUR"}
    rows = [
        common | {"transaction_id": "a", "event_time_ms": START_MS, "is_fraud": True, "label_time_ms": label_ms},
        common | {"transaction_id": "b", "event_time_ms": at_ms},
        common | {"transaction_id": "c", "event_time_ms": at_ms},
    ]
    found = replay(frame_of(rows), SETTINGS, RATES)[1:, COLUMN[f"{entity}_known_frauds_28d"]]
    assert found[0] == found[1]
    return float(found[0])


@pytest.mark.parametrize("entity", ["card", "merchant"])
def test_a_label_counts_from_the_first_transaction_after_it_and_not_at_the_same_time(entity):
    label_ms = START_MS + DAY_MS

    assert [known_frauds(label_ms, label_ms + ahead, entity) for ahead in (-1, 0, 1)] == [0.0, 0.0, 1.0]


def test_unknown_and_good_labels_are_no_records():
    history = history_of(60, 1)
    events = default_events(history)

    n_frauds = int((history["is_fraud"].fill_null(value=False) & history["label_time_ms"].is_not_null()).sum())
    assert np.bincount(events.kind, minlength=3).tolist() == [60, n_frauds, 0]


def test_progress_grows_to_one():
    shares: list[float] = []

    replay(history_of(50, 2), SETTINGS, RATES, progress=shares.append)

    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_an_empty_history_has_no_vectors():
    assert replay(frame_of([]), SETTINGS, RATES).shape == (0, spec.N_FEATURES)
    assert list(folded(frame_of([]), START_MS)) == []


def test_an_order_that_names_a_strange_transaction_is_refused():
    order = LoggedOrder(pl.Series(["nobody"]), np.array([0]), np.array([START_MS]), np.zeros((1, 4), np.int64))

    with pytest.raises(HistoryError, match="'nobody'"):
        replay_in_order(history_of(5, 3), order, SETTINGS, RATES, start_ms=0)


def transactions_of(frame: pl.DataFrame) -> list[Transaction]:
    names = [name for name in SCHEMA if name not in ("is_fraud", "label_time_ms")]
    return [Transaction(**{name: row[name] for name in names}) for row in frame.iter_rows(named=True)]


async def serve(store: FeatureStore, history: pl.DataFrame, from_ms: int, *, chunk: int = 17) -> np.ndarray:
    """Observe and credit everything from a time on, in the default order; return the vectors, in history order."""
    ids = await store.source_ids("tx", [0])
    label_ids = await store.source_ids("labels", [0])
    events = default_events(history)
    sent, rows = transactions_of(history), history.to_dicts()
    later = [
        (kind, row) for row, kind in zip(events.row.tolist(), events.kind.tolist(), strict=True)
        if rows[row]["event_time_ms" if kind == at.TRANSACTION else "label_time_ms"] >= from_ms
    ]  # fmt: skip
    vectors, offset = [], 0
    for kind, run in groupby(later, key=lambda event: event[0]):
        chosen = [row for _, row in run]
        for first in range(0, len(chosen), chunk):
            part = chosen[first : first + chunk]
            places_of = np.arange(offset, offset + len(part))
            offset += len(part)
            if kind == at.TRANSACTION:
                taken = [sent[row] for row in part]
                times = np.array([t.time_ms for t in taken])
                batch = batch_of(taken, (ids[0] << at.OFFSET_BITS) + places_of, times, RATES)
                seen = await store.observe(batch, [t.transaction_id for t in taken], times.tolist())
                assert not seen.flags[batch.amount >= 0].any()
                vectors.append(seen.vectors)
            else:
                credited = await store.credit(
                    [sent[row].transaction_id for row in part], ((label_ids[0] << at.OFFSET_BITS) + places_of).tolist(),
                    [rows[row]["label_time_ms"] for row in part], [True] * len(part),
                )  # fmt: skip
                assert [c.change for c in credited] == [1] * len(part)
    await store.close()
    return np.concatenate(vectors)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_rebuilt_redis_and_serving_go_on_as_one_uninterrupted_run(redis_url, seed, share):
    history = history_of(700, seed, fraud_share=0.1, gap_ms=HOUR_MS)
    end_ms = int(history["event_time_ms"][int(700 * share)])
    n_before = int((history["event_time_ms"] < end_ms).sum())

    async def run():
        client = Redis.from_url(redis_url)
        built = await rebuild(client, KEYS, history, SETTINGS, RATES, end_ms=end_ms, index_days=400)
        log = RedisLog(SingleWire(client), KEYS, IndexBudget(0, 1))
        await client.execute_command(*library())
        vectors = await serve(FeatureStore(log, KEYS, SETTINGS, RATES), history, end_ms)
        await client.aclose()
        return built, vectors

    built, served = asyncio.run(run())

    before = history.filter(pl.col("event_time_ms") < end_ms)
    assert built.entities == sum(before[name].drop_nulls().n_unique() for name in ID_COLUMNS)
    assert built.index_entries == n_before
    assert np.array_equal(bits(served), bits(replay(history, SETTINGS, RATES)[n_before:]))


def test_labels_known_before_a_rebuild_are_in_the_index_and_correct_ones_take_them_back(redis_url):
    history = history_of(300, 4, fraud_share=0.3, gap_ms=HOUR_MS)
    end_ms = int(history["event_time_ms"].max()) + 1
    is_told = pl.col("is_fraud") & (pl.col("label_time_ms") < end_ms)
    told, row_before = history.filter(is_told).to_dicts(), history.row(0, named=True)

    async def run():
        client = Redis.from_url(redis_url)
        index_days = (end_ms - row_before["event_time_ms"]) // DAY_MS - 1
        await rebuild(client, KEYS, history, SETTINGS, RATES, end_ms=end_ms, index_days=index_days)
        log = RedisLog(SingleWire(client), KEYS, IndexBudget(0, 1))
        await client.execute_command(*library())
        store = FeatureStore(log, KEYS, SETTINGS, RATES)
        kept = [row for row in told if row["event_time_ms"] >= end_ms - index_days * DAY_MS]
        names, n = [row["transaction_id"] for row in kept], len(kept)
        again = await store.credit(names, [(9 << 48) + i for i in range(n)], [row["label_time_ms"] for row in kept], [True] * n)
        back = await store.credit(names, [(9 << 48) + n + i for i in range(n)], [end_ms + 1] * n, [False] * n)
        gone = await store.credit([row_before["transaction_id"]], [(9 << 48) + 3 * n], [end_ms], [True])
        ttls = [await client.ttl(KEYS.index(names[0])), await client.ttl(KEYS.state(0, kept[0]["card_id"]))]
        await client.aclose()
        return kept, again, back, gone, ttls, index_days

    kept, again, back, gone, ttls, index_days = asyncio.run(run())

    assert len(kept) > 10
    assert [(c.change, c.entry.event_ms, c.entry.entities[0]) for c in again] == [(0, row["event_time_ms"], row["card_id"]) for row in kept]
    assert [c.change for c in back] == [-1] * len(kept)
    assert gone == [None]
    left_s = index_days * 86_400 - (end_ms - kept[0]["event_time_ms"]) // 1000
    assert max(left_s, 3_600) - 100 <= ttls[0] <= left_s + 86_400  # as if it had been written at its transaction's time
    assert 119 * 86_400 < ttls[1] <= 120 * 86_400


def test_a_rebuild_refuses_a_filled_namespace_and_replaces_it_and_no_other_when_told_to(redis_url):
    history = history_of(120, 5)
    end_ms = int(history["event_time_ms"].max()) + 1
    keys = Keys("w[e]?*:", fingerprint(SETTINGS))
    others = [
        Keys("we1:", fingerprint(SETTINGS)).state(0, "c0"), Keys("w[e]?*:", "f" * 16).state(0, "c0"), keys.index("t-foreign"), keys.sources,
    ]  # fmt: skip

    async def run():
        client = Redis.from_url(redis_url)

        async def build(*, replace: bool):
            return await rebuild(client, keys, history, SETTINGS, RATES, end_ms=end_ms, index_days=400, replace=replace)

        for name in others:
            await client.set(name, b"stays")
        first = await build(replace=False)
        before = await client.get(keys.state(0, "c1"))
        await client.set(keys.state(0, "nobody"), bytes(64))
        await client.append(keys.state(0, "c1"), bytes(32))
        with pytest.raises(ConfigError, match="--replace"):
            await build(replace=False)
        again = await build(replace=True)
        found = await client.mget([keys.state(0, "c1"), keys.state(0, "nobody"), *others])
        await client.aclose()
        return first, again, before, found

    first, again, before, found = asyncio.run(run())

    assert again == first._replace(index_entries=0)  # what the index knows stays as it is
    assert found == [before, None, *[b"stays"] * len(others)]


def test_a_redis_that_does_not_answer_is_unavailable(tmp_path):
    async def run():
        client = Redis(unix_socket_path=str(tmp_path / "nothing.sock"), retry=Retry(NoBackoff(), 0))
        await rebuild(client, KEYS, history_of(5, 6), SETTINGS, RATES, end_ms=START_MS, index_days=1)

    with pytest.raises(Unavailable):
        asyncio.run(run())


@given(seed=st.integers(0, 10_000), share=st.floats(0, 1))
@settings(max_examples=20)
def test_states_folded_offline_are_what_serving_continues_from_in_memory_too(seed, share):
    history = history_of(100, seed)
    end_ms = int(history["event_time_ms"][min(int(100 * share), 99)])
    log = MemoryLog()
    for kind, ids, states in folded(history, end_ms):
        log.states |= {KEYS.state(kind, name): state for name, state in zip(ids, states, strict=True)}
    without_labels = history.with_columns(is_fraud=pl.when(pl.col("label_time_ms") < end_ms).then("is_fraud"))
    without_labels = without_labels.with_columns(label_time_ms=pl.when(pl.col("is_fraud").is_not_null()).then("label_time_ms"))

    served = asyncio.run(serve(FeatureStore(log, KEYS, SETTINGS, RATES), without_labels, end_ms))

    n_before = int((history["event_time_ms"] < end_ms).sum())
    assert np.array_equal(bits(served), bits(replay(without_labels, SETTINGS, RATES)[n_before:]))
