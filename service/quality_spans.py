"""Which offsets of each partition have been read, and between which event times something is missing."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import NamedTuple

import msgspec

from monitoring.quality_facts import DAY_MS


class Span(msgspec.Struct):
    """Adjacent offsets that were read, half-open `[first, end)`, and the event times at both ends."""

    first: int
    end: int
    from_ms: int | None = None
    """Event time of the first record; None = no record in it, only positions."""
    to_ms: int | None = None
    """Event time of the last one."""


class Hole(NamedTuple):
    """Offsets that are in no file, though later ones are."""

    n: int
    from_ms: int
    """The earlier of the event times of the last record before it and the first one after it."""
    to_ms: int
    """The later one."""


Spans = dict[str, list[Span]]
"""Partition -> its spans, ascending, never adjacent."""


def is_read(spans: Iterable[Span], first: int, end: int) -> bool:
    """Tell whether all of `[first, end)` was read.

    >>> is_read([Span(3, 8)], 4, 8), is_read([Span(3, 8)], 4, 9)
    (True, False)
    """
    return any(span.first <= first and end <= span.end for span in spans)


def add(spans: list[Span], new: Span) -> None:
    """Put a span among the others; adjacent and overlapping ones become one.

    >>> spans = [Span(0, 5, 1, 2), Span(9, 12, 7, 8)]; add(spans, Span(4, 9, 2, 4)); spans
    [Span(first=0, end=12, from_ms=1, to_ms=8)]
    """
    joined: list[Span] = []
    for span in sorted([*spans, new], key=lambda span: (span.first, -span.end)):
        last = joined[-1] if joined else None
        if last is None or span.first > last.end:
            joined.append(span)
        elif span.end > last.end:
            to_ms = last.to_ms if span.to_ms is None else span.to_ms
            joined[-1] = Span(last.first, span.end, span.from_ms if last.from_ms is None else last.from_ms, to_ms)
    spans[:] = joined


def holes(spans: Spans) -> list[Hole]:
    """Return the gaps between spans that hold records, of all partitions.

    >>> holes({"p": [Span(0, 5, 1, 2), Span(9, 12, 7, 8)]})
    [Hole(n=4, from_ms=2, to_ms=7)]
    """
    found = []
    for own in spans.values():
        for before, span in pairwise(own):
            if before.to_ms is not None and span.from_ms is not None:
                earlier, later = sorted((before.to_ms, span.from_ms))
                found.append(Hole(span.first - before.end, earlier, later))
    return found


def hole_notes(found: Mapping[str, Sequence[Hole]], *, answers: str) -> tuple[dict[int, str], list[str]]:
    """Return midnight -> sentence for each day that may lack answers, and sentences on what else is missing.

    Args:
        found: Topic -> its holes.
        answers: The topic whose holes make a day incomplete.
    """
    by_day: dict[int, str] = {}
    for hole in found.get(answers, ()):
        for day_ms in range(hole.from_ms // DAY_MS * DAY_MS, hole.to_ms + 1, DAY_MS):
            text = f"Up to {hole.n:,} answers from {_time(hole.from_ms)} to {_time(hole.to_ms)} are missing in the archive."
            by_day[day_ms] = f"{by_day[day_ms]} {text}" if day_ms in by_day else text
    others = [
        f"The archive lacks up to {hole.n:,} records of {topic} from {_time(hole.from_ms)} to {_time(hole.to_ms)}."
        for topic, own in found.items() if topic != answers for hole in own
    ]  # fmt: skip
    return by_day, others


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
