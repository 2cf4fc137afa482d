"""What a category is worth, and what it may know."""

import numpy as np
import pytest

from features.spec import N_FEATURES
from models.categories import CATEGORY_COLUMNS, CategoryTables, base_rate, encode_by_day


def test_a_category_is_worth_its_smoothed_log_odds():
    x = np.zeros((400, N_FEATURES), np.float32)
    x[:, CATEGORY_COLUMNS[0]] = np.repeat([1, 2], 200)
    target = np.arange(400) < 50
    pi = base_rate(target)

    worth = CategoryTables.fit(x, target).encode(x)[:, CATEGORY_COLUMNS[0]]

    assert worth[0] == pytest.approx(np.log((50 + 20 * pi) / (150 + 20 * (1 - pi))), rel=1e-6)
    assert worth[-1] == pytest.approx(np.log(20 * pi / (200 + 20 * (1 - pi))), rel=1e-6)


def test_an_unseen_category_is_worth_the_base_rate_and_a_missing_one_is_a_category():
    x = np.zeros((100, N_FEATURES), np.float32)
    x[:50, CATEGORY_COLUMNS[1]] = np.nan
    target = np.arange(100) < 30
    tables = CategoryTables.fit(x, target)
    asked = np.zeros((3, N_FEATURES), np.float32)
    asked[:, CATEGORY_COLUMNS[1]] = [77, 9_999, np.nan]

    worth = tables.encode(asked)[:, CATEGORY_COLUMNS[1]]

    prior = np.log(base_rate(target) / (1 - base_rate(target)))
    assert worth[:2] == pytest.approx([prior, prior], rel=1e-6)
    assert worth[2] > prior


def test_training_rows_use_the_statistics_of_earlier_days_only():
    r = np.random.default_rng(0)
    codes = r.integers(0, 5, (3_000, 3)).astype(np.float32)
    day = np.sort(r.integers(0, 10, 3_000))
    target = r.random(3_000) < 0.1
    changed = target.copy()
    changed[day == 6] = r.permutation(changed[day == 6])  # the same base rate, another truth on day 6

    one, other = encode_by_day(codes, target, day), encode_by_day(codes, changed, day)

    assert np.array_equal(one[day <= 6], other[day <= 6])
    assert not np.array_equal(one[day > 6], other[day > 6])


def test_the_first_day_knows_nothing():
    codes = np.arange(12, dtype=np.float32).reshape(4, 3)

    worth = encode_by_day(codes, np.array([True, False, False, True]), np.zeros(4, np.int64))

    assert np.unique(worth).tolist() == [0.0]
