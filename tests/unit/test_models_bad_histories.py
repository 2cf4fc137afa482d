"""A history that cannot carry a model is refused in one sentence that says what is missing, before any long work."""

from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from domain.errors import HistoryError, TrainingRefused
from service.cli import weir
from simulate.generate import generate

KEY = pl.col("transaction_id")
NO_LABEL = {"is_fraud": pl.lit(None, pl.Boolean), "label_time_ms": pl.lit(None, pl.Int64)}


@pytest.fixture(scope="module")
def history() -> pl.DataFrame:
    return generate(n_days=50, n_cards=60, seed=5, per_day=1.5, fraud_share=0.03)


def refused(history: pl.DataFrame, place: Path) -> str:
    """Train on it as a user does; return the sentence."""
    history.write_parquet(place / "history.parquet")
    environment = {"WEIR_MODEL_REGISTRY": str(place / "registry"), "WEIR_MODEL_SIGNING_KEY": "k"}
    found = CliRunner().invoke(weir, ["train", str(place / "history.parquet"), "--min-frauds", "10"], env=environment)
    assert isinstance(found.exception, TrainingRefused | HistoryError), found.output + repr(found.exception)
    assert not (place / "registry" / "bundles").exists() or not any((place / "registry" / "bundles").iterdir())
    return str(found.exception)


def test_a_history_of_good_transactions_only_is_refused(history: pl.DataFrame, tmp_path: Path):
    good = history.with_columns(is_fraud=pl.lit(value=False), label_time_ms=pl.lit(None, pl.Int64))

    assert refused(good, tmp_path).startswith("too few known frauds: 0 in the newer half")


def test_a_history_of_frauds_only_is_refused(history: pl.DataFrame, tmp_path: Path):
    frauds = history.with_columns(is_fraud=pl.lit(value=True), label_time_ms=pl.col("event_time_ms") + 1_000)

    assert "are known frauds: there is nothing to tell them from" in refused(frauds, tmp_path)


def test_a_history_without_labels_is_refused(history: pl.DataFrame, tmp_path: Path):
    assert "has a label: is_fraud is empty" in refused(history.with_columns(**NO_LABEL), tmp_path)


def test_a_history_without_the_columns_of_labels_is_refused(history: pl.DataFrame, tmp_path: Path):
    assert "has a label: is_fraud is empty" in refused(history.drop("is_fraud", "label_time_ms"), tmp_path)


def test_three_transactions_are_refused(history: pl.DataFrame, tmp_path: Path):
    assert "of the 3 transactions before the moment of training none" in refused(history.head(3), tmp_path)


def test_no_transactions_are_refused(history: pl.DataFrame, tmp_path: Path):
    assert "holds no transactions" in refused(history.head(0), tmp_path)


def test_an_id_that_comes_twice_is_refused_by_row(history: pl.DataFrame, tmp_path: Path):
    assert "transaction_id must be unique; 2 of" in refused(pl.concat([history, history.head(2)]), tmp_path)


@pytest.mark.parametrize("column", ["card_id", "merchant_id", "event_time_ms", "amount_minor", "currency"])
def test_a_missing_value_in_a_required_column_is_refused_by_column(history: pl.DataFrame, tmp_path: Path, column: str):
    holed = history.with_columns(pl.when(history["transaction_id"][7] == KEY).then(None).otherwise(pl.col(column)).alias(column))

    assert f"{column} must be present in every row; 1 of" in refused(holed, tmp_path)


def test_labels_from_the_future_train_nothing_and_the_refusal_counts_them(history: pl.DataFrame, tmp_path: Path):
    late = int(history["event_time_ms"].max()) + 10**9
    future = history.with_columns(label_time_ms=pl.when(pl.col("is_fraud")).then(late).otherwise(pl.col("label_time_ms")))

    found = refused(future, tmp_path)

    assert found.startswith("too few known frauds: 0")
    assert "frauds became known only at or after the moment of training and count as good: give a later --to" in found


def test_a_label_from_before_its_transaction_is_refused(history: pl.DataFrame, tmp_path: Path):
    early = history.with_columns(label_time_ms=pl.when(pl.col("is_fraud")).then(pl.col("event_time_ms") - 1).otherwise(None))

    assert "label_time_ms must be later than event_time_ms" in refused(early, tmp_path)


def test_the_order_of_the_rows_does_not_matter(history: pl.DataFrame, tmp_path: Path):
    from features.history import read_history

    for place, frame in (("sorted", history), ("shuffled", history.sample(fraction=1.0, shuffle=True, seed=3))):
        (tmp_path / place).mkdir()
        frame.write_parquet(tmp_path / place / "history.parquet")

    assert read_history(tmp_path / "sorted").equals(read_history(tmp_path / "shuffled"))
