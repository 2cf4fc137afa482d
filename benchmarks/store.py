"""`python -m benchmarks.store`: the feature store alone, on a Redis of its own: events per second, time in Redis, bytes of state.

Decoding, scoring and Kafka are not in it. Client processes and Redis share the machine's cores.
"""

import asyncio
import json
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

import click
import msgspec
import numpy as np
import polars as pl
import uvloop

from benchmarks.store_load import (
    CHUNK,
    DEFINITION,
    RATES,
    AppendOnly,
    Chunk,
    ClaimsOnly,
    chunks_of,
    history_for,
    play,
    several,
)
from features.columns import columns_of
from features.keys import Keys
from features.layout import OFFSET_MASK
from features.redis_journal import RedisJournal
from features.redis_log import RedisLog, library
from features.redis_markers import RedisMarkers
from features.redis_rebuild import rebuild_states
from features.redis_wire import Call, SingleWire
from features.spec import fingerprint
from service.embedded_redis import RedisServer
from service.settings import Settings
from service.wiring import redis_client
from stream.journal import Answered, Journal
from stream.journal_ring import Start

_N_PROCESSES: Final = 3
_SLOW_US: Final = 250
#: Bands of the bytes per entity: events at most.
_BANDS: Final = (3, 10, 30, 100, 1_000)
_SAMPLE: Final = 2_000
_SCORE_BYTES: Final = 380
_ALERT_SHARE: Final = 0.01


@click.command()
@click.option("--events", default=60_000, show_default=True, help="Events of each measurement.")
def main(events: int) -> None:
    """Print the figures of the store as JSON."""
    click.echo(json.dumps(store(events), indent=2))


def store(n_events: int) -> dict[str, Any]:
    """Return the figures of the store.

    * `events_per_s`: append and fold, by one and by three processes, and by one with claims and index beside it;
    * `redis_us_per_event`: processor time of Redis by part (the markers as if every chunk committed);
    * `calls`: their number, how many took Redis more than 1 ms, the slowest in ms;
    * `bytes_per_entity`: by number of events, in all four types.
    """
    history = history_for(4 * n_events)
    start_ms = int(history["event_time_ms"][0]) + 30 * 86_400_000
    first = int((history["event_time_ms"] < start_ms).sum())
    slices = [history[first + i * n_events : first + (i + 1) * n_events] for i in range(4)]
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder), is_guarded=True)
        server.start()
        try:
            default = Settings()
            settings = msgspec.structs.replace(default, redis=msgspec.structs.replace(default.redis, url=server.url, timeout_ms=10_000))
            keys = Keys("bench:", fingerprint(DEFINITION))
            found: dict[str, Any] = uvloop.run(_one_process(settings, keys, history, start_ms, slices))
            found["events_per_s"]["three_processes"] = round(several(settings, keys, slices[3], _N_PROCESSES, 20))
            appended = pl.concat([history[:first], slices[0], slices[2], slices[3]])
            found |= uvloop.run(_afterwards(settings, keys, appended))
            return found
        finally:
            server.kill()


async def _one_process(
    settings: Settings, keys: Keys, history: pl.DataFrame, start_ms: int, slices: Sequence[pl.DataFrame]
) -> dict[str, Any]:
    client = redis_client(settings)
    wire = SingleWire(client)
    await rebuild_states(wire, keys, history, RATES, end_ms=start_ms, index_days=1)
    await wire.everywhere([library()])
    prepared = [chunks_of(part, share=0, n_shares=1, source=10 + i) for i, part in enumerate(slices[:3])]
    await play(wire, keys, prepared[0][:20], AppendOnly, with_answers=False)
    await client.config_set("slowlog-log-slower-than", _SLOW_US)
    await client.config_set("slowlog-max-len", 10_000)
    await client.config_resetstat()
    await client.slowlog_reset()

    async def measured(chunks: Sequence[Chunk], work: Callable[[], Awaitable[float]]) -> tuple[float, float]:
        before_s = await _cpu_s(client)
        seconds = await work()
        n = CHUNK * len(chunks)
        return n / seconds, 1e6 * (await _cpu_s(client) - before_s) / n

    append = await measured(prepared[0][20:], lambda: play(wire, keys, prepared[0][20:], AppendOnly, with_answers=False))
    claims = await measured(prepared[1], lambda: play(wire, keys, prepared[1], ClaimsOnly, with_answers=True))
    whole = await measured(prepared[2], lambda: play(wire, keys, prepared[2], RedisLog, with_answers=True))
    journal = await measured(prepared[1], lambda: _journal(wire, keys, prepared[1]))
    markers = await measured(prepared[1], lambda: _markers(wire, keys, prepared[1]))
    await wire.close()
    await client.aclose()
    parts = {"append": append, "claims_and_index": claims, "journal": journal, "markers": markers}
    return {
        "events_per_s": {"one_process": round(append[0]), "one_process_with_claims": round(whole[0])},
        "redis_us_per_event": {name: round(us, 2) for name, (_, us) in parts.items()},
    }


async def _journal(wire: SingleWire, keys: Keys, chunks: Sequence[Chunk]) -> float:
    async def never() -> None:
        await asyncio.sleep(0)

    journal = Journal(RedisJournal(wire, keys, "bench"), never)
    await journal.load({0: Start(1, 0)})
    loop = asyncio.get_running_loop()
    began = loop.time()
    score, alert = b"s" * _SCORE_BYTES, b"a" * (3 * _SCORE_BYTES)
    for chunk in chunks:
        offsets = (chunk.batch.source & OFFSET_MASK).tolist()
        alerts = [alert if i < _ALERT_SHARE * CHUNK else b"" for i in range(CHUNK)]
        await journal.write(Answered([0] * CHUNK, offsets, [score] * CHUNK, alerts))
        journal.committed({0: offsets[-1] + 1})
    return loop.time() - began


async def _markers(wire: SingleWire, keys: Keys, chunks: Sequence[Chunk]) -> float:
    markers = RedisMarkers(wire, keys, "bench")
    loop = asyncio.get_running_loop()
    began = loop.time()
    for place, chunk in enumerate(chunks):
        await markers.write(dict.fromkeys(range(2, 6), (CHUNK * place, chunk.append_ms[-1])))
    return loop.time() - began


async def _afterwards(settings: Settings, keys: Keys, streamed: pl.DataFrame) -> dict[str, Any]:
    """Return what Redis noted about its calls, and the size of states."""
    client = redis_client(settings)
    wire = SingleWire(client)
    slow = [entry["duration"] for entry in await client.slowlog_get(10_000) if entry["command"].split(b" ")[0] in _CALLS]
    stats = await client.info("commandstats")
    n_calls = sum(stats[name]["calls"] for name in ("cmdstat_fcall", "cmdstat_mget", "cmdstat_eval") if name in stats)
    found = {
        "calls": {"n": n_calls, "over_1_ms": sum(us > 1_000 for us in slow), "slowest_ms": round(max(slow, default=_SLOW_US) / 1_000, 2)},
        "bytes_per_entity": await _bytes_per_entity(wire, keys, streamed),
    }
    await wire.close()
    await client.aclose()
    return found


_CALLS: Final = frozenset({b"FCALL", b"MGET", b"EVAL", b"EXEC"})


async def _bytes_per_entity(wire: SingleWire, keys: Keys, streamed: pl.DataFrame) -> dict[str, Any]:
    columns = columns_of(streamed, RATES)
    lengths: dict[int, list[int]] = {}
    hottest = (0, b"")
    random = np.random.default_rng(1)
    for kind, entities in enumerate(columns.entities):
        counts = np.bincount(entities.code[entities.code >= 0], minlength=len(entities.ids))
        hottest = max(hottest, (int(counts.max()), keys.state(kind, entities.ids[int(counts.argmax())])))
        for low, high in zip((0, *_BANDS), _BANDS, strict=False):
            inside = np.flatnonzero((counts > low) & (counts <= high))
            for code in random.permutation(inside)[:_SAMPLE].tolist():
                name = keys.state(kind, entities.ids[code])
                ((length,),) = await wire.run([Call(name, (("STRLEN", name),))])
                if length:
                    lengths.setdefault(high, []).append(length)
    ((hottest_bytes,),) = await wire.run([Call(hottest[1], (("STRLEN", hottest[1]),))])
    bands = {
        f"up_to_{high}": dict(zip(("p5", "median", "p95"), np.percentile(found, [5, 50, 95]).astype(int).tolist(), strict=True))
        for high, found in sorted(lengths.items())
    }
    return bands | {"hottest": {"events": hottest[0], "bytes": hottest_bytes}}


async def _cpu_s(client: Any) -> float:
    found = await client.info("cpu")
    return float(found["used_cpu_user"]) + float(found["used_cpu_sys"])


if __name__ == "__main__":
    main()
