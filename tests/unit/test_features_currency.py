"""Amounts in the base currency."""

import math
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import ConfigError
from features.currency import Rates, exponent, to_base

EPOCH = date(1970, 1, 1)
LARGEST = (1 << 32) - 1


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def written(folder: Path, *lines: str, header: str = "date,currency,rate") -> Path:
    path = folder / "rates.csv"
    path.write_text("\n".join([header, *lines]) + "\n", "utf-8")
    return path


def test_a_rate_holds_from_its_day_on_until_the_next_and_there_is_none_before_the_first(tmp_path):
    rates = Rates.load(written(tmp_path, "2026-01-10,USD,0.9", "2026-01-05,USD,0.8"), "EUR")

    found = [
        rates.factor("USD", ms(t)) for t in ("2026-01-04T23:59:59.999", "2026-01-05", "2026-01-09T23:59:59.999", "2026-01-10", "2040-01-01")
    ]

    assert math.isnan(found[0])
    assert found[1:] == [0.8, 0.8, 0.9, 0.9]


def test_the_base_currency_is_worth_itself_and_an_unknown_one_nothing_known():
    rates = Rates("EUR")

    assert rates.factor("EUR", 0) == 1.0
    assert math.isnan(rates.factor("USD", 0))


@pytest.mark.parametrize(
    ("currency", "base", "amount_minor", "rate", "expected"),
    [
        ("USD", "EUR", 1000, 0.9, 900),  # 10.00 USD
        ("JPY", "EUR", 1000, 0.006, 600),  # 1000 JPY = 6.00 EUR
        ("KWD", "EUR", 1000, 3.0, 300),  # 1.000 KWD = 3.00 EUR
        ("EUR", "JPY", 1000, 160.0, 1600),  # 10.00 EUR = 1600 JPY
        ("JPY", "KWD", 1000, 0.002, 2000),  # 1000 JPY = 2.000 KWD
    ],
)
def test_minor_units_of_currencies_with_0_2_and_3_places_are_told_apart(tmp_path, currency, base, amount_minor, rate, expected):
    rates = Rates.load(written(tmp_path, f"2026-01-01,{currency},{rate}"), base)

    factor = rates.factor(currency, ms("2026-01-01"))

    assert to_base(np.array([amount_minor]), np.array([factor]), LARGEST).tolist() == [expected]
    assert rates.major == 10 ** exponent(base)


@given(
    entries=st.dictionaries(st.integers(0, 40_000), st.floats(1e-6, 1e6), min_size=1, max_size=20),
    days=st.lists(st.integers(0, 40_001), min_size=1, max_size=20),
)
def test_the_rate_of_a_day_is_that_of_the_newest_entry_not_after_it(tmp_path_factory, entries, days):
    lines = [f"{EPOCH + timedelta(days=day)},USD,{rate!r}" for day, rate in entries.items()]
    rates = Rates.load(written(tmp_path_factory.mktemp("rates"), *lines), "EUR")
    for day in days:
        earlier = [d for d in entries if d <= day]
        expected = entries[max(earlier)] if earlier else math.nan
        for time_ms in (day * 86_400_000, (day + 1) * 86_400_000 - 1):
            assert np.array_equal(rates.factor("USD", time_ms), expected, equal_nan=True)


@given(amounts=st.lists(st.tuples(st.integers(0, (1 << 40) - 1), st.floats(1e-9, 1e200) | st.just(math.nan)), max_size=20))
def test_amounts_are_rounded_capped_and_unknown_without_a_rate(amounts):
    found = to_base(np.array([a for a, _ in amounts], np.int64), np.array([f for _, f in amounts], np.float64), LARGEST)

    for (amount, factor), value in zip(amounts, found.tolist(), strict=True):
        assert value == (-1 if math.isnan(factor) else min(LARGEST, round(min(amount * factor, 1e15))))


@pytest.mark.parametrize(
    "line",
    ["2026-13-01,USD,1", "2026-01-02,USD", "2026-01-02", "2026-01-02,USD,much", "2026-01-02,usd,1", "2026-01-02,DOLLAR,1",
     "2026-01-02,USD,0", "2026-01-02,USD,-1", "2026-01-02,USD,nan", "2026-01-02,USD,inf", ",,"],
)  # fmt: skip
def test_a_wrong_line_is_named_with_its_number_and_rule(tmp_path, line):
    path = written(tmp_path, "2026-01-01,USD,0.9", line)

    with pytest.raises(ConfigError) as caught:
        Rates.load(path, "EUR")

    assert f"{path} line 3" in str(caught.value)
    assert "date,currency,rate" in str(caught.value) or "ISO 4217" in str(caught.value)


def test_a_file_without_the_header_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="header of these names"):
        Rates.load(written(tmp_path, "2026-01-01,USD,0.9", header="day;currency;rate"), "EUR")


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"missing\.csv"):
        Rates.load(tmp_path / "missing.csv", "EUR")
    (tmp_path / "binary.csv").write_bytes(b"date,currency,rate\n\xff\xfe,USD,1\n")
    with pytest.raises(ConfigError, match=r"binary\.csv is not a CSV file in UTF-8"):
        Rates.load(tmp_path / "binary.csv", "EUR")


def test_the_digest_changes_with_any_rate_and_not_with_the_order_of_lines(tmp_path):
    lines = ("2026-01-01,USD,0.9", "2026-01-02,USD,0.91", "2026-01-01,JPY,0.006")

    def digest(*chosen: str, base: str = "EUR") -> str:
        return Rates.load(written(tmp_path, *chosen), base).digest()

    others = [digest(*lines[:place], changed, *lines[place + 1 :]) for place, changed in enumerate(
        ("2026-01-01,USD,0.9000000001", "2026-01-03,USD,0.91", "2026-01-01,KRW,0.006"))]  # fmt: skip
    found = [digest(*lines), *others, digest(*lines[:2]), digest(*lines, base="CHF"), Rates("EUR").digest(), Rates("CHF").digest()]

    assert len(set(found)) == len(found)
    assert digest(*reversed(lines)) == digest(*lines)
