"""The amounts of frauds: transactions are many and frauds are few, so only the files that hold a fraud's transaction are read."""

from bisect import bisect_right
from typing import Final

import polars as pl

from features.archive_files import ArchiveFile
from features.archive_news import ArchiveNews
from features.archive_schema import TRANSACTIONS
from features.currency import Rates
from service import quality_rows

WANTED: Final = {"id": pl.UInt64(), "event_ms": pl.Int64(), "source_partition": pl.Int32(), "source_offset": pl.Int64()}
"""Columns of transactions whose amount is wanted: hashed id, event time, and where the record stood."""


class AmountSearch:
    """Finds amounts in the archived transactions."""

    def __init__(self, news: ArchiveNews, rates: Rates) -> None:
        self._news, self._rates = news, rates
        self._files: dict[str, list[ArchiveFile]] = {}

    def look(self, *, from_day: str) -> bool:
        """Take note of the files there are; tell whether some are new."""
        changed = self._news.changed(TRANSACTIONS, from_day=from_day)
        for hour in changed:
            self._files[hour.path] = [file for file in hour.files if file.kind == "records"]
            self._news.remember(hour)
        return bool(changed)

    def amounts(self, wanted: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
        """Return rows for `QualityDays.add_amounts` of what could be found, and a sentence for each damaged file."""
        found = quality_rows.read(TRANSACTIONS, self._holding(wanted))
        rows = quality_rows.amounts(found.rows, self._rates)
        return rows.join(wanted.select("id", "event_ms"), on="id", how="inner", maintain_order="left"), found.problems

    def _holding(self, wanted: pl.DataFrame) -> list[ArchiveFile]:
        """Return the files that may hold the wanted places, of any incarnation of the topic."""
        by_number: dict[int, list[ArchiveFile]] = {}
        for files in self._files.values():
            for file in files:
                by_number.setdefault(file.partition.number, []).append(file)
        holding: dict[ArchiveFile, None] = {}
        for (number,), places in wanted.group_by("source_partition"):
            assert isinstance(number, int)
            offsets = places["source_offset"].sort().to_list()
            for file in by_number.get(number, ()):
                place = bisect_right(offsets, file.last)
                if place and offsets[place - 1] >= file.first:
                    holding[file] = None
        return list(holding)
