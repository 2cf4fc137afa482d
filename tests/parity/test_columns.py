"""A history and the same transactions off the wire become the same columns."""

import json
import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.transaction import decode_transaction
from features import layout as at
from features.batch import batch_of, counterparty_hash
from features.columns import columns_of
from features.currency import Rates
from features.history import SCHEMA, normalised

DAY_MS = 86_400_000
DAYS = np.array([19_000, 19_001, 19_500])
RATES = Rates(
    "EUR",
    {"USD": (DAYS, np.array([0.9, 0.95, 1.0 / 3.0])), "JPY": (DAYS[1:], np.array([0.006, 0.007])), "KWD": (DAYS[:1], np.array([3.1]))},
)
IDS = st.text("abéü\U0001f600\u0000 {}", min_size=1, max_size=4)
ROWS = st.fixed_dictionaries(
    {
        "card_id": IDS,
        "merchant_id": IDS,
        "amount_minor": st.integers(0, (1 << 40) - 1) | st.integers(0, 10_000),
        "currency": st.sampled_from(["EUR", "EUR", "USD", "JPY", "KWD", "XXX"]),
        "event_time_ms": st.builds(
            lambda day, in_day: day * DAY_MS + in_day,
            st.sampled_from([18_999, 19_000, 19_001, 19_002, 19_499, 19_500, 19_501]),
            st.sampled_from([0, DAY_MS - 1]) | st.integers(0, DAY_MS - 1),
        ),
    },
    optional={
        "device_id": IDS,
        "ip": IDS,
        "mcc": st.integers(0, 9999),
        "country": st.sampled_from(["AA", "FR", "ZZ"]),
        "channel": st.sampled_from(["pos", "ecom", "atm", "contactless", "moto", "other", "", "POS", "phone", "ünï"]),
        "lat": st.floats(-90, 90),
        "lon": st.floats(-180, 180),
    },
)


def frame_of(rows: list[dict]) -> pl.DataFrame:
    given_rows = [{name: row.get(name) for name in SCHEMA} for row in rows]
    return normalised(pl.DataFrame(given_rows, schema=SCHEMA, orient="row"), "test")


def both(rows: list[dict], rates: Rates = RATES):
    """Return (batch off the wire, columns of the history) of the same rows in the same order."""
    rows = [row | {"transaction_id": f"t{i:04}"} for i, row in enumerate(sorted(rows, key=lambda row: row["event_time_ms"]))]
    sent = [decode_transaction(json.dumps(row).encode()) for row in rows]
    append_ms = np.array([t.time_ms for t in sent], np.int64)
    return batch_of(sent, np.arange(len(sent)), append_ms, rates), columns_of(frame_of(rows), rates)


def assert_same(batch, columns) -> None:
    for name in ("time_ms", "amount", "lat", "lon", "codes"):
        online, offline = getattr(batch, name), getattr(columns.batch, name)
        assert online.dtype == offline.dtype, name
        assert np.array_equal(online, offline), name
    for kind, ids in enumerate(batch.entities):
        found = columns.entities[kind]
        assert [found.ids[code] if code >= 0 else None for code in found.code.tolist()] == ids
        assert len(set(found.ids)) == len(found.ids)
        others = batch.entities[at.MERCHANT if kind == at.CARD else at.CARD]
        assert columns.counterparty[kind].tolist() == [counterparty_hash(other) for other in others]


@given(rows=st.lists(ROWS, min_size=1, max_size=12))
def test_columns_of_a_history_are_those_of_its_transactions(rows):
    assert_same(*both(rows))


@given(rows=st.lists(ROWS, min_size=1, max_size=6))
def test_one_foreign_currency_alone_is_converted_too(rows):
    assert_same(*both([row | {"currency": "USD"} for row in rows]))


@pytest.mark.parametrize("absent", ["device_id", "ip", "mcc", "country", "channel", "lat", "lon"])
def test_a_column_that_nobody_sends_is_missing_everywhere(absent):
    whole = {
        "card_id": "c", "merchant_id": "m", "amount_minor": 1, "currency": "EUR", "event_time_ms": 19_000 * DAY_MS, "device_id": "d",
        "ip": "i", "mcc": 1, "country": "FR", "channel": "pos", "lat": 1.0, "lon": 2.0,
    }  # fmt: skip

    batch, columns = both([{name: value for name, value in whole.items() if name != absent}] * 3)

    assert_same(batch, columns)


def test_an_empty_history_has_empty_columns():
    columns = columns_of(frame_of([]), RATES)

    assert len(columns.batch.time_ms) == 0
    assert columns.batch.codes.shape == (0, 3)
    assert columns.counterparty.shape == (at.N_ENTITIES, 0)


def test_not_a_number_is_no_place():
    rows = [{"transaction_id": "t", "card_id": "c", "merchant_id": "m", "amount_minor": 1, "currency": "EUR", "event_time_ms": 1,
             "lat": math.nan, "lon": 1.0}]  # fmt: skip

    assert columns_of(frame_of(rows), RATES).batch.lon.tolist() == [at.NO_PLACE]
