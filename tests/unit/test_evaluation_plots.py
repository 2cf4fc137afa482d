"""The PNG plots of an evaluation: drawn where Matplotlib is, one sentence where it is not."""

from importlib.util import find_spec

import numpy as np
import pytest

from domain.errors import ConfigError
from models.evaluation_curves import curves, threshold_table
from models.evaluation_result import EvaluationResult
from models.fold_metrics import Prices
from models.folds import Plan
from models.judged import Judged
from models.options import DAY_MS
from service.evaluation_plots import write_plots


def result_of(n: int = 3_000) -> EvaluationResult:
    r = np.random.default_rng(0)
    target = r.random(n) < 0.05
    p = 1 / (1 + np.exp(3 - 4 * target - r.normal(0, 1, n)))
    day = np.sort(r.integers(0, 6, n)) + 20_000
    judged = Judged(np.arange(n), target, r.integers(0, 300, n), day, np.zeros(n, np.bool_), r.uniform(1, 90, n))
    both = {"ensemble": p, "baseline_xgboost": np.roll(p, 1)}
    return EvaluationResult(
        plan=Plan(), base_currency="EUR", configurations={}, folds=[], models={}, paired={}, best_member="xgboost", segments=[],
        thresholds=threshold_table(p, judged, Prices()),
        curves=curves(judged, both, {name: found > 0.5 for name, found in both.items()}, rival="baseline_xgboost"),
    )  # fmt: skip


def test_five_pictures_are_drawn_or_the_missing_package_is_named(tmp_path):
    if find_spec("matplotlib") is None:
        with pytest.raises(ConfigError, match=r"plots need Matplotlib .* requirements/plots.txt"):
            write_plots(result_of(), tmp_path)
        return

    written = write_plots(result_of(), tmp_path)

    assert sorted(path.name for path in written) == ["calibration.png", "cost.png", "days.png", "precision_recall.png", "scores.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 10_000 for path in written)


def test_the_curves_hold_every_row_once_and_the_money_of_every_day():
    result = result_of()
    found = result.curves

    assert sum(good + bad for _, good, bad in found.histogram) == 3_000
    assert sum(one.n for one in found.calibration) == 3_000
    assert [one.day_ms for one in found.days] == [day * DAY_MS for day in range(20_000, 20_006)]
    assert all(one.caught <= one.amount for one in found.days)
    recall, precision = zip(*found.precision_recall["ensemble"], strict=True)
    assert recall[0] == 0
    assert recall[-1] == 1
    assert 1 >= max(precision) > min(precision) >= sum(one.n_frauds for one in found.days) / 3_000


def test_the_cheapest_threshold_is_marked_and_costs_add_up():
    rows = result_of().thresholds
    cheapest = min(rows, key=lambda row: row.cost_per_1000)

    assert [row for row in rows if row.is_cheapest] == [cheapest]
    for row in rows:
        assert row.cost_per_1000 == pytest.approx((row.alerts_per_day * 5.0 + row.missed_per_day) * 6 / 3_000 * 1000)
