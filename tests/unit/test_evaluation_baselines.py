"""What the ensemble is compared with."""

import msgspec
import numpy as np
import pytest

from features.spec import COLUMN
from models.baselines import BASELINES, fit_baselines
from models.dataset import Dataset
from tests.unit.models_synthetic import SMALL, dataset_of, vectors_of

AMOUNT = COLUMN["event_log_amount"]


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return dataset_of()


def test_probabilities_are_those_of_all_rows_although_good_ones_were_sampled(dataset):
    found = fit_baselines(dataset, msgspec.structs.replace(SMALL, most_good_rows=1_000))

    assert set(found) == {"baseline_amount", "baseline_logistic", "baseline_xgboost"}
    for name, baseline in found.items():
        p = baseline.probability(dataset.vectors)
        assert 0.5 < p.mean() / dataset.target.mean() < 2, name  # uncorrected it would be five times as much
    assert all(np.isfinite(baseline.probability(vectors_of(50, 3))).all() for baseline in found.values())
    p = found["baseline_xgboost"].probability(dataset.vectors)
    assert p[dataset.target].mean() > 5 * p[~dataset.target].mean()


def test_the_amount_rule_goes_by_the_amount_and_trusts_an_unknown_one(dataset):
    vectors = vectors_of(4, 1)
    vectors[:, AMOUNT] = [3.0, np.nan, 7.0, 5.0]
    for wrong_way_round in (False, True):
        target = dataset.target if not wrong_way_round else dataset.vectors[:, AMOUNT] < np.nanquantile(dataset.vectors[:, AMOUNT], 0.05)
        rule = BASELINES["baseline_amount"](Dataset(dataset.vectors, target, dataset.weight, dataset.day), SMALL)

        assert np.argsort(rule.probability(vectors)).tolist() == [1, 0, 3, 2]


def test_a_column_that_is_missing_throughout_counts_for_nothing(dataset):
    x = dataset.vectors.copy()
    x[:, 20:60] = np.nan
    bare = Dataset(x, dataset.target, dataset.weight, dataset.day)

    for baseline in fit_baselines(bare, SMALL).values():
        assert np.isfinite(baseline.probability(x)).all()
