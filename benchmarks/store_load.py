"""What the store benchmark sends: prepared chunks of a simulated history, by one or more processes."""

import asyncio
import multiprocessing
import time
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl
import uvloop

from domain.transaction import Transaction
from features.batch import Batch, batch_of
from features.columns import columns_of
from features.currency import Rates
from features.history import SCHEMA
from features.index import ANSWER, TIER_CODES, split_answers
from features.index_budget import IndexBudget
from features.keys import Keys
from features.layout import OFFSET_BITS
from features.redis_log import RedisLog
from features.redis_wire import SingleWire, Wire
from features.spec import FeatureSettings
from features.store import FeatureStore
from service.settings import Settings
from service.wiring import redis_client
from simulate.generate import generate

CHUNK: Final = 256
INDEX_DAYS: Final = 45
RATES: Final = Rates("EUR")
DEFINITION: Final = FeatureSettings()
_HOT_SHARE: Final = 0.15


class Chunk(NamedTuple):
    """Decoded transactions, ready to be observed."""

    batch: Batch
    ids: list[str]
    append_ms: list[int]


class AppendOnly(RedisLog):
    """A log without claims and index."""

    async def claim(self, *_: Any) -> dict[int, bytes]:
        """Claim nothing."""
        return {}


class ClaimsOnly(RedisLog):
    """A log without states."""

    async def append(self, states: Sequence[bytes], records: Sequence[bytes]) -> list[bytes]:
        """Append nothing."""
        del records
        return [b""] * len(states)


def history_for(n_events: int) -> pl.DataFrame:
    """Return a past of 30 days and `n_events` transactions after it: four entities each, one merchant with 15 % of them."""
    found = generate(n_days=40, n_cards=max(2_000, n_events // 9), seed=8).select(*SCHEMA)
    is_hot = pl.Series(np.random.default_rng(8).random(len(found)) < _HOT_SHARE)
    return found.with_columns(
        pl.col("device_id").fill_null("d-" + pl.col("card_id")),
        pl.col("ip").fill_null("i-" + pl.col("card_id")),
        pl.when(is_hot).then(pl.lit("m-hottest")).otherwise("merchant_id").alias("merchant_id"),
    )


def chunks_of(events: pl.DataFrame, *, share: int, n_shares: int, source: int) -> list[Chunk]:
    """Return the chunks of one process: of each `n_shares` cards it has one, as of partitions."""
    mine = events.filter(pl.Series(columns_of(events, RATES).entities[0].code % n_shares == share))
    names = [name for name in SCHEMA if name not in ("is_fraud", "label_time_ms")]
    sent = [Transaction(**dict(zip(names, row, strict=True))) for row in mine.select(names).iter_rows()]
    found = []
    for a in range(0, len(sent) - CHUNK + 1, CHUNK):
        part = sent[a : a + CHUNK]
        times = [t.time_ms for t in part]
        batch = batch_of(part, (source << OFFSET_BITS) + np.arange(a, a + CHUNK), np.array(times), RATES)
        found.append(Chunk(batch, [t.transaction_id for t in part], times))
    return found


async def play(wire: Wire, keys: Keys, chunks: Sequence[Chunk], log: type[RedisLog], *, with_answers: bool) -> float:
    """Observe chunks as the worker does, one calculated while the next is with Redis; return the seconds."""
    store = FeatureStore(log(wire, keys, IndexBudget(0, INDEX_DAYS)), keys, DEFINITION, RATES)
    answers = np.zeros(CHUNK, ANSWER)
    answers["tier"] = TIER_CODES[next(iter(TIER_CODES))]
    content = split_answers(answers)
    began = time.perf_counter()
    under_way = asyncio.create_task(store.begin(*chunks[0]))
    for place, chunk in enumerate(chunks):
        finish = await under_way
        if place + 1 < len(chunks):
            under_way = asyncio.create_task(store.begin(*chunks[place + 1]))
            await asyncio.sleep(0)
        observed = finish()
        if with_answers:
            store.answered(observed.claims, chunk.batch.source, content)
    await store.close()
    return time.perf_counter() - began


def several(settings: Settings, keys: Keys, events: pl.DataFrame, n_processes: int, source: int) -> float:
    """Let several processes append and fold at the same time; return the events per second of all together."""
    spawn = multiprocessing.get_context("spawn")
    barrier, results = spawn.Barrier(n_processes), spawn.Queue()
    processes = [
        spawn.Process(target=_process, args=(settings, keys, events, share, n_processes, source + share, barrier, results))
        for share in range(n_processes)
    ]  # fmt: skip
    for process in processes:
        process.start()
    spans = [results.get(timeout=300) for _ in processes]
    for process in processes:
        process.join()
    n_events: int = sum(n for n, _, _ in spans)
    seconds: float = max(end for _, _, end in spans) - min(start for _, start, _ in spans)
    return n_events / seconds


def _process(
    settings: Settings, keys: Keys, events: pl.DataFrame, share: int, n_shares: int, source: int, barrier: Any, results: Any
) -> None:
    chunks = chunks_of(events, share=share, n_shares=n_shares, source=source)

    async def run() -> None:
        client = redis_client(settings)
        wire = SingleWire(client)
        await wire.open()
        await play(wire, keys, chunks[:4], AppendOnly, with_answers=False)
        barrier.wait(120)
        start = time.time()
        await play(wire, keys, chunks[4:], AppendOnly, with_answers=False)
        results.put((CHUNK * (len(chunks) - 4), start, time.time()))
        await wire.close()
        await client.aclose()

    uvloop.run(run())
