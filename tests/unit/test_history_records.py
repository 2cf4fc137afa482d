import math

import polars as pl

from domain.label import decode_label
from domain.transaction import decode_transaction
from features.history import normalised
from service.history_records import HistoryRecords


def _history(n=6, **columns):
    return normalised(
        pl.DataFrame(
            {
                "transaction_id": [f"t{i}" for i in range(n)],
                "event_time_ms": [1000 * i for i in range(n)],
                "card_id": [f"c{i % 2}" for i in range(n)],
                "amount_minor": [100 + i for i in range(n)],
                "currency": ["EUR"] * n,
                "merchant_id": ['m "1"\n\u2028ü'] * n,
                **columns,
            }
        ),
        "test",
    )


def test_a_history_row_arrives_as_the_same_transaction():
    lat = [0.1 + 0.2, None, -90.0, 1e-9, 51.0, math.pi]
    records = HistoryRecords(_history(lat=lat, device_id=["d", None, None, None, None, None]))

    keys, values = records.transactions(0, 6)
    found = [decode_transaction(value) for value in values]

    assert keys == [b"c0", b"c1"] * 3
    assert [transaction.lat for transaction in found] == lat
    assert [transaction.device_id for transaction in found] == ["d"] + [None] * 5
    assert {transaction.merchant_id for transaction in found} == {'m "1"\n\u2028ü'}
    assert [transaction.time_ms for transaction in found] == [0, 1000, 2000, 3000, 4000, 5000]


def test_labels_and_answers_never_travel_with_the_transaction():
    records = HistoryRecords(_history(is_fraud=[True] * 6, label_time_ms=[9000] * 6, story=["card_testing"] * 6))

    assert not any(b"fraud" in value or b"label" in value or b"story" in value for value in records.transactions(0, 6)[1])


def test_only_fraud_labels_go_out_and_each_side_has_its_own_half_open_times():
    history = _history(is_fraud=[True, True, False, None, True, False], label_time_ms=[2000, 3000, 4000, None, 6000, None])

    records = HistoryRecords(history, from_ms=2000, to_ms=6000)
    keys, values = records.labels(0, len(records.label_times_ms))

    assert records.event_times_ms.tolist() == [2000, 3000, 4000, 5000]
    assert keys == [b"t0", b"t1"]
    assert [decode_label(value).label_time_ms for value in values] == [2000, 3000]


def test_the_source_of_a_label_is_kept_where_the_history_knows_it():
    frauds = {"is_fraud": [True] * 6, "label_time_ms": [9000] * 6}
    sources = ["analyst", None, "customer", "?", "rule", "chargeback"]

    found = [decode_label(value).source for value in HistoryRecords(_history(**frauds, label_source=sources)).labels(0, 6)[1]]
    default = [decode_label(value).source for value in HistoryRecords(_history(**frauds)).labels(0, 6)[1]]

    assert found == ["analyst", "chargeback", "customer", "chargeback", "rule", "chargeback"]
    assert default == ["chargeback"] * 6


def test_an_empty_range_gives_no_records():
    records = HistoryRecords(_history(), from_ms=10_000)

    assert len(records.event_times_ms) == len(records.label_times_ms) == 0
    assert records.transactions(0, 0) == records.labels(0, 0) == ([], [])
