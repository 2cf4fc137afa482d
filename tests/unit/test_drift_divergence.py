"""Distances of binned distributions: laws, and agreement with SciPy's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from scipy.spatial.distance import jensenshannon

from monitoring.divergence import jensen_shannon, kolmogorov_smirnov, psi, wasserstein

ALL = np.ones(6, dtype=np.bool_)
counts = arrays(np.int64, 6, elements=st.integers(0, 100_000))
some = counts.filter(lambda found: found.sum() > 0)


@given(counts, counts)
def test_psi_is_symmetric_and_never_negative(a, b):
    found = float(psi(a, b, ALL))

    assert found >= 0
    assert found == pytest.approx(float(psi(b, a, ALL)), rel=1e-9, abs=1e-12)


@given(counts)
def test_psi_of_a_distribution_and_itself_is_0(a):
    assert float(psi(a, a, ALL)) == 0


@given(counts, counts, st.permutations(range(6)))
def test_the_order_of_the_bins_does_not_change_psi(a, b, order):
    assert float(psi(a[order], b[order], ALL)) == pytest.approx(float(psi(a, b, ALL)), rel=1e-9, abs=1e-12)


def test_bins_that_do_not_exist_count_for_nothing():
    few = np.array([True, True, True, False, False, False])

    found = psi(np.array([5, 7, 9, 0, 0, 0]), np.array([9, 7, 5, 0, 0, 0]), few)

    assert float(found) == pytest.approx(float(psi(np.array([5, 7, 9]), np.array([9, 7, 5]), few[:3])))


def test_psi_of_independent_rows_without_a_change_is_chi_square():
    random = np.random.default_rng(7)
    shares = np.array([0.3, 0.2, 0.2, 0.1, 0.1, 0.1])
    a, b = random.multinomial(2_000, shares, 4_000), random.multinomial(3_000, shares, 4_000)

    ratio = psi(a, b, ALL) / (1 / 2_000 + 1 / 3_000)

    assert stats.kstest(ratio, stats.chi2(5).cdf).pvalue > 0.001


@given(some, some)
def test_jensen_shannon_is_scipys(a, b):
    assert float(jensen_shannon(a, b)) == pytest.approx(jensenshannon(a, b, base=2) ** 2, abs=1e-9)


@given(arrays(np.int64, 6, elements=st.integers(0, 12)), arrays(np.int64, 6, elements=st.integers(0, 12)))
def test_kolmogorov_smirnov_and_wasserstein_are_scipys(a, b):
    if not a.sum() or not b.sum():
        assert np.isnan(kolmogorov_smirnov(a, b))
        assert np.isnan(wasserstein(a, b))
        return
    rows_a, rows_b = np.repeat(np.arange(6), a), np.repeat(np.arange(6), b)

    assert float(kolmogorov_smirnov(a, b)) == pytest.approx(stats.ks_2samp(rows_a, rows_b, method="asymp").statistic)
    assert float(wasserstein(a, b)) == pytest.approx(stats.wasserstein_distance(rows_a, rows_b))


def test_many_features_are_compared_at_once():
    random = np.random.default_rng(3)
    a, b = random.integers(0, 50, (4, 3, 6)), random.integers(0, 50, (3, 6))

    for distance in (lambda x, y: psi(x, y, ALL), jensen_shannon, kolmogorov_smirnov, wasserstein):
        together = distance(a, b)

        assert together.shape == (4, 3)
        assert float(together[2, 1]) == pytest.approx(float(distance(a[2, 1], b[1])))
