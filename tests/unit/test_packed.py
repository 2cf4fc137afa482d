"""Packed counters come back as they were, and what is not packed counters is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.packed import Counts, pack, unpack


@st.composite
def some_counts(draw, n_names: int | None = None) -> Counts:
    generator = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    most = draw(st.sampled_from([1, 200, 255, 256, 300, 65_535, 65_536, 70_000, 1 << 40]))
    bins = generator.integers(0, most, (n_names or draw(st.integers(1, 6)), 11), endpoint=True)
    bins[0, 0] = most
    return Counts(draw(st.integers(0, 1 << 62)), draw(st.integers(0, 1 << 40)), bins)


def equal(one: Counts, other: Counts) -> bool:
    return one[:2] == other[:2] and np.array_equal(one.bins, other.bins)


@given(counts=some_counts())
def test_counts_come_back_whatever_their_size(counts):
    found = unpack(pack(counts))

    assert equal(found, counts)
    assert found.bins.dtype == np.int64
    found.bins[0, 0] += 1  # it can be added to


@given(counts=some_counts())
def test_equal_counts_give_equal_bytes(counts):
    assert pack(counts) == pack(Counts(counts.n_rows, counts.n_alerts, counts.bins.copy()))


@given(a=some_counts(3), b=some_counts(3), c=some_counts(3))
def test_the_sum_of_workers_does_not_depend_on_their_order_or_grouping(a, b, c):
    assert equal(a + b, b + a)
    assert equal((a + b) + c, a + (b + c))
    assert equal(unpack(pack(a)) + unpack(pack(b)), a + b)


@given(content=st.binary(max_size=60))
def test_bytes_that_are_not_counters_are_refused_by_one_error(content):
    with pytest.raises(ValueError, match="counters"):
        unpack(content)


@given(counts=some_counts(), cut=st.integers(0, 200))
def test_counters_that_were_cut_short_are_refused(counts, cut):
    whole = pack(counts)

    with pytest.raises(ValueError, match="counters"):
        unpack(whole[: min(cut, len(whole) - 1)])


def test_counters_of_a_newer_version_say_so():
    whole = pack(Counts(1, 0, np.ones((2, 11), np.int64)))

    with pytest.raises(ValueError, match="version 9"):
        unpack(b"\x09" + whole[1:])


def test_a_minute_of_a_hundred_features_takes_less_than_a_kilobyte():
    generator = np.random.default_rng(1)
    bins = np.stack([generator.multinomial(16, [0.1] * 10 + [0.0]) for _ in range(101)]).astype(np.int64)

    assert len(pack(Counts(16, 1, bins))) < 1_000
