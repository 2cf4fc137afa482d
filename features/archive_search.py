"""Records of one transaction in an archive, found without reading the whole of it."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import polars as pl

from domain.errors import HistoryError
from features.archive_files import ArchiveFile, current, files_of
from features.archive_reader import read_file
from features.archive_schema import SCHEMAS

#: Files looked into at once: enough to keep all cores busy, few enough that a search ends soon after its hit.
_BATCH: Final = 32
_ID: Final = "transaction_id"
Row = dict[str, Any]


class ArchiveSearch:
    """Looks for a transaction's records, file by file; of files without any only the ids are read, or their statistics.

    Attributes:
        n_read: Files looked into so far.
        unreadable: What cannot be read, a sentence each; the search goes on without.
    """

    def __init__(self, directory: Path, transaction_id: str, *, on_batch: Callable[[], None] = lambda: None) -> None:
        """Prepare.

        Args:
            directory: The archive.
            transaction_id: Whose records.
            on_batch: Called before each piece of work of some tenths of a second; it may raise to end the search.
        """
        self._directory = directory
        self._where = pl.col(_ID) == transaction_id
        self._on_batch = on_batch
        self.n_read = 0
        self.unreadable: list[str] = []

    def files(self, topic: str) -> list[ArchiveFile]:
        """Return the files of a topic that hold records, newest hours first.

        Raises:
            HistoryError: Two files contradict each other.
        """
        found = [file for file in current(files_of(self._directory, topic))[0] if file.kind == "records"]
        return sorted(found, key=lambda file: (file.hour, file.last), reverse=True)

    def rows(self, topic: str, files: Sequence[ArchiveFile]) -> Iterator[Row]:
        """Yield the transaction's records in these files, in their order, as columns without nulls and without `undecodable`."""
        for a in range(0, len(files), _BATCH):
            self._on_batch()
            batch = files[a : a + _BATCH]
            for file in self._that_hold_it(topic, batch):
                yield from self._rows_of(topic, file)
            self.n_read += len(batch)

    def _that_hold_it(self, topic: str, batch: Sequence[ArchiveFile]) -> Sequence[ArchiveFile]:
        """Return the files that hold the id; all of them where only a look into each can tell which one is damaged or gone."""
        options: dict[str, Any] = {"missing_columns": "insert", "extra_columns": "ignore", "hive_partitioning": False}
        try:
            scan = pl.scan_parquet([file.path for file in batch], schema=SCHEMAS[topic], include_file_paths="path", **options)
            paths = set(scan.filter(self._where).select("path").unique().collect()["path"])
        except (pl.exceptions.PolarsError, OSError):
            return batch
        return [file for file in batch if str(file.path) in paths]

    def _rows_of(self, topic: str, file: ArchiveFile) -> list[Row]:
        try:
            found = read_file(file, topic, list(SCHEMAS[topic]), self._where)
        except FileNotFoundError:  # a compaction merged it since
            found = self._merged(topic, file)
        except HistoryError as error:
            self.unreadable.append(str(error))
            return []
        return [{name: value for name, value in row.items() if value is not None} for row in found.iter_rows(named=True)]

    def _merged(self, topic: str, gone: ArchiveFile) -> pl.DataFrame:
        """Return the rows of a file that was merged into another one since the files were listed."""
        for file in self.files(topic):
            if file.partition == gone.partition and file.first <= gone.first and gone.last <= file.last:
                return read_file(file, topic, list(SCHEMAS[topic]), self._where & pl.col("offset").is_between(gone.first, gone.last))
        return pl.DataFrame(schema=SCHEMAS[topic])


def hour_ms(file: ArchiveFile) -> int:
    """Return the beginning of a file's hour: UTC, milliseconds since the epoch."""
    day, hour = file.hour
    return round(datetime.strptime(f"{day} {hour}", "%Y-%m-%d %H").replace(tzinfo=UTC).timestamp() * 1000)
