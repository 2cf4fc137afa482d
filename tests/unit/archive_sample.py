"""Small archives made by hand, for tests."""

import json
from pathlib import Path

import polars as pl
from aiokafka.structs import ConsumerRecord

from features.archive_files import MARKER, ArchiveFile, Partition
from service.archive_file import hour_folder, write_file
from service.archive_rows import rows_of

HOUR_MS = 3_600_000
#: 2026-01-02T00:00:00Z
START_MS = 1_767_312_000_000


def record(offset: int, append_ms: int = START_MS, value: bytes | None = b"{}", partition: int = 0) -> ConsumerRecord:
    """Return a consumed record."""
    return ConsumerRecord("t", partition, offset, append_ms, 1, None, value, None, 0, 0, ())


def transaction(i: int, **changes) -> bytes:
    """Return transaction number `i`."""
    fields = {
        "transaction_id": f"t{i}",
        "card_id": "c",
        "amount_minor": i,
        "currency": "EUR",
        "merchant_id": "m",
        "event_time_ms": 1000 + i,
    }
    return json.dumps(fields | changes).encode()


def make_archive(directory: Path) -> Path:
    """Make an empty archive."""
    directory.mkdir(exist_ok=True)
    (directory / MARKER).write_text('{"format":1,"prefix":""}')
    return directory


def add_file(
    directory: Path, topic: str, records, *, hour_ms: int = START_MS, uuid: str = "0a1b2c3d-0000-4000-8000-000000000000"
) -> ArchiveFile:
    """Write records of one partition, without gaps, into one file."""
    partition = Partition(topic, uuid[:8], records[0].partition)
    rows = rows_of(topic, uuid, records)
    return write_file(rows, hour_folder(directory, topic, hour_ms), partition, records[0].offset, records[-1].offset)


def offsets(frame: pl.DataFrame) -> list[int]:
    """Return the offsets of rows."""
    return frame["offset"].to_list()
