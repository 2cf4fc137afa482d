"""The sequential test: evidence that may be looked at every day and still errs as seldom as it says."""

import numpy as np
import pytest
from scipy.special import betainc, betaln
from scipy.stats import binom

from monitoring.rollout import COMPARED_DAYS
from monitoring.sequential import ENOUGH, MOST, chance_of_stopping, e_value, simulated_stops, stopped_at, winner


@pytest.mark.parametrize(("n_for", "n_against"), [(0, 0), (1, 0), (0, 3), (7, 2), (40, 40), (63, 31), (3, 90), (400, 350)])
def test_the_e_value_is_the_one_of_the_beta_distribution(n_for: int, n_against: int) -> None:
    n = n_for + n_against
    log_of_beta = (n + 1) * np.log(2) + betaln(n_for + 1, n_against + 1)
    expected = np.exp(log_of_beta) * betainc(n_against + 1, n_for + 1, 0.5)

    assert e_value(n_for, n_against) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("n", [1, 5, 17, 60])
def test_under_equals_the_e_value_is_worth_one_on_average(n: int) -> None:
    mean = sum(binom.pmf(a, n, 0.5) * e_value(a, n - a) for a in range(n + 1))

    assert mean == pytest.approx(1.0, rel=1e-9)


def test_evidence_decides_for_one_the_other_or_neither() -> None:
    assert winner(12, 2) == "first"
    assert winner(2, 12) == "second"
    assert winner(10, 8) is None
    assert e_value(6, 0) < ENOUGH <= e_value(8, 0)


def test_one_sided_evidence_of_thousands_does_not_overflow() -> None:
    assert e_value(5_000, 0) == MOST
    assert e_value(0, 5_000) < 1e-3


def test_a_comparison_stops_at_the_first_look_with_enough_evidence() -> None:
    assert stopped_at([(2, 0), (3, 0), (3, 0), (0, 50)]) == (3, "first")
    assert stopped_at([(1, 1)] * 28) is None


@pytest.mark.parametrize("per_look", [1, 2, 3, 5])
def test_equals_are_stopped_in_less_than_5_percent_of_comparisons(per_look: int) -> None:
    assert 0.0 < chance_of_stopping(n_looks=COMPARED_DAYS, per_look=per_look) < 0.05


def test_of_200_simulated_null_comparisons_at_most_5_percent_stop() -> None:
    found = simulated_stops(n_comparisons=200, n_looks=COMPARED_DAYS, per_look=3.0, seed=6)

    assert sum(stop is not None for stop in found) <= 10


def test_a_better_first_model_wins_and_a_worse_one_loses() -> None:
    better = simulated_stops(n_comparisons=50, n_looks=COMPARED_DAYS, per_look=3.0, favour=0.75, seed=6)
    worse = simulated_stops(n_comparisons=50, n_looks=COMPARED_DAYS, per_look=3.0, favour=0.25, seed=6)

    assert better.count("first") >= 45
    assert better.count("second") == 0
    assert worse.count("second") >= 45
