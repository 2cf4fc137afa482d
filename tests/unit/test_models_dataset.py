"""Who may train, with what target and weight."""

import numpy as np
import pytest

from domain.errors import TrainingRefused
from models.dataset import Dataset, Window, build, calibration_start, targets
from models.label_delay import delay_weights
from models.options import DAY_MS, TrainingOptions
from monitoring.label_delay import DelayCurve
from tests.unit.models_synthetic import history_of

T = 100 * DAY_MS
WINDOW = Window(60 * DAY_MS, T, 7 * DAY_MS)


def row(day: float, *, fraud: bool | None = False, label_day: float | None = None) -> dict[str, object]:
    label_ms = None if label_day is None else round(label_day * DAY_MS)
    return {"event_time_ms": round(day * DAY_MS), "is_fraud": fraud, "label_time_ms": label_ms}


def test_a_row_that_has_not_matured_never_trains_even_if_its_fraud_is_known():
    history = history_of([row(92.999), row(93.0), row(95, fraud=True, label_day=96)])

    assert WINDOW.eligible(history).tolist() == [True, False, False]


def test_a_row_before_the_window_or_without_a_known_truth_never_trains():
    history = history_of([row(59.9), row(60), row(70, fraud=None), row(70, fraud=True, label_day=None)])

    assert WINDOW.eligible(history).tolist() == [False, True, False, False]


def test_a_fraud_reported_at_or_after_the_moment_of_training_counts_as_good():
    history = history_of([row(70, fraud=True, label_day=99.999), row(70, fraud=True, label_day=100), row(70, fraud=False, label_day=80)])

    assert targets(history, T).tolist() == [True, False, False]


def test_later_labels_change_nothing():
    early = [row(70 + i / 10, fraud=i % 3 == 0, label_day=75 if i % 3 == 0 else None) for i in range(60)]
    late = [*early, row(76, fraud=True, label_day=100.5)]
    plain = [*early, row(76)]
    vectors = np.zeros((61, 1), np.float32)

    one, other = (build(history_of(rows), vectors, WINDOW) for rows in (late, plain))

    assert one.target.tolist() == other.target.tolist()
    assert one.weight.tolist() == other.weight.tolist()


def test_the_default_window_ends_where_rows_have_matured():
    history = history_of([row(0), row(50)])

    window = Window.ending(history, from_ms=None, to_ms=None, maturity_days=7, days=28)

    assert window.to_ms == 50 * DAY_MS + 1
    assert window.from_ms == window.to_ms - 35 * DAY_MS


def test_the_delay_curve_corrects_for_frauds_that_are_too_young_to_be_known():
    r = np.random.default_rng(1)
    event = np.sort(r.integers(0, T, 20_000))
    delay = (r.exponential(10, 20_000) * DAY_MS).astype(np.int64)
    curve = DelayCurve.fit(event, event + delay, to_ms=T)
    young = event > T - 15 * DAY_MS
    naive = (delay[young & (event + delay < T)] < 5 * DAY_MS).mean()

    found = curve.share(np.array([5 * DAY_MS, 10 * DAY_MS, 20 * DAY_MS]))

    assert found == pytest.approx(1 - np.exp([-0.5, -1.0, -2.0]), abs=0.02)
    assert naive > 0.5  # what counting the known ones would have said, against 0.39


def test_a_fraud_stands_for_the_ones_not_yet_known_but_for_three_at_most():
    curve = DelayCurve(np.array([DAY_MS, 5 * DAY_MS, 9 * DAY_MS]), np.array([0.1, 0.5, 1.0]), np.zeros(3), 100)

    assert delay_weights(curve, np.array([0, DAY_MS, 5 * DAY_MS, 9 * DAY_MS, 99 * DAY_MS])).tolist() == [3.0, 3.0, 2.0, 1.0, 1.0]


def dataset(frauds_per_day: list[int], n: int = 300) -> Dataset:
    day = np.repeat(np.arange(len(frauds_per_day)), n)
    target = np.concatenate([np.arange(n) < k for k in frauds_per_day])
    return Dataset(np.zeros((len(day), 1), np.float32), target, np.ones(len(day)), day)


def test_the_calibration_slice_is_the_last_quarter_of_the_days():
    assert calibration_start(dataset([20] * 28), TrainingOptions()) == 21


def test_the_calibration_slice_reaches_back_until_it_holds_a_hundred_frauds():
    assert calibration_start(dataset([10] * 28), TrainingOptions()) == 18


def test_too_few_frauds_are_refused_with_the_number_found():
    with pytest.raises(TrainingRefused, match=r"70 in the newer half of the 28 eligible days \(140 in all\), calibration needs 100"):
        calibration_start(dataset([5] * 28), TrainingOptions())


def test_a_smaller_demand_lets_a_demo_train():
    assert calibration_start(dataset([5] * 28), TrainingOptions(min_calibration_frauds=50)) == 18


def test_no_fraud_before_the_slice_is_refused():
    with pytest.raises(TrainingRefused, match="no known fraud before the last 7 days"):
        calibration_start(dataset([0] * 21 + [50] * 7), TrainingOptions())
