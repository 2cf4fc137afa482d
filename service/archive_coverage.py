"""Which offsets of a partition are in files: from there a start knows where to go on."""

from bisect import bisect_right
from collections.abc import Iterable

from features.archive_files import ArchiveFile


class Coverage:
    """Offsets that files answer for, as half-open ranges.

    >>> coverage = Coverage([(0, 10), (10, 20), (30, 40)])
    >>> coverage.next_missing(0), coverage.end_of_missing(20), coverage.next_missing(30), coverage.end_of_missing(40)
    (20, 30, 40, None)
    """

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        for start, end in sorted(ranges):
            if self._ends and start <= self._ends[-1]:
                self._ends[-1] = max(end, self._ends[-1])
            else:
                self._starts.append(start)
                self._ends.append(end)

    @classmethod
    def of(cls, files: Iterable[ArchiveFile]) -> "Coverage":
        """Return what the files of one partition answer for."""
        return cls((file.first, file.last + 1) for file in files)

    @property
    def start(self) -> int:
        """The first offset in a file; 0 if there is no file."""
        return self._starts[0] if self._starts else 0

    def next_missing(self, offset: int) -> int:
        """Return the first offset from `offset` on that is in no file."""
        place = bisect_right(self._starts, offset) - 1
        return max(offset, self._ends[place]) if place >= 0 else offset

    def end_of_missing(self, offset: int) -> int | None:
        """Return where the next file after the missing `offset` begins; None: all later ones are missing."""
        place = bisect_right(self._starts, offset)
        return self._starts[place] if place < len(self._starts) else None
