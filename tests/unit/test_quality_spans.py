from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from service.quality_spans import Hole, Span, add, hole_notes, holes, is_read

DAY_MS = 86_400_000
files = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 12)), max_size=12)


@given(found=files)
def test_what_was_read_is_known_in_whatever_order_it_came(found):
    spans, offsets = [], set()
    for first, n in found:
        add(spans, Span(first, first + n, first, first + n - 1))
        offsets |= set(range(first, first + n))

    assert offsets == {offset for span in spans for offset in range(span.first, span.end)}
    assert all(before.end < after.first for before, after in pairwise(spans))
    assert all((span.from_ms, span.to_ms) == (span.first, span.end - 1) for span in spans)
    for first in range(70):
        assert is_read(spans, first, first + 3) == {first, first + 1, first + 2}.issubset(offsets)


@given(found=files)
def test_holes_are_the_offsets_between(found):
    spans, offsets = [], set()
    for first, n in found:
        add(spans, Span(first, first + n, first, first + n - 1))
        offsets |= set(range(first, first + n))
    missing = set(range(min(offsets, default=0), max(offsets, default=0))) - offsets

    assert sum(hole.n for hole in holes({"p": spans})) == len(missing)


def test_a_hole_stands_with_every_day_it_may_touch():
    by_day, others = hole_notes(
        {"scores.v1": [Hole(7, DAY_MS - 1, 2 * DAY_MS)], "labels.v1": [Hole(1_234, 5, 3_600_000)]}, answers="scores.v1"
    )

    assert by_day == dict.fromkeys(
        (0, DAY_MS, 2 * DAY_MS), "Up to 7 answers from 1970-01-01 23:59 UTC to 1970-01-03 00:00 UTC are missing in the archive."
    )
    assert others == ["The archive lacks up to 1,234 records of labels.v1 from 1970-01-01 00:00 UTC to 1970-01-01 01:00 UTC."]


def test_positions_without_records_are_no_end_of_a_hole():
    assert holes({"p": [Span(0, 5), Span(9, 12, 1, 2)]}) == []


def test_a_hole_between_records_out_of_order_lies_between_both():
    assert holes({"p": [Span(0, 5, 1, 9), Span(6, 7, 4, 4)]}) == [Hole(1, 4, 9)]
