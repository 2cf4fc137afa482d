"""Merge the small files of hours that are over: one file per hour and partition, more where it would become too large."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Final

import polars as pl

from features.archive_files import ArchiveFile, Partition, by_partition, current, files_of
from service.archive_file import write_file

#: Largest sum of the parts of one compacted file; keeps a merge to seconds.
LARGEST_BYTES: Final = 256 << 20

IsOver = Callable[[Partition, tuple[str, str]], bool]
"""Tells whether no further record can come for an hour of a partition; the hour as day and hour, like ("2026-01-31", "09")."""


def mergeable(files: Sequence[ArchiveFile], is_over: IsOver, *, largest_bytes: int = LARGEST_BYTES) -> Iterator[list[ArchiveFile]]:
    """Yield runs of two or more files that should become one: same partition, same hour that is over, adjacent offsets.

    Args:
        files: Of one topic, as `features.archive_files.files_of` returns them.
        is_over: Asked for hours that are the last one of their partition; all before are over.
        largest_bytes: Most bytes of a run.
    """
    for partition, own in by_partition(current(files)[0]).items():
        newest = max(file.hour for file in own)
        for hour, group in groupby(own, key=lambda file: file.hour):
            if hour < newest or is_over(partition, hour):
                yield from _runs(group, largest_bytes)


def compact(run: Sequence[ArchiveFile]) -> ArchiveFile:
    """Merge a run of adjacent files into one, and remove them when it is safe on disk.

    Ended at any moment it leaves the parts, or the parts and the whole; readers take each row once either way.

    Raises:
        OSError, PolarsError: A part cannot be read or the whole cannot be written; the parts are as they were.
    """
    first, last, folder = run[0].first, run[-1].last, run[0].path.parent
    parts = [pl.scan_parquet(file.path, hive_partitioning=False) for file in run]
    whole = write_file(pl.concat(parts, how="diagonal_relaxed"), folder, run[0].partition, first, last)
    for file in run:
        file.path.unlink(missing_ok=True)
    return whole


def compact_topic(directory: Path, topic: str, is_over: IsOver, *, until: Callable[[], bool] = lambda: False) -> Iterator[ArchiveFile]:
    """Merge all that can be merged of a topic, yielding each merged file; ends early when `until()` is true."""
    for run in mergeable(files_of(directory, topic), is_over):
        if until():
            return
        yield compact(run)


def _runs(files: Iterable[ArchiveFile], largest_bytes: int) -> Iterator[list[ArchiveFile]]:
    run: list[ArchiveFile] = []
    n_bytes = 0
    for file in files:
        size = file.path.stat().st_size
        if run and (file.kind != "records" or file.first != run[-1].last + 1 or n_bytes + size > largest_bytes):
            if len(run) > 1:
                yield run
            run, n_bytes = [], 0
        if file.kind == "records":
            run.append(file)
            n_bytes += size
    if len(run) > 1:
        yield run
