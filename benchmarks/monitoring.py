"""`python -m benchmarks.monitoring`: what counting for the drift engine costs a worker, on a history and model of an earlier benchmark.

Two pipelines answer the same chunks in one process, in turn, one of them counting. Redis and Kafka are not in it, so the share
that counting takes of a whole worker is smaller than the one shown.
"""

import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
import msgspec
import numpy as np
import polars as pl

from benchmarks.drift_speed import evaluation
from benchmarks.quality_speed import quality
from features.memory import MemoryLog
from features.store import FeatureStore
from models.scorer import Scorer
from monitoring.counters import Counters
from monitoring.metrics import Metrics
from monitoring.packed import pack
from service.history_records import HistoryRecords
from service.settings import Settings
from service.wiring import keys_of, load_champion, rates_of
from stream.lineup import Lineup
from stream.pipeline import TransactionPipeline
from stream.records import TopicPartition
from stream.scored import OnScored, Scored
from stream.sources import Sources
from stream.topics import OutputTopics

CHUNK: Final = 256
_N_CHUNKS: Final = 160
_CHUNKS_PER_BEAT: Final = 40
"""As at 10,000 transactions a second."""
_LIVE_MS: Final = 0.1
_N_WARM: Final = 10
_TOPIC: Final = "transactions.v1"


class _Record(NamedTuple):
    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()


class _Counting:
    """What a worker does with first answers, and once a second beside them, but for Redis."""

    def __init__(self, scorer: Scorer) -> None:
        self._counters = Counters(scorer.profile, "bench@1")
        self._n_chunks = 0
        self.count_us: list[float] = []
        """Of each chunk, per transaction."""
        self.beat_us: list[float] = []
        """Of each beat, per transaction since the one before."""

    def count(self, first: Scored) -> None:
        began_s = time.thread_time()
        self._counters.count(first.vectors, first.probabilities, first.time_ms, first.outcomes)
        self.count_us.append((time.thread_time() - began_s) * 1e6 / len(first.outcomes))
        self._n_chunks += 1
        if self._n_chunks % _CHUNKS_PER_BEAT == 0:
            began_s = time.thread_time()
            changes = self._counters.take()
            for counts in (*changes.minutes.values(), *changes.hours.values()):
                pack(counts)
            self.beat_us.append((time.thread_time() - began_s) * 1e6 / CHUNK / _CHUNKS_PER_BEAT)


class _Side:
    """One of the two pipelines, over a store of its own in memory."""

    def __init__(self, settings: Settings, scorer: Scorer, on_scored: OnScored | None) -> None:
        rates = rates_of(settings)
        store = FeatureStore(MemoryLog(), keys_of(settings), settings.features.definition(), rates)
        self._sources = Sources(store)
        lineup = Lineup(scorer)
        self._pipeline = TransactionPipeline(
            store, lambda: lineup, self._sources, rates, OutputTopics("scores", "alerts", "features", "dead"), Metrics(),
            vector_share=1.0, reasons_budget_ms=settings.scoring.reasons_budget_ms, on_scored=on_scored,
        )  # fmt: skip
        self.cpu_us: list[float] = []
        """Processor time of each chunk, per transaction."""

    async def open(self) -> None:
        await self._sources.assign({_TOPIC: "bench"}, [TopicPartition(_TOPIC, 0)])

    async def answer(self, chunk: Sequence[_Record]) -> None:
        began_s = time.thread_time()
        messages = (await self._pipeline.process(chunk))()
        self._pipeline.published(messages)
        self.cpu_us.append((time.thread_time() - began_s) * 1e6 / len(chunk))


def counting(settings: Settings, history: pl.DataFrame) -> dict[str, Any]:
    """Return what counting costs in microseconds of processor time, in chunks of 256 of a history's transactions.

    `live`: 10,000 transactions a second of wall-clock and event time; `full_speed`: the same, each second a day of events.

    Args:
        settings: With a registry whose champion fits the features of this version.
        history: Of at least 40,960 transactions.
    """
    return asyncio.run(_counting(settings, history))


async def _counting(settings: Settings, history: pl.DataFrame) -> dict[str, Any]:
    scorer, found = load_champion(settings), {}
    for name, pace_ms in (("live", _LIVE_MS), ("full_speed", None)):
        counting = _Counting(scorer)
        sides = _Side(settings, scorer, None), _Side(settings, scorer, counting.count)
        for side in sides:
            await side.open()
        for place, chunk in enumerate(_chunks(history, pace_ms)):
            for side in sides if place % 2 else sides[::-1]:
                await side.answer(chunk)
        without, counted = (np.array(side.cpu_us[_N_WARM:]) for side in sides)
        more, usual = float(np.median(counted - without)), float(np.median(without))
        found[name] = {
            "count_us_per_tx": round(float(np.median(counting.count_us[_N_WARM:])), 2),
            "beat_us_per_tx": round(float(np.median(counting.beat_us)), 2),
            "without_us_per_tx": round(usual, 1),
            "more_us_per_tx": round(more, 2),
            "more_share": round(more / usual, 4),
        }
    return found


def _chunks(history: pl.DataFrame, pace_ms: float | None) -> list[list[_Record]]:
    """Return the first transactions of a history, at their own event times or one every `pace_ms`."""
    n = CHUNK * _N_CHUNKS
    part = history.head(n)
    if pace_ms is not None:
        times = part["event_time_ms"][0] + (pl.Series(range(n)) * pace_ms).cast(pl.Int64)
        part = part.with_columns(times.alias("event_time_ms"))
    keys, values = HistoryRecords(part).transactions(0, n)
    columns = zip(keys, values, part["event_time_ms"].to_list(), strict=True)
    records = [_Record(_TOPIC, 0, i, time_ms, key, value) for i, (key, value, time_ms) in enumerate(columns)]
    return [records[first : first + CHUNK] for first in range(0, n, CHUNK)]


@click.command()
@click.option(
    "--directory", type=click.Path(exists=True, file_okay=False, path_type=Path), default=Path("var/bench"), show_default=True,
    help="Where `python -m benchmarks` ran.",
)  # fmt: skip
def main(*, directory: Path) -> None:
    """Measure counting with the world and the model that the last `python -m benchmarks` left behind, drift and quality with their own."""
    default = Settings()
    settings = msgspec.structs.replace(default, model=msgspec.structs.replace(default.model, registry=str(directory / "registry")))
    history = pl.read_parquet(next(directory.glob("history-*.parquet")))
    found: dict[str, Any] = {"counting": counting(settings, history), "drift": evaluation(), "quality": quality()}
    click.echo(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
