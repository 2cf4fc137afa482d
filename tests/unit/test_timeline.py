import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from service.timeline import due, slices

times = st.lists(st.integers(0, 500), max_size=60).map(lambda found: np.array(sorted(found), np.int64))
lengths = st.integers(1, 200)


def _sent(event_times, label_times, slice_ms):
    """Return what goes out, in order: ("tx", row), ("label", row), and ("wait",) where the workers must have caught up."""
    out = []
    for part in slices(event_times, label_times, slice_ms):
        out += [("tx", row) for row in range(part.first, part.end)]
        if part.end_label > part.first_label:
            out += [("wait",), *(("label", row) for row in range(part.first_label, part.end_label)), ("wait",)]
    return out


@given(times, times, lengths)
def test_every_transaction_and_every_label_goes_out_once_in_its_order(event_times, label_times, slice_ms):
    out = _sent(event_times, label_times, slice_ms)

    assert [row for kind, *row in out if kind == "tx"] == [[i] for i in range(len(event_times))]
    assert [row for kind, *row in out if kind == "label"] == [[i] for i in range(len(label_times))]


@given(times, times, lengths)
def test_a_label_is_never_before_a_transaction_that_happened_before_it_was_known(event_times, label_times, slice_ms):
    n_sent = 0
    for kind, *row in _sent(event_times, label_times, slice_ms):
        if kind == "tx":
            n_sent += 1
        elif kind == "label":
            assert n_sent >= np.searchsorted(event_times, label_times[row[0]], side="right")


@given(times, times, lengths)
def test_a_label_is_at_most_one_slice_later_than_it_became_known(event_times, label_times, slice_ms):
    newest = -1
    for kind, *row in _sent(event_times, label_times, slice_ms):
        if kind == "tx":
            newest = event_times[row[0]]
        elif kind == "label":
            assert newest < label_times[row[0]] + slice_ms


@given(times, times, lengths)
def test_no_slice_is_empty_and_slices_end_at_multiples_of_their_length(event_times, label_times, slice_ms):
    for part in slices(event_times, label_times, slice_ms):
        assert part.end > part.first or part.end_label > part.first_label
        assert part.end_ms % slice_ms == 0


@given(times, times, st.integers(-1, 600))
def test_due_counts_what_has_happened_by_now(event_times, label_times, now_ms):
    assert due(event_times, label_times, now_ms) == (np.sum(event_times <= now_ms), np.sum(label_times <= now_ms))
