import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.label_delay import SMALLEST_RISK_SET, DelayCurve

DAY_MS = 86_400_000
frauds = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 50)), min_size=1, max_size=200)


def _curve(pairs, to_day):
    event, delay = np.array(pairs, np.int64).T * DAY_MS
    return DelayCurve.fit(event, event + delay, to_ms=to_day * DAY_MS)


@given(pairs=frauds, to_day=st.integers(1, 120))
def test_a_curve_rises_from_0_to_1_and_is_the_surer_the_older(pairs, to_day):
    curve = _curve(pairs, to_day)
    ages = np.arange(-1, 130) * DAY_MS
    shares, variances = curve.share(ages), curve.log_variance(ages)

    assert (np.diff(shares) >= 0).all()
    assert shares[0] == 0.0
    assert shares[-1] == pytest.approx(1.0)
    assert (np.diff(variances) <= 0).all()
    assert variances[-1] == 0.0
    assert curve.n_known == sum(event + delay < to_day for event, delay in pairs)


@given(delays=st.lists(st.integers(0, 50), min_size=2 * SMALLEST_RISK_SET, max_size=200))
def test_when_all_labels_are_in_the_curve_is_their_distribution(delays):
    curve = _curve([(0, delay) for delay in delays], 10_000)
    known = np.sort(delays)
    trusted = known[SMALLEST_RISK_SET - 1 :]

    assert curve.share(trusted * DAY_MS) == pytest.approx(np.searchsorted(known, trusted, side="right") / len(known))


def test_the_variance_is_that_of_repeated_experiments():
    random = np.random.default_rng(3)
    ages = np.array([3, 7, 14]) * DAY_MS
    found, promised = [], []
    for _ in range(200):
        event = random.integers(0, 60 * DAY_MS, 400)
        curve = DelayCurve.fit(event, event + (random.exponential(8, 400).clip(0.1, 45) * DAY_MS).astype(np.int64), to_ms=60 * DAY_MS)
        found.append(np.log(curve.share(ages)))
        promised.append(curve.log_variance(ages))

    assert np.mean(promised, axis=0) == pytest.approx(np.var(found, axis=0), rel=0.3)
