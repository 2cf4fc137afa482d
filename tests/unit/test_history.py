"""Laws of reading and writing histories."""

import polars as pl
import pytest

from domain.errors import HistoryError
from features.history import SCHEMA, in_range, normalised, read_history, write_history

CARD_NUMBER = "4111111111111111"


def small(**changes):
    columns = {
        "transaction_id": ["t2", "t1", "t0"],
        "event_time_ms": [20, 20, 10],
        "card_id": ["c1", "c1", "c2"],
        "amount_minor": [100, 200, 300],
        "currency": ["EUR"] * 3,
        "merchant_id": ["m1"] * 3,
    }
    return pl.DataFrame({**columns, **changes})


def test_rows_are_sorted_by_event_time_then_id(tmp_path):
    write_history(small(), tmp_path / "h.parquet")

    assert read_history(tmp_path / "h.parquet")["transaction_id"].to_list() == ["t0", "t1", "t2"]


def test_absent_optional_columns_come_as_nulls_of_the_right_type(tmp_path):
    write_history(small(), tmp_path / "h.parquet")
    history = read_history(tmp_path / "h.parquet")

    assert history.schema == SCHEMA
    assert history["lat"].null_count() == 3


def test_further_columns_are_kept_untouched(tmp_path):
    write_history(small(story=["a", None, "b"]), tmp_path / "h.parquet")

    assert read_history(tmp_path / "h.parquet")["story"].to_list() == ["b", None, "a"]


def test_a_folder_of_files_is_one_history(tmp_path):
    frame = small()
    write_history(frame[:1], tmp_path / "days" / "1.parquet")
    write_history(frame[1:].with_columns(mcc=pl.lit(5411, dtype=pl.Int64)), tmp_path / "days" / "deep" / "2.parquet")
    history = read_history(tmp_path / "days")

    assert history["transaction_id"].to_list() == ["t0", "t1", "t2"]
    assert history["mcc"].to_list() == [5411, 5411, None]


def test_the_same_transaction_in_two_files_is_refused(tmp_path):
    write_history(small(), tmp_path / "days" / "1.parquet")
    write_history(small(), tmp_path / "days" / "2.parquet")

    with pytest.raises(HistoryError, match="transaction_id must be unique; 3 of 6 rows"):
        read_history(tmp_path / "days")


def test_unknown_channels_become_other_and_not_a_number_becomes_null():
    history = normalised(small(channel=["pos", "telepathy", None], lat=[float("nan"), 1.0, None]), "here")

    assert history["channel"].to_list() == [None, "other", "pos"]
    assert history["lat"].to_list() == [None, 1.0, None]


def test_a_missing_required_column_is_named(tmp_path):
    small().drop("currency").write_parquet(tmp_path / "h.parquet")

    with pytest.raises(HistoryError, match="lacks the column currency"):
        read_history(tmp_path / "h.parquet")


def test_a_wrong_type_is_named():
    with pytest.raises(HistoryError, match="column amount_minor must be Int64, found Float64"):
        normalised(small(amount_minor=[1.5, 2.0, 3.0]), "here")


@pytest.mark.parametrize(
    ("column", "values", "rule"),
    [
        ("amount_minor", [1, -1, 3], "amount_minor must be >= 0"),
        ("amount_minor", [1, 1 << 40, 3], "amount_minor must be >= 0"),
        ("event_time_ms", [1, -1, 3], "event_time_ms must be >= 0"),
        ("card_id", ["c", None, "c"], "card_id must be present"),
        ("card_id", ["c", CARD_NUMBER, "c"], "card_id must be an opaque token"),
        ("card_id", ["c", "4111 1111-1111 1111", "c"], "card_id must be an opaque token"),
        ("card_id", ["c", "c" * 65, "c"], "card_id must be 1 to 64 characters"),
        ("merchant_id", ["m", "", "m"], "merchant_id must be 1 to 64 characters"),
        ("currency", ["EUR", "eur", "EUR"], "currency must be an ISO 4217 code"),
        ("country", ["DE", "DEU", None], "country must be an ISO 3166 code"),
        ("mcc", [1, 10_000, 3], "mcc must be >= 0 and < 10000"),
        ("lat", [1.0, 90.5, None], "lat must be"),
        ("lon", [1.0, -180.5, None], "lon must be"),
        ("account_age_days", [1, -1, None], "account_age_days must be >= 0"),
        ("transaction_id", ["a", "b", "a"], "transaction_id must be unique"),
    ],
)
def test_each_rule_is_named_with_its_column(column, values, rule):
    with pytest.raises(HistoryError, match=rule) as error:
        normalised(small(**{column: values}), "here")

    assert CARD_NUMBER not in str(error.value)


@pytest.mark.parametrize(
    ("is_fraud", "label_time_ms", "rule"),
    [
        ([True, None, None], [20, None, None], "later than event_time_ms"),
        ([None, None, None], [30, None, None], "is_fraud must be true or false"),
        ([True, None, None], [None, None, None], "given where is_fraud is true"),
    ],
)
def test_labels_obey_their_rules(is_fraud, label_time_ms, rule):
    labels = {"is_fraud": pl.Series(is_fraud, dtype=pl.Boolean), "label_time_ms": pl.Series(label_time_ms, dtype=pl.Int64)}

    with pytest.raises(HistoryError, match=rule):
        normalised(small(**labels), "here")


def test_good_by_maturity_needs_no_time():
    assert normalised(small(is_fraud=[False, False, None]), "here")["is_fraud"].to_list() == [None, False, False]


def test_what_is_not_parquet_is_refused_in_one_sentence(tmp_path):
    (tmp_path / "h.parquet").write_bytes(b"not parquet at all")

    with pytest.raises(HistoryError, match="cannot be read as Parquet"):
        read_history(tmp_path / "h.parquet")
    with pytest.raises(HistoryError, match="holds no history"):
        read_history(tmp_path / "nowhere")


def test_a_failed_write_leaves_the_old_file(tmp_path):
    write_history(small(), tmp_path / "h.parquet")

    with pytest.raises(HistoryError):
        write_history(small().drop("card_id"), tmp_path / "h.parquet")

    assert read_history(tmp_path / "h.parquet").height == 3
    assert [file.name for file in tmp_path.iterdir()] == ["h.parquet"]


def test_ranges_are_half_open():
    history = normalised(small(), "here")

    assert in_range(history, 10, 20)["transaction_id"].to_list() == ["t0"]
    assert in_range(history, to_ms=10).height == 0
    assert in_range(history).height == 3
