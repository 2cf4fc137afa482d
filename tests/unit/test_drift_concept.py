"""ADWIN on the outcomes of alerts, and a change of the alert rate."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.concept import Alerts, concept_changes, matured_outcomes
from monitoring.rate_test import rate_shift

DAY_MS = 86_400_000


def outcomes(seed, *parts):
    random = np.random.default_rng(seed)
    return np.concatenate([random.random(n) < share for n, share in parts]).astype(np.int64)


def test_a_fall_of_the_precision_is_found_and_told():
    found = list(concept_changes(np.arange(4_000), outcomes(1, (2_000, 0.7), (2_000, 0.5))))

    assert found
    first = found[0]
    assert 2_000 <= first.time_ms < 2_800
    assert first.since_ms == pytest.approx(2_000, abs=100)
    assert first.precision_before == pytest.approx(0.7, abs=0.05)
    assert first.precision_now == pytest.approx(0.5, abs=0.1)
    assert first.n_alerts == first.time_ms - first.since_ms + 1


def test_a_steady_precision_is_left_alone():
    n_found = sum(1 for seed in range(5) for _ in concept_changes(np.arange(4_000), outcomes(seed, (4_000, 0.6))))

    assert n_found == 0


alerts = st.lists(st.tuples(st.integers(0, 30), st.integers(-1, 40)), max_size=40).map(
    lambda rows: Alerts(*(np.array([row[i] for row in rows], np.int64) for i in range(2)))
)


@given(alerts, st.integers(0, 60), st.integers(0, 60))
def test_outcomes_once_seen_never_change(found, now, later):
    now, later = sorted((now, later))
    times, values = matured_outcomes(found, maturity_ms=7, now_ms=now)
    times_later, values_later = matured_outcomes(found, maturity_ms=7, now_ms=later)

    assert np.array_equal(times, times_later[: len(times)])
    assert np.array_equal(values, values_later[: len(values)])


def test_a_fraud_reported_after_maturity_counts_as_a_wrong_alert():
    found = Alerts(np.array([0, 1]), np.array([5, 9]))

    assert matured_outcomes(found, maturity_ms=7, now_ms=100)[1].tolist() == [1, 0]


def test_an_alert_younger_than_the_maturity_is_not_judged_even_if_it_is_labelled():
    found = Alerts(np.array([90, 94]), np.array([91, 95]))

    assert matured_outcomes(found, maturity_ms=7, now_ms=97)[0].tolist() == [90]


def test_z_squared_of_the_alert_rate_is_the_two_proportion_test():
    pooled = (30 + 100) / (1_000 + 5_000)
    z = (30 / 1_000 - 100 / 5_000) / np.sqrt(pooled * (1 - pooled) * (1 / 1_000 + 1 / 5_000))

    found = rate_shift(np.array([30]), np.array([1_000]), np.array([100]), np.array([5_000]))

    assert found.ratio[0] == pytest.approx(z**2)


@pytest.mark.parametrize("rows", [(0, 0, 5, 100), (5, 100, 0, 0), (0, 100, 0, 100), (100, 100, 100, 100)])
def test_an_alert_rate_that_cannot_be_compared_is_missing(rows):
    assert np.isnan(rate_shift(*(np.array([value]) for value in rows)).ratio[0])
