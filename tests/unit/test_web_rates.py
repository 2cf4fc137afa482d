"""Rates and quantiles from cumulative counters."""

import pytest

from service.web.rates import MINUTE_MS, Sample, WorkerRates, per_minute, quantiles

START_MS = 1_790_000_000_000


def sample(seconds: float, transactions: int, **counts: int) -> Sample:
    return Sample(START_MS + round(seconds * 1000), transactions, counts, (transactions, 0))


def rates_of(*samples: Sample, started_s: float = -3600.0) -> WorkerRates:
    found = WorkerRates(START_MS + round(started_s * 1000), samples[0])
    for one in samples[1:]:
        found.add(one)
    return found


def test_a_rate_is_the_difference_over_the_span_of_the_workers_own_clock():
    rates = rates_of(*(sample(second, 100 * second) for second in range(30)))

    found = rates.over(5_000)

    assert (found.transactions, found.span_s) == (500, 5.0)
    assert found.latency == (500, 0)


def test_what_a_new_worker_did_before_it_was_first_seen_counts():
    found = rates_of(sample(2.0, 500), started_s=0.0).over(5_000)

    assert (found.transactions, found.span_s) == (500, 2.0)


def test_an_old_worker_that_is_seen_for_the_first_time_has_no_rate_yet():
    assert rates_of(sample(0.0, 5_000_000)).over(5_000) is None


def test_the_same_words_again_change_nothing():
    rates = rates_of(sample(0.0, 0), sample(10.0, 100), sample(10.0, 100), sample(9.0, 50))

    assert rates.over(MINUTE_MS).transactions == 100


def test_memory_is_bounded_and_a_minute_is_kept():
    rates = rates_of(*(sample(second, second) for second in range(600)))

    assert len(rates._samples) < 80
    assert rates.over(MINUTE_MS).span_s == pytest.approx(60.0)


def test_rates_of_workers_add_up_and_what_did_not_happen_is_left_out():
    first = rates_of(sample(0.0, 0, late=0, stale=3), sample(30.0, 10, late=60, stale=3)).over(MINUTE_MS)
    second = rates_of(sample(0.0, 0), sample(60.0, 10, late=60)).over(MINUTE_MS)

    assert per_minute([first, second]) == {"late": 180.0}


@pytest.mark.parametrize(
    ("counts", "share", "expected"),
    [
        ([0, 0, 0], 0.5, None),
        ([10, 0, 0], 0.5, 0.5),
        ([10, 10, 0], 0.75, 1.5),
        ([0, 0, 4], 0.99, 2.0),
        ([5, 0, 5], 0.5, 1.0),
    ],
)
def test_quantiles_are_linear_within_a_bucket_and_the_open_one_answers_its_lower_edge(counts, share, expected):
    assert quantiles([1.0, 2.0], counts, [share]) == [expected]
    assert type(quantiles([1.0, 2.0], [1, 1, 1], [0.5])[0]) is float  # JSON knows no numpy
