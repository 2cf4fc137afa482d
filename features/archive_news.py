"""What came to an archive since it was last looked at, found by the folders that changed, read many files at a time."""

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import polars as pl

from features.archive_files import ArchiveFile, parse
from features.archive_schema import SCHEMAS

#: A folder's time has steps of milliseconds: a file that came within the same step as the look would be missed.
_SETTLED_NS: Final = 2_000_000_000


class HourFolder(NamedTuple):
    """One hour of one topic with files that may be new."""

    path: str
    stamp: int
    """Its time of change, in ns; 0 = too young to be relied on."""
    files: list[ArchiveFile]
    """Superseded ones too."""
    n_bytes: int
    """Size of the files."""


class ArchiveNews:
    """Looks at an archive again and again; what was remembered is not shown again until its folder changes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._seen: dict[str, int] = {}

    def changed(self, topic: str, *, from_day: str = "") -> list[HourFolder]:
        """Return the hours that changed since they were remembered, by time.

        Args:
            topic: Name without the installation's prefix.
            from_day: YYYY-MM-DD; hours of earlier days are left out.
        """
        found = []
        for day in _folders(self._directory / topic):
            if os.path.basename(day) < from_day:  # noqa: PTH119 - as strings: thousands of folders are looked at every minute
                continue
            for hour in _folders(day):
                stamp = _stamp(hour)
                if stamp and self._seen.get(hour) == stamp:
                    continue
                files, n_bytes = _files(hour)
                if files:
                    found.append(HourFolder(hour, stamp, files, n_bytes))
        return found

    def remember(self, folder: HourFolder) -> None:
        """Do not show this folder again unless it changes."""
        if folder.stamp:
            self._seen[folder.path] = folder.stamp

    def newest_day(self, topic: str) -> str:
        """Return the newest day that has a folder, YYYY-MM-DD; empty = none."""
        return max((os.path.basename(day) for day in _folders(self._directory / topic)), default="")  # noqa: PTH119 - as above


def read_rows(files: Sequence[ArchiveFile], topic: str, columns: Sequence[str], *, file: str) -> pl.DataFrame:
    """Return columns of some files' rows; columns that are newer than a file are null.

    Args:
        files: To be read.
        topic: Theirs, without the installation's prefix.
        columns: Of `features.archive_schema.SCHEMAS`.
        file: Name of a further column: the path of the row's file.

    Raises:
        FileNotFoundError: A file was merged into another one in the meantime; look again.
        PolarsError, OSError: A file cannot be read.
    """
    schema = SCHEMAS[topic]
    if not files:
        return pl.DataFrame(schema={**{name: schema[name] for name in columns}, file: pl.String()})
    scan = pl.scan_parquet(
        [found.path for found in files],
        schema=schema,
        missing_columns="insert",
        extra_columns="ignore",
        hive_partitioning=False,
        include_file_paths=file,
    )
    return scan.select(*columns, file).collect()


def _folders(parent: str | Path) -> list[str]:
    try:
        with os.scandir(parent) as entries:
            return sorted(entry.path for entry in entries if entry.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _files(hour: str) -> tuple[list[ArchiveFile], int]:
    files, n_bytes = [], 0
    with suppress(FileNotFoundError), os.scandir(hour) as entries:
        for entry in entries:
            if entry.name.endswith(".parquet") and (file := parse(Path(entry.path))) is not None:
                with suppress(FileNotFoundError):
                    n_bytes += entry.stat().st_size
                files.append(file)
    return files, n_bytes


def _stamp(folder: str) -> int:
    try:
        changed = os.stat(folder).st_mtime_ns  # noqa: PTH116 - as above
    except FileNotFoundError:
        return 0
    return changed if time.time_ns() - changed > _SETTLED_NS else 0
