"""Counters hold what the profile's definition says, once, in bounded memory, whatever the values and the times."""

import asyncio
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.decision import Tier
from monitoring import counters as limits
from monitoring.counters import Counters
from monitoring.packed import HOUR_MS, MINUTE_MS, Counts, unpack
from monitoring.profile import Profile, count
from service.model_counts import ModelCounts
from stream.scored import Scored

START_MS = 1_700_000_000_000 // HOUR_MS * HOUR_MS
PALETTE = st.lists(st.floats(width=32), min_size=1, max_size=6).map(
    lambda found: np.array([*found, 0.0, -0.0, 1.0, np.nan, np.inf, -np.inf, 3.4e38], np.float32)
)
COLUMNS = ["a", "b", "c"]


def profile_of(vectors, score) -> Profile:
    return Profile.of(COLUMNS, np.asarray(vectors, np.float32), np.asarray(score))


@st.composite
def chunks(draw, spread_ms: int):
    """Return a training table and chunks of (vectors, probabilities, times, outcomes) of few values: many lie on its edges."""
    palette, generator = draw(PALETTE), np.random.default_rng(draw(st.integers(0, 1 << 32)))
    found = []
    for n in draw(st.lists(st.integers(1, 12), min_size=1, max_size=5)):
        vectors = generator.choice(palette, (n, len(COLUMNS)))
        probabilities = generator.choice([*generator.random(3), 0.0, 1.0, np.nan], n)
        times = START_MS + generator.integers(0, spread_ms, n)
        found.append((vectors, probabilities, times, generator.choice(["approve", "review", "decline"], n).tolist()))
    return generator.choice(palette, (30, len(COLUMNS))), found


def defined(profile: Profile, rows, unit_ms: int) -> dict[int, Counts]:
    """Return what is to be counted in each span, by the profile's own definition."""
    by_span = defaultdict(list)
    for vectors, probabilities, times, outcomes in rows:
        for vector, probability, time_ms, outcome in zip(vectors, probabilities, times.tolist(), outcomes, strict=True):
            by_span[time_ms // unit_ms].append((*vector.astype(np.float64).tolist(), probability, outcome))
    found = {}
    for span, members in by_span.items():
        columns = [np.array(column) for column in list(zip(*members, strict=True))[:-1]]
        bins = np.stack([count(column, edges) for column, edges in zip(columns, profile.edges, strict=True)])
        found[span] = Counts(len(members), sum(member[-1] != "approve" for member in members), bins)
    return found


def assert_same(found, expected) -> None:
    assert found.keys() == expected.keys()
    for span, counts in expected.items():
        assert found[span][:2] == counts[:2]
        assert np.array_equal(found[span].bins, counts.bins)


@settings(deadline=None)
@given(drawn=chunks(2 * HOUR_MS))
def test_counters_are_the_profiles_definition_minute_by_minute_and_hour_by_hour(drawn):
    training, rows = drawn
    profile = profile_of(training, rows[0][1])
    counters = Counters(profile, "m@1")

    for chunk in rows:
        counters.count(*chunk)

    found = counters.take()
    assert_same(found.minutes, defined(profile, rows, MINUTE_MS))
    assert_same(found.hours, defined(profile, rows, HOUR_MS))
    assert counters.n_uncounted == 0


@settings(deadline=None)
@given(drawn=chunks(60 * HOUR_MS), takes=st.sets(st.integers(0, 4)))
def test_an_hour_is_whole_however_many_hours_pass_and_whenever_it_is_taken(drawn, takes):
    training, rows = drawn
    profile = profile_of(training, rows[0][1])
    counters = Counters(profile, "m@1")
    hours, minutes = {}, {}

    for place, chunk in enumerate(rows):
        counters.count(*chunk)
        if place in takes or place == len(rows) - 1:
            found = counters.take()
            hours.update(found.hours)
            minutes.update(found.minutes)
            for minute in found.gone_minutes:
                minutes.pop(minute, None)

    assert_same(hours, defined(profile, rows, HOUR_MS))
    everything = defined(profile, rows, MINUTE_MS)
    assert_same(minutes, {minute: everything[minute] for minute in minutes})


PLAIN = profile_of(np.zeros((5, len(COLUMNS))), np.zeros(5))


def one(counters: Counters, *times: int) -> None:
    n = len(times)
    counters.count(np.zeros((n, len(COLUMNS)), np.float32), np.zeros(n), np.array(times, np.int64), ["approve"] * n)


def test_what_was_taken_and_has_not_changed_is_not_given_again():
    counters = Counters(PLAIN, "m@1")
    one(counters, START_MS, START_MS + MINUTE_MS)
    counters.take()
    assert counters.take() == ({}, {}, [], [])

    one(counters, START_MS + MINUTE_MS)

    found = counters.take()
    assert {minute: counts.n_rows for minute, counts in found.minutes.items()} == {START_MS // MINUTE_MS + 1: 2}
    assert {hour: counts.n_rows for hour, counts in found.hours.items()} == {START_MS // HOUR_MS: 3}


def test_what_was_taken_does_not_change_any_more():
    counters = Counters(PLAIN, "m@1")
    one(counters, START_MS)
    found = counters.take()
    before = {hour: counts.bins.copy() for hour, counts in found.hours.items()}

    one(counters, START_MS)

    assert all(np.array_equal(found.hours[hour].bins, bins) for hour, bins in before.items())


def test_a_late_row_of_an_hour_that_is_no_longer_counted_by_minute_is_counted_in_the_hour():
    counters = Counters(PLAIN, "m@1")
    for hour in range(limits.MOST_DETAILED + 1):
        one(counters, START_MS + hour * HOUR_MS)
        found = counters.take()
        assert len(found.minutes) == len(found.hours) == 1
    assert found.gone_minutes == [START_MS // MINUTE_MS]

    one(counters, START_MS + 5)

    found = counters.take()
    assert found.minutes == {}
    assert {hour: counts.n_rows for hour, counts in found.hours.items()} == {START_MS // HOUR_MS: 2}


def test_minutes_are_not_counted_while_hours_fly_by_and_are_again_when_they_do_not():
    counters = Counters(PLAIN, "m@1")
    given, gone, hour = set(), [], START_MS // HOUR_MS
    for n_hours in (30, 30, 1, 1):
        for _ in range(n_hours):
            one(counters, hour * HOUR_MS, hour * HOUR_MS + MINUTE_MS)
            hour += 1
        found = counters.take()
        given |= found.minutes.keys()
        gone += found.gone_minutes
        assert {counts.n_rows for counts in found.hours.values()} == {2}
        assert len(found.hours) == n_hours

    assert given == {(hour - 1) * 60, (hour - 1) * 60 + 1}
    assert not given & set(gone)


def test_a_row_far_ahead_does_not_hide_the_present():
    counters = Counters(PLAIN, "m@1")
    one(counters, START_MS)
    one(counters, START_MS + 20 * 365 * 24 * HOUR_MS)  # a clock that is years ahead
    hours = {}
    for minute in range(1, 600):
        one(counters, START_MS + minute * MINUTE_MS)
        found = counters.take()
        hours.update(found.hours)

    assert counters.n_uncounted == 0
    assert sum(counts.n_rows for counts in hours.values()) == 601
    assert found.minutes[START_MS // MINUTE_MS + 599].n_rows == 1


def test_older_hours_that_are_streamed_after_newer_ones_are_counted():
    counters = Counters(PLAIN, "m@1")
    for hour in range(limits.MOST_HOURS + 20):
        one(counters, START_MS + hour * HOUR_MS)
        counters.take()

    one(counters, START_MS - 1_000 * HOUR_MS)

    assert {hour: counts.n_rows for hour, counts in counters.take().hours.items()} == {START_MS // HOUR_MS - 1_000: 1}


def test_a_row_of_a_closed_hour_is_not_counted_and_its_hour_does_not_shrink():
    counters = Counters(PLAIN, "m@1")
    for hour in range(limits.MOST_HOURS + 1):
        one(counters, START_MS + hour * HOUR_MS)
    assert counters.take().hours[START_MS // HOUR_MS].n_rows == 1

    one(counters, START_MS + 7, START_MS + HOUR_MS)

    assert counters.n_uncounted == 1
    assert list(counters.take().hours) == [START_MS // HOUR_MS + 1]


def test_event_times_at_random_leave_memory_bounded():
    counters, generator = Counters(PLAIN, "m@1"), np.random.default_rng(3)
    size = counters._bins.nbytes
    for _ in range(40):
        one(counters, *(generator.integers(-(1 << 40), 1 << 40, 256)).tolist())

    assert counters._bins.nbytes == size
    assert len(counters._hours) == limits.MOST_HOURS
    assert len(counters._left) <= limits.MOST_LEFT
    assert len(counters._closed) <= limits.MOST_CLOSED
    found = counters.take()
    assert len(found.hours) <= limits.MOST_HOURS + limits.MOST_LEFT
    assert len(found.minutes) <= 60 * limits.MOST_DETAILED
    assert len(counters._free) + sum(1 + len(held.minutes) for held in counters._hours.values()) == len(counters._totals)


def test_a_constant_and_a_missing_feature_have_one_bin_each():
    vectors = np.stack([np.full(50, 3.0), np.full(50, np.nan), np.arange(50)], axis=1).astype(np.float32)
    profile = profile_of(vectors, np.linspace(0, 1, 50))
    counters = Counters(profile, "m@1")

    counters.count(vectors, np.linspace(0, 1, 50), np.full(50, START_MS), ["approve"] * 50)

    bins = counters.take().hours[START_MS // HOUR_MS].bins
    assert bins[0].tolist() == [50] + [0] * 10
    assert bins[1].tolist() == [0] * 10 + [50]
    assert bins[2].tolist() == [5] * 10 + [0]
    assert np.array_equal(bins, profile.counts)


def test_an_edge_that_float32_cannot_hold_divides_its_neighbours_as_it_should():
    inner = [0.1, -0.1, 1e39, -1e39, 1 / 3, 16_777_217.0, 1e-46]
    with np.errstate(over="ignore"):
        near = np.array(inner, np.float64).astype(np.float32)
        values = np.concatenate([near, np.nextafter(near, np.float32(np.inf)), np.nextafter(near, np.float32(-np.inf))])
    edges = np.full((len(COLUMNS) + 1, 9), np.inf)
    edges[:, : len(inner)] = np.sort(inner)
    counters = Counters(Profile((*COLUMNS, "score"), edges, np.zeros((len(COLUMNS) + 1, 11), np.int64)), "m@1")
    n = len(values)

    counters.count(np.stack([values] * 3, axis=1), np.zeros(n), np.full(n, START_MS), ["approve"] * n)

    assert counters.take().hours[START_MS // HOUR_MS].bins[0].tolist() == count(values.astype(np.float64), edges[0]).tolist()


def test_vectors_of_other_features_are_refused():
    with pytest.raises(ValueError, match="vectors of 2 features, a profile of 3"):
        Counters(PLAIN, "m@1").count(np.zeros((1, 2), np.float32), np.zeros(1), np.zeros(1, np.int64), ["approve"])


def test_vectors_in_any_memory_order_are_counted_the_same():
    vectors = np.random.default_rng(1).normal(size=(40, len(COLUMNS))).astype(np.float32)
    profile = profile_of(vectors, np.zeros(40))
    found = []
    for given_vectors in (vectors, np.asfortranarray(vectors), np.repeat(vectors, 2, axis=0)[::2]):
        counters = Counters(profile, "m@1")
        counters.count(given_vectors, np.zeros(40), np.full(40, START_MS), ["review"] * 40)
        found.append(counters.take().hours[START_MS // HOUR_MS])

    assert all(np.array_equal(other.bins, found[0].bins) for other in found)
    assert found[0].n_alerts == 40


class Told:
    """A place that keeps the hours it is told."""

    def __init__(self):
        self.hours = {}

    async def put_minutes(self, worker, model, minutes, *, now_ms, gone=()):
        pass

    async def put_hours(self, worker, model, hours, *, now_ms, gone=()):
        self.hours.update(hours)


@given(chunks(spread_ms=2 * HOUR_MS))
def test_small_chunks_counted_together_are_counted_as_each_alone(world):
    table, found = world
    profile = profile_of(table, [0.0, 0.5, 1.0])
    model = ModelCounts("w", "fraud@1", profile)
    for vectors, probabilities, times, outcomes in found:
        model.count(Scored(vectors, probabilities, times, outcomes, Tier.FULL, "fraud@1"))
    told = Told()
    asyncio.run(model.tell(told, START_MS))
    assert model.n_uncounted == 0
    assert_same({hour: unpack(packed) for hour, packed in told.hours.items()}, defined(profile, found, HOUR_MS))
