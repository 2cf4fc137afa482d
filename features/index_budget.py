"""How long a new entry of the decision index may be kept, so that the index stays below a number of bytes.

Redis drops entries at the end of the time that they were written with, the oldest days first. So a bound is kept by what
new entries get: the longest time for which, at the present rate, what is already there and what will come fit together.
"""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

#: Bytes that Redis needs for an entry beside its key and value.
ENTRY_OVERHEAD_BYTES: Final = 80
_STEADY_SHARE: Final = 0.85
#: Share of the bound that is planned for: rates are known only when they have been seen.
_PLANNED_SHARE: Final = 0.95
_DAY_S: Final = 86_400
_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 86_400_000
SLOT_MS: Final = 4 * _HOUR_MS
"""Entries that end in the same slot are counted together."""
_RATE_HOURS: Final = 24
_LEAST_SPAN_MS: Final = 60_000
_EVERY_MS: Final = 10_000


class Forecast(NamedTuple):
    """What the index takes."""

    kept_bytes: int
    """Now."""
    bytes_per_day: int
    """Written, at the rate of the last 24 hours."""
    retention_s: int
    """Time that a new entry is kept."""
    full_bytes: int
    """After `index_days` at this rate, without a bound."""


def retention_s(kept: Mapping[int, int], bytes_per_day: float, now_ms: int, *, max_bytes: int, shortest_s: int, longest_s: int) -> int:
    """Return the longest time, in seconds, for which new entries may be kept.

    At a steady rate the index takes 85 % of the bound; the rest is for days that bring more (four times as much still
    fits). When the rate grows, what is there already goes at its own time, so new entries are kept shorter than the new
    rate alone would ask, until it is gone.

    Args:
        kept: Slot since the epoch -> bytes that end in it, spread evenly over it.
        bytes_per_day: Rate at which new ones come.
        now_ms: UTC, milliseconds since the epoch.
        max_bytes: Bound; 0 = none.
        shortest_s: Never less, whatever the bound.
        longest_s: Never more.

    >>> retention_s({}, 85.0, 0, max_bytes=1000, shortest_s=3600, longest_s=45 * 86_400) // 86_400
    10
    """
    if max_bytes == 0 or bytes_per_day <= 0:
        return longest_s
    wanted_days = min(longest_s / _DAY_S, _STEADY_SHARE * max_bytes / bytes_per_day)
    fitting_days = min(wanted_days, _days_until_full(kept, bytes_per_day, now_ms, _PLANNED_SHARE * max_bytes, wanted_days))
    return int(max(shortest_s, _DAY_S * fitting_days))


def _days_until_full(kept: Mapping[int, int], bytes_per_day: float, now_ms: int, max_bytes: float, most_days: float) -> float:
    """Return after how many days, up to `most_days`, the index is full if nothing that comes goes before."""
    slot, begin = now_ms // SLOT_MS, 0.0
    end = (SLOT_MS - now_ms % SLOT_MS) / _DAY_MS
    ending = kept.get(slot, 0) * end * _DAY_MS / SLOT_MS
    size = ending + sum(each for other, each in kept.items() if other > slot)
    while begin < most_days:
        if size >= max_bytes:
            return begin
        after = size - ending + bytes_per_day * (end - begin)
        if after > max_bytes:
            return begin + (end - begin) * (max_bytes - size) / (after - size)
        slot, begin, end, size = slot + 1, end, end + SLOT_MS / _DAY_MS, after
        ending = kept.get(slot, 0)
    return most_days


class IndexBudget:
    """Counts what is written to the index, by all workers together, and tells the time to live of new entries.

    Counts are kept as fields, so that they can lie in a Redis hash: "h" and the hour of writing, "s" and the slot of
    ending, each since the epoch, -> bytes. A worker adds its `changes` there and `learn`s what all of them have written.
    """

    def __init__(self, max_bytes: int, index_days: int, *, shortest_s: int = 3_600) -> None:
        """Prepare.

        Args:
            max_bytes: Bound; 0 = none: every entry is kept for `index_days`.
            index_days: Longest time.
            shortest_s: Shortest time, whatever the bound.
        """
        self._max_bytes = max_bytes
        self._longest_s = index_days * _DAY_S
        self._shortest_s = shortest_s
        self._known: dict[str, int] = {}
        self._new: dict[str, int] = {}
        self._ttl_s = self._longest_s
        self._next_ms = 0

    def ttl_s(self, now_ms: int) -> int:
        """Return the time that an entry written now is kept, in seconds; looks again every 10 s."""
        if now_ms >= self._next_ms:
            self._next_ms = now_ms + _EVERY_MS
            self._ttl_s = self.forecast(now_ms).retention_s
        return self._ttl_s

    def written(self, now_ms: int, *, n_entries: int, n_bytes: int, ttl_s: int) -> None:
        """Count entries of `n_bytes` (keys and values) that are kept for `ttl_s`."""
        size = n_bytes + n_entries * ENTRY_OVERHEAD_BYTES
        for field in (f"h{now_ms // _HOUR_MS}", f"s{(now_ms + ttl_s * 1000) // SLOT_MS}"):
            self._new[field] = self._new.get(field, 0) + size

    def changes(self) -> dict[str, int]:
        """Return what was counted since the last call; from now on it counts when it is learned, or given `back`."""
        found, self._new = self._new, {}
        return found

    def back(self, changes: Mapping[str, int]) -> None:
        """Take changes back that did not arrive where they are added up."""
        for field, size in changes.items():
            self._new[field] = self._new.get(field, 0) + size

    def learn(self, fields: Mapping[str, int]) -> None:
        """Take over what all workers have written."""
        self._known = dict(fields)

    def outdated(self, now_ms: int) -> list[str]:
        """Return the known fields that say nothing any more."""
        first = {"h": now_ms // _HOUR_MS - _RATE_HOURS, "s": now_ms // SLOT_MS}
        return [field for field in self._known if int(field[1:]) < first[field[0]]]

    def forecast(self, now_ms: int) -> Forecast:
        """Return what the index takes now and later."""
        kept: dict[int, int] = {}
        hours: dict[int, int] = {}
        for field, size in self._fields():
            part = hours if field[0] == "h" else kept
            part[int(field[1:])] = part.get(int(field[1:]), 0) + size
        rate = _bytes_per_day(hours, now_ms)
        retention = retention_s(kept, rate, now_ms, max_bytes=self._max_bytes, shortest_s=self._shortest_s, longest_s=self._longest_s)
        this = now_ms // SLOT_MS
        ending = kept.get(this, 0) * (1.0 - now_ms % SLOT_MS / SLOT_MS)
        now_bytes = int(ending) + sum(size for slot, size in kept.items() if slot > this)
        return Forecast(now_bytes, int(rate), retention, int(rate * self._longest_s / _DAY_S))

    def _fields(self) -> Iterable[tuple[str, int]]:
        yield from self._known.items()
        yield from self._new.items()


def _bytes_per_day(hours: Mapping[int, int], now_ms: int) -> float:
    """Return the rate of the last 24 hours, or of the time since the first hour in which anything was written."""
    recent = {hour: size for hour, size in hours.items() if hour >= now_ms // _HOUR_MS - _RATE_HOURS}
    if not recent:
        return 0.0
    span_ms = max(now_ms - min(recent) * _HOUR_MS, _LEAST_SPAN_MS)
    return sum(recent.values()) / span_ms * _DAY_MS
