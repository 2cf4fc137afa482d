"""The checks for leaks find one where there is one, and none where there is none."""

import numpy as np
import polars as pl
import pytest

from features.currency import Rates
from features.history import SCHEMA, normalised
from features.offline import replay
from features.spec import COLUMN, FeatureSettings
from models.leakage import LeakageReport, changed_by_future, permuted_labels, suspicious_features, with_another_future
from models.options import DAY_MS
from simulate.generate import generate
from tests.unit.models_synthetic import frauds_of, vectors_of

SETTINGS, RATES = FeatureSettings(), Rates("EUR")


@pytest.fixture(scope="module")
def history() -> pl.DataFrame:
    return normalised(generate(n_days=20, n_cards=400, seed=3, fraud_share=0.03), "simulated")


def test_another_future_changes_no_vector_before_it_and_those_after_it(history):
    cut_ms = int(history["event_time_ms"][6_000])

    compared, changed = changed_by_future(history, SETTINGS, RATES, cut_ms=cut_ms, seed=1)

    assert compared >= 6_000
    assert changed == 0
    plain = history.select(*SCHEMA)
    other = with_another_future(plain, 6_000, cut_ms, 1)
    first, second = (replay(one, SETTINGS, RATES).view(np.int32) for one in (plain, other))
    assert (first[6_001:] != second[6_001:]).any()


def test_permuted_labels_stay_on_their_day_and_keep_their_delay(history):
    other = permuted_labels(history, seed=4)
    day = pl.col("event_time_ms") // DAY_MS

    def frauds(frame: pl.DataFrame) -> pl.DataFrame:
        reported = frame.filter(pl.col("is_fraud")).select(day=day, delay=pl.col("label_time_ms") - pl.col("event_time_ms"))
        return reported.sort("day", "delay")

    assert frauds(other).equals(frauds(history))
    both = other["is_fraud"] & history["is_fraud"]
    assert both.sum() < 0.2 * history["is_fraud"].sum()
    assert "story" not in other.columns
    normalised(other, "permuted")  # still a history


def test_a_column_filled_in_after_the_fact_is_suspicious_and_no_other_is():
    x = vectors_of(2_000)
    target = frauds_of(x)
    x[:, COLUMN["card_since_fraud"]] = np.where(target, np.nan, x[:, COLUMN["card_since_fraud"]])
    x[:, COLUMN["card_last_amount"]] = np.where(target, 1e6, 1.0)

    found = suspicious_features(x, target)

    assert [name for name, _ in found] == ["card_last_amount"]
    assert found[0][1] == 1.0


def test_what_failed_is_said_in_words():
    report = LeakageReport(n_vectors_compared=9, n_changed_by_future=2, permuted_average_precision=0.04, permuted_prevalence=0.01)

    assert [text.split(" ", 1)[0] for text in report.failures] == ["2", "with"]
    assert not LeakageReport(
        n_vectors_compared=9, n_changed_by_future=0, permuted_average_precision=0.03, permuted_prevalence=0.01
    ).failures
