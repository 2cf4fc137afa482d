"""Records of one partition that were read and are not yet in a file, cut at the hours of their append times."""

from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from features.archive_files import Partition
from service.archive_coverage import Coverage
from service.archive_file import HOUR_MS
from stream.records import Record

#: What a record needs in memory beside its value.
_RECORD_BYTES: Final = 400


class Limits(NamedTuple):
    """When a file is closed."""

    n_rows: int = 500_000
    n_bytes: int = 64 << 20
    """Of the records' values."""
    memory_bytes: int = 192 << 20
    """Of all records in memory together; beyond it the largest pieces are closed."""
    grace_ms: int = 60_000
    """How long after its end an hour may still get records."""
    age_ms: int = 2 * HOUR_MS
    """How long a record waits for its file at most."""


class Piece:
    """Records that go into one file."""

    def __init__(self, first: int, hour_ms: int) -> None:
        self.first = first
        """The first offset that the file will answer for; not always that of a record."""
        self.hour_ms = hour_ms
        """Begin of the hour of its first record; UTC, milliseconds since the epoch."""
        self.end = first
        """The offset after the last one that the file will answer for."""
        self.records: list[Record] = []
        self.n_bytes = 0

    def add(self, records: Sequence[Record], end: int) -> None:
        """Append records, in offset order."""
        self.records += records
        self.n_bytes += sum(len(record.value or b"") for record in records)
        self.end = end

    @property
    def memory_bytes(self) -> int:
        """What it needs in memory, about."""
        return self.n_bytes + _RECORD_BYTES * len(self.records)


class Buffer:
    """The pieces of one partition, in offset order. Hours never go back, whatever the brokers' clocks do."""

    def __init__(self, partition: Partition, coverage: Coverage, limits: Limits) -> None:
        """Begin where the files end, or at the first hole in them."""
        self.partition = partition
        self.position = coverage.next_missing(coverage.start)
        """The next offset to read."""
        self.confirmed = self.position
        """Every record below came for certain from this incarnation of the topic."""
        self.pieces: deque[Piece] = deque()
        self._coverage = coverage
        self._limits = limits
        self._limit = coverage.end_of_missing(self.position)

    def add(self, records: Sequence[Record]) -> bool:
        """Take what was read at `position`; return False if reading must go on elsewhere: at `position`, behind files.

        Offsets that are skipped hold no records of producers (the marks of transactions, say); the next file answers for them.
        """
        limit = self._limit
        if limit is None or records[-1].offset < limit:
            self._cut(records, records[-1].offset + 1)
            return True
        self._cut([record for record in records if record.offset < limit], limit, hour_of=records[0])
        self._go_to(limit)
        return False

    def lose(self, to: int) -> list[tuple[int, int]]:
        """Give up the missing offsets from `position` to before `to`; return them as ranges, both ends included."""
        lost = []
        while self.position < to:
            end = min(to, self._limit) if self._limit is not None else to
            lost.append((self.position, end - 1))
            self._go_to(end)
        return lost

    def confirm(self) -> None:
        """Everything read so far came from this incarnation."""
        self.confirmed = self.position

    def drop_unconfirmed(self) -> int:
        """Forget what was read since the last confirmation; return how many records that were."""
        n_dropped = 0
        for piece in self.pieces:
            kept = [record for record in piece.records if record.offset < self.confirmed]
            n_dropped += len(piece.records) - len(kept)
            piece.records, piece.end = kept, min(piece.end, self.confirmed)
        self.pieces = deque(piece for piece in self.pieces if piece.end > piece.first)
        return n_dropped

    def due(self, now_ms: int) -> int:
        """Return how many of the pieces, from the first on, should become files now."""
        n = len(self.pieces)
        return n - 1 if n and not self._is_due(self.pieces[-1], now_ms) else n

    @property
    def memory_bytes(self) -> int:
        """What its records need in memory, about."""
        return sum(piece.memory_bytes for piece in self.pieces)

    def _is_due(self, piece: Piece, now_ms: int) -> bool:
        is_old = bool(piece.records) and now_ms - piece.records[0].timestamp >= self._limits.age_ms
        return is_old or self._is_full(piece) or now_ms >= piece.hour_ms + HOUR_MS + self._limits.grace_ms

    def _is_full(self, piece: Piece) -> bool:
        return len(piece.records) >= self._limits.n_rows or piece.n_bytes >= self._limits.n_bytes

    def _go_to(self, offset: int) -> None:
        self.position = self._coverage.next_missing(offset)
        self._limit = self._coverage.end_of_missing(self.position)

    def _cut(self, records: Sequence[Record], end: int, *, hour_of: Record | None = None) -> None:
        """Append records to the last piece, and begin a new piece where an hour begins or the last one is full."""
        if not records:
            hour_ms = _hour_ms(hour_of) if hour_of is not None else 0
            self._piece(hour_ms).add((), end)
            self.position = end
            return
        start = 0
        while start < len(records):
            piece = self._piece(_hour_ms(records[start]))
            end_ms = piece.hour_ms + HOUR_MS
            most = min(len(records), start + self._limits.n_rows - len(piece.records))
            stop = next((i for i in range(start, most) if records[i].timestamp >= end_ms), most)
            self.position = end if stop == len(records) else records[stop].offset
            piece.add(records[start:stop], self.position)
            start = stop

    def _piece(self, hour_ms: int) -> Piece:
        last = self.pieces[-1] if self.pieces else None
        if last is not None and last.end == self.position and last.hour_ms >= hour_ms and not self._is_full(last):
            return last
        self.pieces.append(Piece(self.position, max(hour_ms, last.hour_ms if last is not None else 0)))
        return self.pieces[-1]


def _hour_ms(record: Record) -> int:
    return record.timestamp // HOUR_MS * HOUR_MS
