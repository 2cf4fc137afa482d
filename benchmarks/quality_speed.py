"""`python -m benchmarks.quality_speed`: an archive of 30 days by hours, read at once, and then one more hour at a time."""

import json
import tempfile
import time
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import polars as pl

from features.archive_files import MARKER, Partition, file_name
from features.archive_schema import LABELS, SCHEMAS, SCORES, TRANSACTIONS
from features.currency import Rates
from service.archive_file import HOUR_MS, hour_folder
from service.quality_log import QualityLog
from simulate.generate import START_MS, generate

N_DAYS: Final = 30
N_PARTITIONS: Final = 4
_UUID: Final = {topic: f"{place:08x}-0000-4000-8000-000000000000" for place, topic in enumerate((TRANSACTIONS, LABELS, SCORES))}
_NOW_MS: Final = 1 << 60


def quality() -> dict[str, float]:
    """Return wall and processor time of a quality report of 30 days x 10,000 transactions in hourly files of 4 partitions.

    * `first`: nothing was read before; `restart`: all was, by another process;
    * `hour`: one hour of all three topics came, median of 24; `nothing_new`: nothing did.
    """
    topics = _topics(generate(n_days=N_DAYS + 2, n_cards=10_000, seed=7))
    with tempfile.TemporaryDirectory() as name:
        archive = Path(name) / "archive"
        archive.mkdir()
        (archive / MARKER).write_bytes(msgspec.json.encode({"format": 1, "prefix": ""}))
        end_ms = START_MS + N_DAYS * 24 * HOUR_MS
        _write(archive, topics, START_MS, end_ms)
        time.sleep(2.1)  # folders whose time of change is younger are looked at again
        log = QualityLog(archive, Path(name), rates=Rates("EUR"))
        first = _took(log)
        _took(log)
        nothing = _took(log)
        hours = []
        for hour in range(24):
            _write(archive, topics, end_ms + hour * HOUR_MS, end_ms + (hour + 1) * HOUR_MS)
            hours.append(_took(log))
        log.close()
        log = QualityLog(archive, Path(name), rates=Rates("EUR"))
        restart = _took(log)
        log.close()
    median = np.median(np.array(hours), axis=0).tolist()
    found = {"transactions": float(topics[SCORES].filter(pl.col("append_ms") < end_ms).height)}
    for name, (wall_s, cpu_s) in (("first", first), ("restart", restart), ("hour", median), ("nothing_new", nothing)):
        found |= {f"{name}_ms": round(wall_s * 1000), f"{name}_cpu_ms": round(cpu_s * 1000)}
    return found


def _took(log: QualityLog) -> tuple[float, float]:
    """Return wall and processor seconds, those of all threads, of one look."""
    began, began_cpu = time.perf_counter(), time.process_time()
    report = log.refresh(_NOW_MS)
    assert report.days
    return time.perf_counter() - began, time.process_time() - began_cpu


def _topics(history: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Return topic -> records with partition, offset and append time, by append time."""
    random = np.random.default_rng(7)
    p = random.beta(0.3, 60, len(history)) + np.where(history["is_fraud"], random.beta(1, 2, len(history)), 0.0)
    rows = history.with_columns(
        probability=pl.Series(np.minimum(p, 1.0)), append_ms="event_time_ms", flags=pl.lit([], pl.List(pl.String)), tier=pl.lit("full")
    ).with_columns(decision=pl.when(pl.col("probability") > 0.1).then(pl.lit("review")).otherwise(pl.lit("approve")))
    labels = history.filter(pl.col("label_time_ms").is_not_null()).select("transaction_id", "is_fraud", "label_time_ms")
    labels = labels.with_columns(append_ms="label_time_ms", source=pl.lit("chargeback"))
    return {topic: _placed(topic, found) for topic, found in ((SCORES, rows), (TRANSACTIONS, rows), (LABELS, labels))}


def _placed(topic: str, rows: pl.DataFrame) -> pl.DataFrame:
    schema = SCHEMAS[topic]
    partition = pl.int_range(pl.len(), dtype=pl.Int32) % N_PARTITIONS
    placed = rows.sort("append_ms").with_columns(topic_uuid=pl.lit(_UUID[topic]), partition=partition)
    offset = pl.int_range(pl.len(), dtype=pl.Int64).over("partition")
    placed = placed.with_columns(offset=offset).with_columns(source_partition="partition", source_offset="offset")
    missing = [pl.lit(None, dtype).alias(name) for name, dtype in schema.items() if name not in placed.columns]
    return placed.with_columns(missing).select(pl.col(name).cast(dtype) for name, dtype in schema.items())


def _write(archive: Path, topics: dict[str, pl.DataFrame], from_ms: int, to_ms: int) -> None:
    for topic, rows in topics.items():
        part = rows.filter(pl.col("append_ms").is_between(from_ms, to_ms, closed="left"))
        for (hour, partition), group in part.group_by(pl.col("append_ms") // HOUR_MS, "partition", maintain_order=True):
            assert isinstance(hour, int)
            assert isinstance(partition, int)
            folder = hour_folder(archive, topic, hour * HOUR_MS)
            folder.mkdir(parents=True, exist_ok=True)
            place = Partition(topic, _UUID[topic][:8], partition)
            group.write_parquet(folder / file_name(place, group["offset"][0], group["offset"][-1]), compression="zstd")


if __name__ == "__main__":
    print(json.dumps(quality(), indent=2))
