"""Every log of the feature store obeys the same laws: in memory, in a real Redis and in a cluster."""

import asyncio
import struct
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count

import msgspec
import numpy as np
import polars as pl
import pytest

from domain.decision import FLAG_BITS, Flag, Tier
from domain.transaction import Transaction
from features import layout as at
from features.batch import batch_of
from features.currency import Rates
from features.fold import Held
from features.history import SCHEMA, normalised
from features.index import APPLIED, NO_ID, Entry, FirstAnswer, decode_entry, encode_answer, encode_entry, encode_id, fixed_parts
from features.index_budget import IndexBudget
from features.keys import Keys
from features.log import NOT_LATER, Checkpoint
from features.memory import MemoryLog
from features.offline import LoggedOrder, replay_in_order
from features.redis_log import RedisLog, library
from features.spec import FeatureSettings, fingerprint
from features.store import FeatureStore
from tests.integration.redis_nodes import Site
from tests.parity.definition import Item
from tests.parity.kernel_runs import fold_once, records_of

SETTINGS = FeatureSettings()
RATES = Rates("EUR")
KEYS = Keys("weir:", fingerprint(SETTINGS))
START_MS = 1_700_000_000_000
MINUTE_MS = 60_000


@asynccontextmanager
async def redis_log(site: Site):
    """Yield a log on connections of its own, with `.client` to look at and to damage what it wrote."""
    wire, client = site.new_wire(), site.new_client()
    await wire.everywhere([library()])
    log = RedisLog(wire, KEYS, IndexBudget(0, 1))
    log.client = client
    yield log
    await wire.close()
    await client.aclose()


@pytest.fixture(params=["memory", "single", "cluster"])
def run(request) -> Callable:
    """Return a function that runs `law(log)` in an event loop on a fresh log."""

    def run_law(law: Callable[..., Awaitable[None]]) -> None:
        async def body():
            if request.param == "memory":
                await law(MemoryLog())
                return
            async with redis_log(request.getfixturevalue(f"{request.param}_site")) as log:
                await law(log)

        asyncio.run(body())

    return run_law


def items(n: int, *, every_ms: int = MINUTE_MS) -> list[Item]:
    return [Item("transaction", START_MS + i * every_ms, 100 + i, "m", None) for i in range(n)]


async def append(log, key: bytes, records) -> bytes:
    return (await log.append([key], [records.tobytes()]))[0]


async def content(log, key: bytes) -> bytes:
    return log.states[key] if isinstance(log, MemoryLog) else await log.client.get(key)


def transactions(n: int, *, cards: int = 5, merchants: int = 3, every_ms: int = MINUTE_MS) -> list[Transaction]:
    rng = np.random.default_rng(n)
    return [
        Transaction(
            transaction_id=f"t{i}", card_id=f"c{rng.integers(cards)}", merchant_id=f"m{rng.integers(merchants)}",
            device_id=f"d{rng.integers(4)}" if i % 3 else None, ip=f"i{rng.integers(4)}", amount_minor=int(rng.integers(1, 50_000)),
            currency="EUR" if i % 11 else "XXX", event_time_ms=START_MS + i * every_ms - int(rng.integers(0, 5)) * 400_000 * (i % 7 == 0),
            lat=float(rng.uniform(40, 50)), lon=float(rng.uniform(0, 10)), channel="ecom", mcc=5411, country="FR",
        )
        for i in range(n)
    ]  # fmt: skip


async def observe(store: FeatureStore, chunk: list[Transaction], source: int, first_offset: int):
    sources = (np.int64(source) << 48) + np.arange(first_offset, first_offset + len(chunk), dtype=np.int64)
    append_ms = np.array([t.time_ms for t in chunk], np.int64)
    return await store.observe(batch_of(chunk, sources, append_ms, RATES), [t.transaction_id for t in chunk], append_ms.tolist())


def test_append_returns_the_state_as_it_was(run):
    async def law(log):
        records = records_of(items(5))
        key = KEYS.state(at.CARD, "c")
        assert await append(log, key, records[:2]) == b""
        assert await append(log, key, records[2:]) == records[:2].tobytes()
        assert await content(log, key) == records.tobytes()

    run(law)


def test_a_key_of_wrong_type_does_not_stop_the_others(site):
    async def law():
        async with redis_log(site) as log:
            names = [KEYS.state(at.CARD, name) for name in ("a", "b", "c")]
            await log.client.lpush(names[1], "not a string")
            records = records_of(items(1)).tobytes()
            found = await log.append(names, [records] * 3)
            assert found == [b"", b"", b""]
            assert [await log.client.get(name) for name in names] == [records] * 3
            assert await log.client.lrange(names[1].replace(KEYS.states, KEYS.bad), 0, -1) == [b"not a string"]

    asyncio.run(law())


def test_a_checkpoint_needs_the_first_8_and_the_last_32_consumed_bytes(run):
    async def law(log):
        key, records = KEYS.state(at.CARD, "c"), records_of(items(10))
        await append(log, key, records)
        state = records.tobytes()
        _, _, head, used = fold_once("card", b"", records, above=4, keep=2)
        right = Checkpoint(key, state[:8], state[used - 32 : used], used, head)
        assert await log.checkpoint([right._replace(first=b"x" * 8)]) == 0
        assert await log.checkpoint([right._replace(last=b"x" * 32)]) == 0
        assert await log.checkpoint([right]) == 1
        assert await log.checkpoint([right]) == 0
        assert await content(log, key) == head + state[used:]

    run(law)


def test_the_index_keeps_the_first_entry(run):
    async def law(log):
        name = KEYS.index("t")
        first, second = (encode_entry(Entry(i, START_MS, START_MS, ("c", "m", None, None))) for i in (1, 2))
        for entry in (first, second):
            await log.claim([name], [entry], 1_000, [])
        found = await log.label([name], [9], [START_MS + 1], [True])
        assert found[0] is not None
        assert found[0][0][: len(first)] == first

    run(law)


def test_an_id_claimed_by_another_record_within_the_window_is_a_duplicate_and_tells_the_first_answer(run):
    def entry_of(source, append_ms):
        return encode_entry(Entry(source, append_ms, START_MS, ("c", "m", None, None)))

    async def law(log):
        name, other = KEYS.index("t"), KEYS.index("u")
        answer = FirstAnswer(Tier.FULL, "review", FLAG_BITS[Flag.LATE], 3, 0.25)
        first = entry_of(5, START_MS)
        assert await log.claim([name, other], [first, entry_of(6, START_MS)], 1_000, []) == {}
        assert await log.claim([name], [first], 1_000, []) == {}  # the same record again
        assert await log.claim([other, name], [entry_of(6, START_MS), entry_of(7, START_MS + 1_000)], 1_000, []) == {1: first}
        noted = [(name, (source).to_bytes(8, "little"), encode_answer(answer)) for source in (7, 5)]
        await log.claim([], [], 1_000, noted[:1])  # not the claim's source: not noted
        assert decode_entry((await log.claim([name], [entry_of(8, START_MS)], 1_000, noted[1:]))[0]).answer in (None, answer)
        again = (name, (5).to_bytes(8, "little"), encode_answer(answer._replace(outcome="decline")))
        await log.claim([], [], 1_000, [again])
        assert decode_entry((await log.claim([name], [entry_of(8, START_MS)], 1_000, []))[0]).answer == answer
        assert await log.claim([name], [entry_of(9, START_MS + 1_001)], 1_000, []) == {}  # long after: another transaction
        assert decode_entry((await log.claim([name], [first], 1_000_000, []))[0]).source == 9

    run(law)


@pytest.mark.parametrize(("n_committed", "n_raw", "n_used"), [(90, 100, 77), (40, 100, 40), (10, 100, 0), (0, 510, 487)])
def test_a_checkpoint_leaves_raw_what_may_come_again_as_long_as_there_is_room(n_committed, n_raw, n_used):
    records = records_of(items(n_raw + 1))
    source = int(records["source"][0]) >> at.OFFSET_BITS
    offsets = records["source"].astype(np.int64) & at.OFFSET_MASK
    assert (offsets[1:] > offsets[:-1]).all()
    held = Held(np.array([source]), np.array([int(offsets[n_committed])]))
    found = fold_once("card", records[:n_raw].tobytes(), records[n_raw:], held=held)
    assert found[3] == n_used * at.RECORD_BYTES


def test_a_label_finds_a_transaction_only_when_it_is_in_the_states(run):
    async def law(log):
        name = KEYS.index("t")
        entry = fixed_parts(np.array([5]), [START_MS], np.array([START_MS]))[0] + encode_id("c") + encode_id("m") + NO_ID + NO_ID
        await log.claim([name], [entry], 1_000, [])
        assert await log.label([name], [9], [START_MS + 1], [True]) == [None]
        await log.claim([], [], 1_000, [(name, (5).to_bytes(8, "little"), APPLIED)])
        assert (await log.label([name], [9], [START_MS + 1], [True]))[0][1] == 1

    run(law)


def test_a_release_keeps_its_number(run):
    async def law(log):
        first, _ = await log.releases("weir@1 p1")
        second, names = await log.releases("weir@2 p1")
        assert (await log.releases("weir@1 p1"))[0] == first != second
        assert names == {first: "weir@1 p1", second: "weir@2 p1"} == (await log.releases(""))[1]

    run(law)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_the_latest_label_is_in_force_whatever_the_order_of_arrival(run, order):
    labels = [(10, START_MS + 1000, True), (11, START_MS + 2000, False), (12, START_MS + 2000, True)]

    async def law(log):
        name = KEYS.index("t")
        entry = encode_entry(Entry(1, START_MS, START_MS, ("c", "m", None, None)))
        await log.claim([name], [entry], 1_000, [])
        changes = []
        for i in order:
            source, when, value = labels[i]
            changes.append((await log.label([name], [source], [when], [value]))[0][1])
        assert sum(changes) == 1
        again = [(await log.label([name], [labels[i][0]], [labels[i][1]], [labels[i][2]]))[0][1] for i in order]
        assert again == changes

    run(law)


def test_unknown_and_early_labels_change_nothing(run):
    async def law(log):
        name = KEYS.index("t")
        entry = encode_entry(Entry(1, START_MS, START_MS, ("c", "m", None, None)))
        await log.claim([name], [entry], 1_000, [])
        found = await log.label([KEYS.index("nobody"), name], [5, 6], [START_MS + 1, START_MS], [True, True])
        assert found[0] is None
        assert found[1][1] == NOT_LATER
        assert (await log.label([name], [7], [START_MS + 1], [True]))[0][1] == 1

    run(law)


def test_sources_keep_their_ids_and_new_topics_get_new_ones(run):
    async def law(log):
        first = await log.source_ids(["uuid-a:0", "uuid-a:1"])
        again = await log.source_ids(["uuid-a:1", "uuid-b:0", "uuid-a:0"])
        assert len(set(first)) == 2
        assert [again[2], again[0]] == first
        assert again[1] not in first
        assert min(first) > at.HISTORY_SOURCE

    run(law)


def test_observing_again_gives_the_same_vectors_and_counts_nothing_twice(run):
    chunk = transactions(60)

    async def law(log):
        store = FeatureStore(log, KEYS, SETTINGS, RATES)
        first = await observe(store, chunk, 5, 0)
        again = await observe(store, chunk, 5, 0)
        half = await observe(store, chunk[30:], 5, 30)
        later = await observe(store, [msgspec.structs.replace(chunk[0], transaction_id="another")], 5, 60)
        await store.close()
        exact = (again.flags & FLAG_BITS[Flag.REPLAY_APPROX]) == 0
        assert np.array_equal(first.vectors[exact].view(np.int32), again.vectors[exact].view(np.int32))
        assert np.array_equal(first.positions[exact], again.positions[exact])
        exact = (half.flags & FLAG_BITS[Flag.REPLAY_APPROX]) == 0
        assert np.array_equal(first.vectors[30:][exact].view(np.int32), half.vectors[exact].view(np.int32))
        assert exact.any()
        n_of_card = sum(t.card_id == chunk[0].card_id for t in chunk)
        assert later.positions[0, at.CARD] == n_of_card

    run(law)


def test_served_vectors_equal_the_offline_twin_bit_for_bit(run):
    """Late events, unknown currencies, missing devices, labels and corrections included."""
    stream = transactions(600, cards=20, merchants=6, every_ms=3 * MINUTE_MS)

    async def law(log):
        store = FeatureStore(log, KEYS, SETTINGS, RATES)
        rows, vectors, kinds, times, places = [], [], [], [], []
        offset = count()
        for first in range(0, len(stream), 50):
            chunk = stream[first : first + 50]
            seen = await observe(store, chunk, 5, first)
            vectors.append(seen.vectors)
            rows += [t.transaction_id for t in chunk]
            kinds += [at.TRANSACTION] * len(chunk)
            times += [t.time_ms for t in chunk]
            places += seen.positions.tolist()
            labelled = chunk[::9]
            for is_fraud, base in ((True, 0), (False, 10_000)):
                part = labelled if is_fraud else labelled[::3]
                credited = await store.credit(
                    [t.transaction_id for t in part], [(6 << 48) + next(offset) for _ in part],
                    [t.time_ms + 1000 + base for t in part], [is_fraud] * len(part),
                )  # fmt: skip
                for t, found in zip(part, credited, strict=True):
                    rows.append(t.transaction_id)
                    kinds.append(at.FRAUD if is_fraud else at.FRAUD_UNDONE)
                    times.append(found.entry.event_ms)
                    places.append(list(found.positions))
        await store.close()
        frame = normalised(pl.DataFrame([{n: getattr(t, n, None) for n in SCHEMA} for t in stream], schema=SCHEMA), "test")
        order = LoggedOrder(pl.Series("transaction_id", rows), np.array(kinds), np.array(times), np.array(places))
        kept, replayed = replay_in_order(frame, order, SETTINGS, RATES, start_ms=0)
        place = {name: i for i, name in enumerate(frame["transaction_id"][kept].to_list())}
        offline = replayed.vectors[[place[t.transaction_id] for t in stream]]
        assert replayed.n_misplaced == 0
        assert np.array_equal(np.concatenate(vectors).view(np.int32), offline.view(np.int32))

    run(law)


@pytest.mark.parametrize("broken", [struct.pack("<q", -0xAD << 48) + bytes(64), b"short", bytes(41)])
def test_a_broken_state_is_moved_aside_and_the_entity_starts_anew(run, broken):
    chunk = transactions(3, cards=1, merchants=1)

    async def law(log):
        store = FeatureStore(log, KEYS, SETTINGS, RATES)
        key = KEYS.state(at.CARD, chunk[0].card_id)
        aside = key.replace(KEYS.states, KEYS.bad)
        if isinstance(log, MemoryLog):
            log.states[key] = broken
        else:
            await log.client.set(key, broken)
        first = await observe(store, chunk[:1], 5, 0)
        second = await observe(store, chunk[1:], 5, 1)
        assert store.n_broken == 1
        assert first.positions[0, at.CARD] == 0
        assert second.positions[:, at.CARD].tolist() == [1, 2]
        assert (log.bad[key] if isinstance(log, MemoryLog) else await log.client.get(aside)) == broken
        assert len(await content(log, key)) == 3 * at.RECORD_BYTES

    run(law)
