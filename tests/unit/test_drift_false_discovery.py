"""Benjamini and Yekutieli against SciPy's."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from monitoring.false_discovery import discoveries, single_limit

p_values = st.lists(st.one_of(st.floats(0, 1), st.floats(0, 1e-4)), min_size=1, max_size=60)


@given(p_values)
def test_the_discoveries_are_scipys(values):
    p = np.array(values)
    adjusted = false_discovery_control(p, method="by")
    clear = np.abs(adjusted - 0.001) > 1e-12  # on the border, rounding decides

    assert np.array_equal(discoveries(p, 0.001)[clear], (adjusted <= 0.001)[clear])


@given(p_values)
def test_what_was_not_tested_changes_nothing(values):
    p = np.array(values)
    mixed = np.full(2 * len(p), np.nan)
    mixed[1::2] = p

    found = discoveries(mixed, 0.01)

    assert not found[::2].any()
    assert np.array_equal(found[1::2], discoveries(p, 0.01))


@given(st.integers(1, 300))
def test_a_single_test_below_its_limit_is_discovered_and_above_it_is_not(n):
    p = np.ones(n)
    limit = single_limit(n, 0.001)

    p[0] = limit * 0.999
    assert discoveries(p, 0.001).tolist() == [True] + [False] * (n - 1)
    p[0] = limit * 1.001
    assert not discoveries(p, 0.001).any()
