"""Write one file of an archive: it appears whole or not at all, and survives a power failure."""

import os
from pathlib import Path
from typing import Final

import polars as pl

from features.archive_files import UNFINISHED, ArchiveFile, Kind, Partition, file_name
from features.archive_schema import SCHEMAS
from service.archive_folder import sync_folder
from service.times import format_time

HOUR_MS: Final = 3_600_000
_ROW_GROUP: Final = 100_000


def hour_folder(directory: Path, topic: str, hour_ms: int) -> Path:
    """Return the folder of an hour; `hour_ms` is any time in it."""
    return directory.joinpath(topic, *hour_of(hour_ms))


def hour_of(time_ms: int) -> tuple[str, str]:
    """Return the UTC day and hour of a time, as folders are named.

    >>> hour_of(1567209600123)
    ('2019-08-31', '00')
    """
    text = format_time(time_ms)
    return text[:10], text[11:13]


def write_file(
    rows: pl.DataFrame | pl.LazyFrame, folder: Path, partition: Partition, first: int, last: int, kind: Kind = "records"
) -> ArchiveFile:
    """Write the file that answers for the offsets first to last, both included; return it when it is safe on disk.

    Raises:
        OSError: It cannot be written; nothing is left of it.
    """
    path = folder / file_name(partition, first, last, kind)
    metadata = {
        "weir.topic": partition.topic,
        "weir.topic_uuid8": partition.uuid8,
        "weir.partition": str(partition.number),
        "weir.first_offset": str(first),
        "weir.last_offset": str(last),
        "weir.kind": kind,
    }
    _make_folder(folder)
    unfinished = folder / f".{path.name}{UNFINISHED}"
    try:
        rows.lazy().sink_parquet(unfinished, compression="zstd", row_group_size=_ROW_GROUP, metadata=metadata)
        with unfinished.open("rb") as handle:
            os.fsync(handle.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    sync_folder(folder)
    return ArchiveFile(path, partition, first, last, kind)


def write_empty(folder: Path, partition: Partition, first: int, last: int, kind: Kind) -> ArchiveFile:
    """Write a file without rows: the offsets are `lost` or `expired`.

    Raises:
        OSError: It cannot be written.
    """
    return write_file(pl.DataFrame(schema=SCHEMAS[partition.topic]), folder, partition, first, last, kind)


def _make_folder(folder: Path) -> None:
    made = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for parent in made:
        sync_folder(parent.parent)
