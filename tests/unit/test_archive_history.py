import json

import pytest

from domain.decision import FLAG_BITS, Flag
from domain.errors import HistoryError
from features.archive_history import archive_history
from features.archive_reader import read_archive
from features.feature_row import FeatureRow, encode_row
from features.history import SCHEMA, normalised
from tests.unit.archive_sample import HOUR_MS, START_MS, add_file, make_archive, record, transaction

DAY_MS = 24 * HOUR_MS
DUPLICATE = FLAG_BITS[Flag.DUPLICATE]


@pytest.fixture
def archive(tmp_path):
    return make_archive(tmp_path / "archive")


def _add(archive, topic, values, append_ms=START_MS, partition=0, **options):
    add_file(archive, topic, [record(i, append_ms + i, value, partition) for i, value in enumerate(values)], **options)


def _label(i, *, is_fraud=True, time_ms=5 * DAY_MS, source="chargeback"):
    fields = {"transaction_id": f"t{i}", "is_fraud": is_fraud, "label_time_ms": time_ms, "source": source}
    return json.dumps(fields).encode()


def _labels(history):
    return {row["transaction_id"]: (row["is_fraud"], row["label_time_ms"]) for row in history.iter_rows(named=True)}


def test_an_archive_is_a_normalised_history(archive):
    _add(archive, "transactions.v1", [transaction(i, mcc=1, extra={"a": 1}) for i in (2, 0, 1)] + [b"broken"])
    history = archive_history(archive)

    assert history.columns[: len(SCHEMA)] == list(SCHEMA)
    assert history["transaction_id"].to_list() == ["t0", "t1", "t2"]
    assert normalised(history, "test").equals(history)
    assert history.select("partition", "offset", "append_ms").row(0) == (0, 1, START_MS + 1)


def test_an_empty_archive_is_an_empty_history(archive):
    assert archive_history(archive).is_empty()


def test_the_last_label_by_label_time_then_offset_counts(archive):
    _add(archive, "transactions.v1", [transaction(i) for i in range(4)])
    _add(archive, "labels.v1", [
        _label(0, time_ms=9), _label(0, is_fraud=False, time_ms=5000, source="analyst"), _label(0, time_ms=4000),
        _label(1, is_fraud=False, time_ms=7000), _label(1, time_ms=7000),
        _label(2, time_ms=1000),
        _label(99), b"broken",
    ])  # fmt: skip
    history = archive_history(archive, maturity_days=0)

    assert _labels(history) == {"t0": (False, 5000), "t1": (True, 7000), "t2": (False, None), "t3": (False, None)}
    assert history["label_source"].to_list() == ["analyst", "chargeback", None, None]
    assert history["label_offset"].to_list() == [1, 4, None, None]


def test_without_a_label_a_transaction_is_good_when_it_has_matured_and_unknown_before(archive):
    _add(archive, "transactions.v1", [transaction(i, event_time_ms=i * DAY_MS) for i in range(10)])

    assert archive_history(archive)["is_fraud"].to_list() == [False] * 3 + [None] * 7
    assert archive_history(archive, maturity_days=2)["is_fraud"].to_list() == [False] * 8 + [None] * 2


def test_of_duplicates_the_first_by_append_time_counts(archive):
    _add(archive, "transactions.v1", [transaction(0, amount_minor=2)], append_ms=START_MS + 60_000)
    _add(archive, "transactions.v1", [transaction(0, amount_minor=1)], partition=1)

    assert archive_history(archive)["amount_minor"].to_list() == [1]


def test_of_duplicates_the_one_that_serving_applied_counts(archive):
    _add(archive, "transactions.v1", [transaction(0, amount_minor=2)], append_ms=START_MS + 60_000)
    _add(archive, "transactions.v1", [transaction(0, amount_minor=1)], partition=1)
    rows = [FeatureRow("t0", 0, flags, partition, 0, 1000, "0" * 16, (0,) * 4, b"") for partition, flags in ((0, 0), (1, DUPLICATE))]
    _add(archive, "features.v1", [encode_row(row) for row in rows])

    assert archive_history(archive)["amount_minor"].to_list() == [2]


def test_an_event_in_the_future_gets_its_append_time(archive):
    ahead = START_MS + 5 * 60_000
    _add(archive, "transactions.v1", [transaction(0, event_time_ms=ahead), transaction(1, event_time_ms=ahead + 2)])

    assert sorted(archive_history(archive)["event_time_ms"]) == [START_MS + 1, ahead]


def test_a_folder_that_is_no_archive_is_refused(tmp_path):
    with pytest.raises(HistoryError, match="not an archive"):
        archive_history(tmp_path)


def test_an_unknown_topic_is_refused(archive):
    with pytest.raises(HistoryError, match=r"topic must be one of transactions\.v1"):
        read_archive(archive, "control.v1")
