"""Counters by minute of event time, of one model's whole fleet: what the last sixty minutes are summed from while their hour still runs."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Final

from monitoring.packed import HOUR_MS, MINUTE_MS, Counts, n_rows_of, unpack

MINUTES: Final = HOUR_MS // MINUTE_MS
_MOST_BEHIND: Final = 10
"""A minute is over when every worker has passed it, but none is waited for longer than this."""
_KEPT: Final = 2 * MINUTES + _MOST_BEHIND
"""The hours that the last sixty minutes touch, whole."""


class Minutes:
    """Packed contents of the newest minutes. A worker's minute is cumulative, so putting it again replaces it."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        """Begin with nothing.

        Args:
            shape: Of the model's counters; others are left out.
        """
        self._shape = shape
        self._contents: defaultdict[int, dict[str, bytes]] = defaultdict(dict)

    def put(self, worker: str, minutes: Mapping[int, bytes]) -> None:
        """Take a worker's minutes (event_time_ms // 60000); the oldest are forgotten."""
        for minute, content in minutes.items():
            self._contents[minute][worker] = content
        oldest = max(self._contents, default=0) - _KEPT
        for minute in [minute for minute in self._contents if minute < oldest]:
            del self._contents[minute]

    def last_hour(self, end: int, n_counted: Callable[[int], int]) -> Counts | None:
        """Return the sum of `[end - 60, end)`; None if an hour that it touches was not counted by minute throughout, or cannot be read.

        Args:
            end: Minute since the epoch.
            n_counted: Rows of an hour (since the epoch) as counted by hour, read no later than the minutes were put.
        """
        first = end - MINUTES
        touched = range(first // MINUTES, (end - 1) // MINUTES + 1)
        if any(self._n_rows(hour) < n_counted(hour) for hour in touched):
            return None
        wanted = [content for minute in range(first, end) for content in self._contents.get(minute, {}).values()]
        try:
            found = [counts for counts in map(unpack, wanted) if counts.bins.shape == self._shape]
        except ValueError:  # of a worker of another version
            return None
        if not found:
            return None
        bins = found[0].bins
        for counts in found[1:]:
            bins += counts.bins
        return Counts(sum(counts.n_rows for counts in found), sum(counts.n_alerts for counts in found), bins)

    def _n_rows(self, hour: int) -> int:
        minutes = range(hour * MINUTES, (hour + 1) * MINUTES)
        return sum(n_rows_of(content) for minute in minutes for content in self._contents.get(minute, {}).values())


def over(event_minutes: list[int]) -> int | None:
    """Return the first minute that is not over: that of the worker furthest behind, but not of one that lies far behind; None without any.

    >>> over([100, 97]), over([100, 3]), over([])
    (97, 90, None)
    """
    return max(min(event_minutes), max(event_minutes) - _MOST_BEHIND) if event_minutes else None
