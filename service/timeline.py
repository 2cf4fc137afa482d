"""In which order a history's transactions and labels go out, so that a replay means what it meant live.

Event time is cut into slices. Within a slice all transactions come first, then all labels that became known in it; the
next slice waits until both were applied. So a label is never applied before a transaction with event_time <= its label
time, always before the first transaction of a later slice, and at most one slice later than it became known.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

HOUR_MS: Final = 3_600_000


class Slice(NamedTuple):
    """One step of the replay; both ranges are half-open row numbers, at least one of them is not empty."""

    first: int
    end: int
    """Transactions [first, end)."""
    first_label: int
    end_label: int
    """Labels [first_label, end_label), to be sent when the transactions were applied."""
    end_ms: int
    """Event time at which the slice ends (not included)."""


def slices(event_times_ms: NDArray[np.int64], label_times_ms: NDArray[np.int64], slice_ms: int) -> Iterator[Slice]:
    """Yield the slices that hold something, in event-time order; together they hold every row once.

    Args:
        event_times_ms: Of the transactions, ascending.
        label_times_ms: When each label became known, ascending.
        slice_ms: Length of a slice, at least 1; slices begin at multiples of it.

    >>> [tuple(s) for s in slices(np.array([1, 5, 12]), np.array([5, 31]), 10)]
    [(0, 2, 0, 1, 10), (2, 3, 1, 1, 20), (3, 3, 1, 2, 40)]
    """
    row, label = 0, 0
    while row < len(event_times_ms) or label < len(label_times_ms):
        waiting = [int(times[at]) for times, at in ((event_times_ms, row), (label_times_ms, label)) if at < len(times)]
        end_ms = (min(waiting) // slice_ms + 1) * slice_ms
        end = int(np.searchsorted(event_times_ms, end_ms))
        end_label = int(np.searchsorted(label_times_ms, end_ms))
        yield Slice(row, end, label, end_label, end_ms)
        row, label = end, end_label


def due(event_times_ms: NDArray[np.int64], label_times_ms: NDArray[np.int64], now_ms: float) -> tuple[int, int]:
    """Return how many transactions and labels have happened by event time `now_ms` (included); both arrays ascend.

    >>> due(np.array([1, 5, 12]), np.array([5, 31]), 5)
    (2, 1)
    """
    return int(np.searchsorted(event_times_ms, now_ms, side="right")), int(np.searchsorted(label_times_ms, now_ms, side="right"))
