"""Changes of several features together."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.multivariate import Scaling, Subspace, auc, telling


def rows(seed, n, correlation):
    random = np.random.default_rng(seed)
    covariance = np.eye(4)
    covariance[0, 1] = covariance[1, 0] = correlation
    return np.sinh(random.multivariate_normal(np.zeros(4), covariance, n)).astype(np.float32)


def test_a_broken_correlation_raises_the_reconstruction_error_though_no_feature_has_changed():
    subspace = Subspace.fit(rows(1, 20_000, 0.98), explained=0.75)
    before, after = subspace.errors(rows(2, 5_000, 0.98)), subspace.errors(rows(3, 5_000, 0.0))

    assert subspace.errors(rows(4, 5_000, 0.98)).mean() == pytest.approx(before.mean(), rel=0.1)
    assert after.mean() > 1.5 * before.mean()


def test_the_axes_are_orthonormal_and_hold_the_wanted_share_of_the_variance():
    vectors = rows(1, 5_000, 0.9)
    subspace = Subspace.fit(vectors, explained=0.9)
    scaled = subspace.scaling.apply(vectors)

    assert np.allclose(subspace.axes @ subspace.axes.T, np.eye(len(subspace.axes)))
    assert subspace.errors(vectors).mean() <= 0.1 * scaled.var(axis=0).mean() + 1e-12


def test_rows_of_one_world_cannot_be_told_apart():
    found = telling(rows(1, 3_000, 0.5), rows(2, 3_000, 0.5), seed=1)

    assert found.low < 0.5 < found.high


def test_a_shift_is_told_by_the_feature_that_shifted():
    recent = rows(2, 3_000, 0.0)
    recent[:, 2] += 0.7

    found = telling(rows(1, 3_000, 0.0), recent, seed=1)

    assert found.low > 0.55
    assert found.columns[0] == 2


def test_features_that_are_missing_or_constant_are_told_by_nobody():
    reference, recent = rows(1, 500, 0.0), rows(2, 500, 0.0)
    for part in (reference, recent):
        part[:, 0], part[:, 1] = np.nan, 7.0

    found = telling(reference, recent, seed=1)

    assert np.isfinite(found.auc)
    assert set(found.columns[:2]) == {2, 3}
    assert np.isfinite(Subspace.fit(reference).errors(recent)).all()


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=40))
def test_auc_is_the_share_of_pairs_in_order(pairs):
    scores, positive = (np.array(column) for column in zip(*pairs, strict=True))
    if positive.all() or not positive.any():
        return
    wins = [(p > q) + (p == q) / 2 for p in scores[positive] for q in scores[~positive]]

    assert auc(scores.astype(float), positive) == pytest.approx(np.mean(wins))


def test_scaled_values_stay_within_five_deviations():
    scaling = Scaling.fit(rows(1, 1_000, 0.0))

    assert np.abs(scaling.apply(np.array([[np.inf, -np.inf, np.nan, 1e30]], np.float32))).max() <= 5
