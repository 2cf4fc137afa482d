import json

import msgspec
import polars as pl

from features.archive_reader import read_archive
from features.archive_schema import SCHEMAS
from features.feature_row import FeatureRow, encode_row
from service.archive_rows import rows_of
from tests.unit.archive_sample import START_MS, add_file, make_archive, record, transaction

CARD = "4111111111111111"


def _rows(topic, *values):
    return rows_of(topic, "uuid", [record(i, value=value) for i, value in enumerate(values)])


def _score(**changes):
    fields = {
        "transaction_id": "t1", "card_id": "c1", "event_time_ms": 5, "scored_at_ms": 6, "probability": 0.5, "decision": "approve",
        "tier": "full", "flags": [], "model": "m@1", "variant": "champion", "policy": "p", "spec": "s", "source": [0, 1],
    }  # fmt: skip
    return json.dumps(fields | changes).encode()


def test_all_fields_of_a_transaction_arrive():
    value = transaction(7, device_id="d", ip="1.2.3.4", mcc=5411, country="DE", channel="pos", lat=1.5, lon=-2.5, account_age_days=3,
                        extra={"a": [1, None]}, unknown=1)  # fmt: skip
    row = _rows("transactions.v1", value).row(0, named=True)

    assert row == {
        "topic_uuid": "uuid", "partition": 0, "offset": 0, "append_ms": START_MS, "transaction_id": "t7", "card_id": "c",
        "amount_minor": 7, "currency": "EUR", "merchant_id": "m", "event_time_ms": 1007, "device_id": "d", "ip": "1.2.3.4", "mcc": 5411,
        "country": "DE", "channel": "pos", "lat": 1.5, "lon": -2.5, "account_age_days": 3, "extra": '{"a": [1, null]}', "undecodable": None,
    }  # fmt: skip


def test_rows_have_the_columns_of_the_schema_whatever_was_decoded():
    for topic, schema in SCHEMAS.items():
        assert _rows(topic).schema == pl.Schema(schema)
        assert _rows(topic, b"\xff", None).schema == pl.Schema(schema)
        assert _rows(topic, b"\xff", None)["undecodable"].to_list() == [b"\xff", b""]


def test_an_undecodable_record_keeps_its_place_among_the_others():
    rows = _rows("transactions.v1", transaction(0), b"[", transaction(2))

    assert rows["offset"].to_list() == [0, 1, 2]
    assert rows["transaction_id"].to_list() == ["t0", None, "t2"]


def test_a_card_number_is_masked():
    rows = _rows("transactions.v1", transaction(0, card_id=CARD), b'{"card_id": ' + CARD.encode())

    assert all(CARD.encode() not in value for value in rows["undecodable"])
    assert all(b"************1111" in value for value in rows["undecodable"])


def test_values_that_fit_no_column_are_kept_as_bytes():
    rows = _rows("scores.v1", _score(), _score(scored_at_ms=1 << 63), _score(transaction_id="t3"))

    assert rows["transaction_id"].to_list() == ["t1", None, "t3"]
    assert json.loads(rows["undecodable"][1])["scored_at_ms"] == 1 << 63


def test_scores_keep_flags_shadow_and_source():
    rows = _rows("scores.v1", _score(), _score(flags=["late", "stale"], shadow={"model": "s@2", "probability": 0.25}, source=[3, 9]))

    assert rows["flags"].to_list() == [[], ["late", "stale"]]
    assert rows["shadow"].to_list() == [None, {"model": "s@2", "probability": 0.25}]
    assert rows.select("source_partition", "source_offset").rows() == [(0, 1), (3, 9)]


def test_a_feature_row_keeps_every_bit_of_its_vector():
    vector = bytes(range(8))
    rows = _rows(
        "features.v1",
        encode_row(FeatureRow("t1", 0, 3, 1, 7, 5, "0123456789abcdef", (3, 4, -1, -1), vector)),
        encode_row(FeatureRow("t2", 1, 0, 1, 8, 5, "0123456789abcdef", (3, 4, -1, -1), b"")),
    )

    assert rows["vector"].to_list() == [vector, None]
    assert rows["kind"].to_list() == ["transaction", "fraud"]
    assert rows["positions"].to_list() == [[3, 4, -1, -1]] * 2
    assert rows["flags"].to_list() == [["late", "stale"], []]


def test_repeated_answers_are_dropped_and_restated_ones_are_kept(tmp_path):
    archive = make_archive(tmp_path / "a")
    values = [
        _score(probability=0.1),
        _score(probability=0.1, scored_at_ms=7),
        _score(probability=0.2, flags=["restated"]),
        _score(probability=0.3, source=[0, 2]),
        b"?",
        b"?",
    ]
    add_file(archive, "scores.v1", [record(i, value=value) for i, value in enumerate(values)])

    assert read_archive(archive, "scores.v1")["probability"].to_list() == [0.1, 0.2, 0.3, None, None]
    assert read_archive(archive, "scores.v1", ["scored_at_ms"])["scored_at_ms"].to_list() == [6, 6, 6, None, None]


def test_raw_extra_is_untouched():
    value = msgspec.json.encode(json.loads(transaction(0)) | {"extra": msgspec.Raw(b'{"z" :  1e2}')})

    assert _rows("transactions.v1", value)["extra"].to_list() == ['{"z" :  1e2}']
