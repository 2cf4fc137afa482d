"""Probabilities that mean what they say, and thresholds that make the alerts that were asked for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.decision import Tier
from models.calibration import Platt, sigmoid
from models.ensemble import fit_mixture
from models.metrics import calibration_error, measure, recall_at
from models.policy import Policy, Thresholds, from_alert_rate

N = 40_000


def drawn(slope: float, intercept: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    r = np.random.default_rng(seed)
    logit = r.normal(-3, 2, N)
    return logit, r.random(N) < sigmoid(slope * logit + intercept)


def test_calibration_finds_the_map_that_made_the_labels():
    logit, target = drawn(0.7, -1.0)

    found = Platt.fit(logit, target, np.ones(N))

    assert (found.slope, found.intercept) == pytest.approx((0.7, -1.0), abs=0.08)


def test_calibrated_probabilities_add_up_to_the_weighted_frauds():
    logit, target = drawn(1.3, 0.5)
    weight = np.where(target, 2.0, 1.0)

    found = Platt.fit(logit, target, weight).probability(logit)

    assert (weight * found).sum() == pytest.approx((weight * target).sum(), rel=1e-6)


@given(st.floats(0.05, 20), st.floats(-20, 20))
def test_calibration_does_not_depend_on_the_scale_of_the_logits(scale: float, offset: float):
    logit, target = drawn(1.0, 0.0)
    logit, target = logit[:3000], target[:3000]
    ones = np.ones(3000)

    plain = Platt.fit(logit, target, ones).probability(logit)
    moved = Platt.fit(logit * scale + offset, target, ones).probability(logit * scale + offset)

    assert moved == pytest.approx(plain, abs=1e-6)


def test_separable_scores_give_a_finite_map():
    logit = np.array([-2.0, -1.0, 1.0, 2.0] * 20)

    found = Platt.fit(logit, logit > 0, np.ones(80))

    assert np.isfinite([found.slope, found.intercept]).all()


def noisy(seed: int, **noise: float) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Members that see the same truth through noise of their own."""
    good, target = drawn(1.0, 0.0)
    r = np.random.default_rng(seed)
    return {name: good + r.normal(0, sd, N) for name, sd in noise.items()}, target


def test_a_member_that_says_nothing_gets_no_weight_and_the_others_share_it():
    members, target = noisy(3, one=0.3, two=0.3, weak=30.0)

    found = fit_mixture(members, target, np.ones(N)).weight

    assert found["weak"] == 0.0
    assert found["one"] == pytest.approx(0.5, abs=0.15)
    assert sum(found.values()) == pytest.approx(1.0, abs=1e-12)


def test_members_that_are_equally_good_weigh_about_the_same_and_a_better_one_more():
    members, target = noisy(4, a=0.5, b=0.5, c=0.5, d=0.5)
    assert list(fit_mixture(members, target, np.ones(N)).weight.values()) == pytest.approx([0.25] * 4, abs=0.1)

    members, target = noisy(4, a=0.5, b=2.0)
    assert fit_mixture(members, target, np.ones(N)).weight["a"] > 0.7


def test_few_frauds_leave_the_weights_about_equal():
    members, target = noisy(4, a=0.5, b=2.0)
    kept = np.concatenate([np.flatnonzero(target)[:3], np.flatnonzero(~target)[:300]])

    found = fit_mixture({name: logit[kept] for name, logit in members.items()}, target[kept], np.ones(len(kept))).weight

    assert list(found.values()) == pytest.approx([0.5, 0.5], abs=0.15)


@given(st.floats(0.001, 0.2), st.floats(0, 1), st.integers(0, 99))
def test_thresholds_give_the_target_alert_rate(alert_rate: float, decline_share: float, seed: int):
    p = np.random.default_rng(seed).beta(0.3, 30, 5_000)

    found = from_alert_rate(p, alert_rate=alert_rate, decline_share=decline_share)

    assert (p >= found.review).mean() == pytest.approx(alert_rate, abs=1 / 5_000)
    assert (p >= found.decline).mean() == pytest.approx(alert_rate * decline_share, abs=1 / 5_000)
    assert found.decline >= found.review


def test_ties_give_the_nearest_rate_and_no_row_sits_on_a_threshold():
    p = np.repeat([0.1, 0.2, 0.9], [90, 7, 3])

    found = from_alert_rate(p, alert_rate=0.04, decline_share=0.5)

    assert (p >= found.review).sum() == 3
    assert not np.isin([found.review, found.decline], p).any()


def test_outcomes_follow_the_thresholds_of_their_tier():
    policy = Policy({Tier.FULL: Thresholds(0.2, 0.6), Tier.SMALL: Thresholds(0.5, 0.9)})
    p = np.array([0.1, 0.2, 0.6])

    assert policy.decide(p, Tier.FULL) == ["approve", "review", "decline"]
    assert policy.decide(p, Tier.SMALL) == ["approve", "approve", "review"]


def test_another_threshold_is_another_policy_version():
    one, other = (Policy({Tier.FULL: Thresholds(0.2, high)}) for high in (0.6, 0.7))

    assert one.version != other.version


def test_recall_at_a_false_positive_rate_is_null_where_it_would_be_luck():
    p, y = np.linspace(0, 1, 10_000), np.arange(10_000) >= 9_900

    assert recall_at(p, y, false_positive_rate=0.001) is None
    assert recall_at(p, y, false_positive_rate=0.01) == 1.0


def test_calibration_error_is_nought_for_true_probabilities_and_grows_with_a_wrong_base_rate():
    p = np.random.default_rng(0).beta(0.5, 20, 200_000)
    y = np.random.default_rng(1).random(200_000) < p

    assert calibration_error(p, y) < 0.08
    assert calibration_error(np.minimum(2 * p, 1), y) > 0.5


def test_metrics_without_a_fraud_are_null():
    assert set(measure(np.array([0.1, 0.2]), np.array([False, False])).values()) == {None}
