"""The records of one transaction in an archive, from the newest hour back."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from domain.decision import Flag
from features.archive_files import ArchiveFile
from features.archive_schema import ALERTS, FEATURE_ROWS, LABELS, PLACE, SCORES, TRANSACTIONS
from features.archive_search import ArchiveSearch, Row, hour_ms
from monitoring.explanation import ExplainedLabel, Source
from service.transaction_records import Fields, Place, TransactionRecords, Vector, flags_of

_HOUR_MS: Final = 3_600_000
#: Files between two looks at the clock and the hit.
_PIECE: Final = 32
#: An answer without history is given again when Redis is back; longer outages than this are not looked beyond.
_OUTAGE_MS: Final = 48 * _HOUR_MS
_SOURCE: Final = ("source_partition", "source_offset")

OnPiece = Callable[[int, int], None]
"""Told how many files were looked into, and of how many, before each piece of some tenths of a second."""


def find_in_archive(
    directory: Path, transaction_id: str, *, place: Place | None, duplicate_window_ms: int, on_piece: OnPiece
) -> tuple[TransactionRecords, ArchiveSearch]:
    """Return the transaction's records, and the search that found them.

    Args:
        directory: An archive.
        transaction_id: Whose records.
        place: Where the transaction stands, if that is known: only the files of that offset are opened. Else all files are
            searched, newest hours first, until it is found; of several records with its id the first one counts.
        duplicate_window_ms: So long before a record with its id an earlier one may stand.
        on_piece: May raise to end the search.

    Raises:
        HistoryError: Two files contradict each other.
    """
    search = ArchiveSearch(directory, transaction_id)
    archive = _Archive(search, on_piece)
    rows = archive.at(place) if place is not None else archive.newest(duplicate_window_ms)
    found = TransactionRecords("archive")
    if not rows:
        return found, search
    begin_ms = min(row["append_ms"] for row in rows)
    partitions = {row["partition"] for row in rows}
    scores = list(archive.answers(SCORES, partitions, begin_ms, is_enough=_is_settled))
    chosen = min(rows, key=lambda row: (_is_duplicate(row, scores), row["append_ms"], row["partition"], row["offset"]))
    here = (chosen["partition"], chosen["offset"])
    found.transaction = _fields(chosen)
    found.source = Source(topic=TRANSACTIONS, partition=here[0], offset=here[1], append_ms=chosen["append_ms"])
    found.scores = [_fields(row) for row in scores if _source(row) == here]
    if found.is_alert:
        alerts = archive.answers(ALERTS, {here[0]}, begin_ms, is_enough=bool)
        found.alert = next((_fields(row) for row in alerts if _source(row) == here), None)
    logged = archive.answers(FEATURE_ROWS, {here[0]}, begin_ms, is_enough=lambda rows: any("vector" in row for row in rows))
    found.vectors = [
        Vector(flags_of(row), row["spec"], row["vector"])
        for row in logged
        if row["kind"] == "transaction" and _source(row) == here and "vector" in row
    ]
    found.labels = sorted(map(_label, archive.labels(begin_ms)), key=lambda label: label.at_ms)
    return found, search


class _Archive:
    def __init__(self, search: ArchiveSearch, on_piece: OnPiece) -> None:
        self._search = search
        self._on_piece = on_piece

    def at(self, place: Place) -> list[Row]:
        """Return the transaction's record at a place."""
        files = [
            file
            for file in self._search.files(TRANSACTIONS)
            if file.partition.number == place.partition
            and file.first <= place.offset <= file.last
            and file.partition.uuid8.startswith(place.uuid8)
        ]
        return [row for row in self._rows(TRANSACTIONS, files) if row["offset"] == place.offset]

    def newest(self, duplicate_window_ms: int) -> list[Row]:
        """Return the records with the id in the newest hour that holds any, and in the time before in which a first one may stand."""
        files, found = self._search.files(TRANSACTIONS), list[Row]()
        for a in range(0, len(files), _PIECE):
            if found and hour_ms(files[a]) < found[-1]["append_ms"] - duplicate_window_ms - _HOUR_MS:
                break
            self._on_piece(a, len(files))
            found += self._search.rows(TRANSACTIONS, files[a : a + _PIECE])
        return found

    def answers(self, topic: str, partitions: set[int], begin_ms: int, *, is_enough: Callable[[list[Row]], bool]) -> list[Row]:
        """Return the records that answer the transaction, in their order; they have its partition and were appended after it."""
        return list(self._after(topic, begin_ms, partitions, is_enough))

    def labels(self, begin_ms: int) -> list[Row]:
        """Return the statements about the transaction; they may come months after it."""
        return list(self._rows(LABELS, self._files(LABELS, begin_ms, None)))

    def _after(self, topic: str, begin_ms: int, partitions: set[int], is_enough: Callable[[list[Row]], bool]) -> list[Row]:
        files, found = self._files(topic, begin_ms, partitions), list[Row]()
        for a in range(0, len(files), _PIECE):
            if is_enough(found) or (found and hour_ms(files[a]) > found[-1]["append_ms"] + _OUTAGE_MS):
                break
            found += self._rows(topic, files[a : a + _PIECE])
        return sorted(found, key=lambda row: (row["append_ms"], row["offset"]))

    def _files(self, topic: str, begin_ms: int, partitions: set[int] | None) -> list[ArchiveFile]:
        """Return the files whose records may have been appended from `begin_ms` on, oldest hours first."""
        oldest_ms = begin_ms - 2 * _HOUR_MS  # a file is named by the hour of its first record
        files = [file for file in self._search.files(topic) if hour_ms(file) >= oldest_ms]
        return [file for file in reversed(files) if partitions is None or file.partition.number in partitions]

    def _rows(self, topic: str, files: Sequence[ArchiveFile]) -> Iterator[Row]:
        for a in range(0, len(files), _PIECE):
            self._on_piece(a, len(files))
            yield from self._search.rows(topic, files[a : a + _PIECE])


def _is_settled(scores: list[Row]) -> bool:
    """Whether no further answer is to come: one without history is answered again when history is back."""
    first = [score for score in scores if Flag.DUPLICATE.value not in flags_of(score)]
    return bool(first) and (Flag.DEGRADED.value not in flags_of(first[0]) or len(first) > 1)


def _is_duplicate(row: Row, scores: list[Row]) -> bool:
    return any(_source(score) == (row["partition"], row["offset"]) and Flag.DUPLICATE.value in flags_of(score) for score in scores)


def _source(row: Row) -> tuple[Any, Any]:
    return row.get("source_partition"), row.get("source_offset")


def _fields(row: Row) -> Fields:
    """Return a row as its record was: without its place, the source as a pair, `extra` as an object."""
    found: Fields = {name: value for name, value in row.items() if name not in PLACE and name not in _SOURCE}
    if "source_partition" in row:
        found["source"] = list(_source(row))
    if isinstance(reasons := found.get("reasons"), list):  # on the wire a reason without a usual value does not name it
        found["reasons"] = [{name: value for name, value in reason.items() if (name, value) != ("usual", None)} for reason in reasons]
    if isinstance(extra := found.get("extra"), str):
        found["extra"] = msgspec.json.decode(extra)
    return found


def _label(row: Row) -> ExplainedLabel:
    return ExplainedLabel(at_ms=row["label_time_ms"], is_fraud=row["is_fraud"], source=row["source"])
