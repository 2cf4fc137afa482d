"""Remove whole days of an archive, and keep the positions that only their files tell."""

import shutil
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Final

from features.archive_files import current, files_of
from service.archive_file import write_empty
from service.times import format_time

_DAY_MS: Final = 86_400_000


def remove_old_days(directory: Path, topic: str, *, keep_days: int, live: AbstractSet[str], now_ms: int) -> list[str]:
    """Remove the days of a topic that ended more than `keep_days` days ago; return them.

    The newest file of a partition is not removed but emptied, for it tells where to go on; not so if its topic exists no more.

    Args:
        directory: The archive.
        topic: Name without the installation's prefix.
        keep_days: Whole UTC days that are kept before today.
        live: First 8 digits of the UUIDs of topics that exist.
        now_ms: UTC, milliseconds since the epoch.
    """
    oldest_kept = format_time(now_ms - keep_days * _DAY_MS)[:10]
    files, _ = current(files_of(directory, topic))
    newest = {file.partition: file for file in files}
    removed = []
    for day in sorted(folder for folder in (directory / topic).glob("????-??-??") if folder.name < oldest_kept):
        kept = {
            file.path.name for file in newest.values() if file.day == day.name and file.partition.uuid8 in live and file.kind != "records"
        }
        for file in newest.values():
            if file.day == day.name and file.kind == "records" and file.partition.uuid8 in live:
                kept.add(write_empty(file.path.parent, file.partition, file.first, file.last, "expired").path.name)
        if _remove_all_but(day, kept):
            removed.append(day.name)
    return removed


def _remove_all_but(day: Path, kept: AbstractSet[str]) -> bool:
    """Remove a day's files, and the folders that are empty then; tell whether anything was removed."""
    if not kept:
        shutil.rmtree(day)
        return True
    gone = [path for path in day.glob("*/*") if path.name not in kept]
    for path in gone:
        path.unlink(missing_ok=True)
    for hour in day.iterdir():
        if not any(hour.iterdir()):
            hour.rmdir()
    return bool(gone)
