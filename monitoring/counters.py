"""Counters of what a worker scores, by minute and hour of event time, in bounded memory.

The newest hours are counted minute by minute; older ones as a whole, and all of them while more than MOST_DETAILED hours pass
between two takes: a history that is streamed at full speed. What an hour or a minute holds only ever grows, so whoever reads it
keeps the newest content and adds up the workers.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from domain.decision import Outcome
from monitoring.bin_kernel import Cuts, count_rows
from monitoring.packed import HOUR_MS, MINUTE_MS, Counts
from monitoring.profile import N_BINS, Profile

MOST_DETAILED: Final = 4
"""Hours counted by minute: the ones that got a row last."""
MOST_HOURS: Final = 96
"""Hours that can still grow."""
MOST_LEFT: Final = 168
"""Hours that left before they were taken; beyond it the oldest are lost. Only event times at random bring so many in a second."""
MOST_CLOSED: Final = 2_000
"""Hours remembered as closed."""
_MINUTES: Final = HOUR_MS // MINUTE_MS


class Changes(NamedTuple):
    """What changed since the last `Counters.take`; the contents are whole, not differences."""

    minutes: Mapping[int, Counts]
    """Minute of event time (event_time_ms // 60000) -> counts."""
    hours: Mapping[int, Counts]
    """Hour of event time -> counts."""
    gone_minutes: Sequence[int]
    """No longer counted by minute; their hours have their rows."""
    gone_hours: Sequence[int]
    """So long ago that nobody needs them."""


class _Hour:
    """One hour: a block of its own, and one for each of its minutes while it is detailed."""

    __slots__ = ("block", "is_changed", "is_detailed", "minutes")

    def __init__(self, block: int, *, is_detailed: bool) -> None:
        self.block = block
        """What is not counted by minute."""
        self.minutes: dict[int, int] = {}
        """Minute -> block."""
        self.is_detailed = is_detailed
        self.is_changed = False


class Counters:
    """Counts the rows that one model scored in one process. Not for use from several threads at once.

    Attributes:
        model: `name@version`.
        n_uncounted: Rows of hours that were closed already.
    """

    def __init__(self, profile: Profile, model: str) -> None:
        self.model = model
        self.n_uncounted = 0
        n_blocks = MOST_DETAILED * _MINUTES + MOST_HOURS
        self._cuts = Cuts.of(profile.edges)
        self._places = np.zeros(len(profile.names) - 1, np.int32)
        # Written to, so that the pages are there before the first transaction; 32 bits hold 500,000 rows a second for an hour.
        self._bins = np.full((n_blocks, len(profile.names), N_BINS + 1), 0, np.int32)
        self._totals = np.full((n_blocks, 2), 0, np.int32)
        self._free = list(range(n_blocks))
        self._hours: OrderedDict[int, _Hour] = OrderedDict()
        """The one that got a row last is at the end."""
        self._changed: set[int] = set()
        """Minutes."""
        self._left: OrderedDict[int, Counts] = OrderedDict()
        self._closed: OrderedDict[int, None] = OrderedDict()
        self._gone_minutes: list[int] = []
        self._gone_hours: list[int] = []
        self._n_opened = 0
        """Hours, since the last take."""
        self._is_slow = True

    def count(
        self, vectors: NDArray[np.float32], probabilities: NDArray[np.float64], time_ms: NDArray[np.int64], outcomes: Sequence[Outcome]
    ) -> None:
        """Count the rows of a chunk.

        Args:
            vectors: float32 (n, n_features); NaN = missing.
            probabilities: float64 (n,).
            time_ms: int64 (n,): event times, ms since the epoch.
            outcomes: Of each row.

        Raises:
            ValueError: The vectors have other features than the profile.
        """
        if vectors.shape[1] != len(self._places):
            raise ValueError(f"vectors of {vectors.shape[1]} features, a profile of {len(self._places)}")
        vectors, n_counted = np.ascontiguousarray(vectors), 0
        is_alert = np.fromiter((outcome != "approve" for outcome in outcomes), np.bool_, len(outcomes))
        found, places = np.unique(time_ms // MINUTE_MS, return_inverse=True)
        minutes = found.tolist()
        for first, last in _parts(minutes):
            blocks = np.full(len(minutes), -1)
            blocks[first:last] = [self._block(minute) for minute in minutes[first:last]]
            n_counted += count_rows(
                vectors, probabilities, is_alert, blocks[places], self._cuts, self._places, self._bins, self._totals
            )  # fmt: skip
        self.n_uncounted += len(vectors) - n_counted

    def take(self) -> Changes:
        """Return what changed since the last call."""
        self._is_slow, self._n_opened = self._n_opened <= MOST_DETAILED, 0
        if not self._is_slow:
            for held in self._hours.values():
                self._join(held)
        minutes, hours = {}, dict(self._left)
        for hour, held in self._hours.items():
            if held.is_changed:
                held.is_changed = False
                hours[hour] = self._sum(held)
                minutes.update({minute: self._counts([held.minutes[minute]]) for minute in held.minutes.keys() & self._changed})
        found = Changes(minutes, hours, self._gone_minutes, self._gone_hours)
        self._changed, self._left, self._gone_minutes, self._gone_hours = set(), OrderedDict(), [], []
        return found

    def _block(self, minute: int) -> int:
        """Return the block that a minute's rows are counted in now; -1: its hour is closed."""
        hour = minute // _MINUTES
        held = self._hours.get(hour)
        if held is None:
            if hour in self._closed:
                return -1
            held = self._open(hour)
        self._hours.move_to_end(hour)
        held.is_changed = True
        if not held.is_detailed:
            return held.block
        self._changed.add(minute)
        if minute not in held.minutes:
            held.minutes[minute] = self._free.pop()
        return held.minutes[minute]

    def _open(self, hour: int) -> _Hour:
        """Begin an hour; another one is no longer counted by minute, or closed, if there would be too many."""
        if len(self._hours) == MOST_HOURS:
            self._close(*self._hours.popitem(last=False))
        detailed = [held for held in self._hours.values() if held.is_detailed]
        if len(detailed) == MOST_DETAILED:  # the first one is of an earlier part of the chunk: this one has no more hours
            self._join(detailed[0])
        held = self._hours[hour] = _Hour(self._free.pop(), is_detailed=self._is_slow)
        self._n_opened += 1
        return held

    def _join(self, held: _Hour) -> None:
        """Count an hour as a whole from now on."""
        blocks = list(held.minutes.values())
        self._bins[held.block] += self._bins[blocks].sum(axis=0, dtype=np.int32)
        self._totals[held.block] += self._totals[blocks].sum(axis=0, dtype=np.int32)
        self._release(blocks)
        self._gone_minutes += held.minutes
        held.minutes, held.is_detailed = {}, False

    def _close(self, hour: int, held: _Hour) -> None:
        """End an hour: what would still come for it could only begin it anew, with too little."""
        self._join(held)
        if held.is_changed:
            self._left[hour] = self._sum(held)
            if len(self._left) > MOST_LEFT:
                self._left.popitem(last=False)
        self._release([held.block])
        self._closed[hour] = None
        if len(self._closed) > MOST_CLOSED:
            self._gone_hours.append(self._closed.popitem(last=False)[0])

    def _release(self, blocks: list[int]) -> None:
        self._bins[blocks] = 0
        self._totals[blocks] = 0
        self._free += blocks

    def _sum(self, held: _Hour) -> Counts:
        return self._counts([held.block, *held.minutes.values()])

    def _counts(self, blocks: list[int]) -> Counts:
        n_rows, n_alerts = self._totals[blocks].sum(axis=0, dtype=np.int64).tolist()
        return Counts(n_rows, n_alerts, self._bins[blocks].sum(axis=0, dtype=np.int64))


def _parts(minutes: list[int]) -> Iterator[tuple[int, int]]:
    """Cut ascending minutes into places `[first, last)` of at most MOST_DETAILED hours each, all of which can be detailed at once."""
    first, hours = 0, set()
    for place, minute in enumerate(minutes):
        hours.add(minute // _MINUTES)
        if len(hours) > MOST_DETAILED:
            yield first, place
            first, hours = place, {minute // _MINUTES}
    if minutes:
        yield first, len(minutes)
