"""Laws of importing foreign files: every row is kept or counted, card numbers never get through."""

import gzip
import json
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import HistoryError
from features.foreign_table import read_foreign
from features.history import normalised, read_history
from features.importing import import_table
from features.mapping import load_mapping
from service.cli import weir

CARD_NUMBER = "4111111111111111"
MAPPING = """
[columns]
transaction_id = "TRANSACTION_ID"
event_time = "TX_DATETIME"
card_id = "CUSTOMER_ID"
merchant_id = "TERMINAL_ID"
is_fraud = "TX_FRAUD"
mcc = "CATEGORY"
[constants]
currency = "EUR"
[amount]
column = "TX_AMOUNT"
unit = "major"
[prefix]
card_id = "c"
merchant_id = "m"
[values.mcc]
grocery_pos = 5411
[time]
zone = "UTC"
[label]
delay_days = 7
"""
HEADER = "TRANSACTION_ID,TX_DATETIME,CUSTOMER_ID,TERMINAL_ID,TX_FRAUD,CATEGORY,TX_AMOUNT"
GOOD = "1,2019-01-01 00:02:06,17,3,0,grocery_pos,19.99"


def mapped(tmp_path, text=MAPPING):
    path = tmp_path / "mapping.toml"
    path.write_text(text)
    return load_mapping(path)


def imported(tmp_path, lines, text=MAPPING, header=HEADER):
    mapping = mapped(tmp_path, text)
    path = tmp_path / "foreign.csv"
    path.write_bytes("\n".join([header, *lines]).encode() if all(isinstance(line, str) for line in lines) else lines)
    return import_table(read_foreign(path, mapping.foreign_columns()), mapping)


def test_the_sample_of_the_contract_is_read(tmp_path):
    found = imported(tmp_path, [GOOD, "2,2019-01-01 01:00:00,17,4,1,5999,5"])

    assert found.rejected.is_empty()
    assert normalised(found.history, "import").equals(found.history)
    first, second = found.history.to_dicts()
    assert first["transaction_id"] == "1"
    assert (first["card_id"], first["merchant_id"]) == ("c17", "m3")
    assert first["event_time_ms"] == round(datetime(2019, 1, 1, 0, 2, 6, tzinfo=UTC).timestamp()) * 1000
    assert (first["amount_minor"], first["currency"], first["mcc"]) == (1999, "EUR", 5411)
    assert (first["is_fraud"], first["label_time_ms"]) == (False, None)
    assert (second["amount_minor"], second["mcc"], second["is_fraud"]) == (500, 5999, True)
    assert second["label_time_ms"] - second["event_time_ms"] == 7 * 86_400_000


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("2,yesterday,17,3,0,5411,1", "event_time cannot be read as a date-time"),
        (",2019-01-01 00:00:00,17,3,0,5411,1", "transaction_id must be present"),
        ("1,2019-01-01 00:00:00,17,3,0,5411,1", "transaction_id must be unique"),
        ("2,2019-01-01 00:00:00,17,3,maybe,5411,1", "is_fraud cannot be read as true or false"),
        ("2,2019-01-01 00:00:00,17,3,0,casino,1", "mcc cannot be read as a whole number"),
        ("2,2019-01-01 00:00:00,17,3,0,10000,1", "mcc must be"),
        ("2,2019-01-01 00:00:00,17,3,0,5411,-1", "amount_minor must be"),
        ("2,2019-01-01 00:00:00,17,3,0,5411,1e300", "amount_minor must be"),
        ("2,2019-01-01 00:00:00,17,3,0,5411,nan", "amount_minor cannot be read as a number"),
        ("2,2019-01-01 00:00:00,17,3,0,5411,a lot", "amount_minor cannot be read as a number"),
        ("2,2019-01-01 00:00:00,17,3,0,5411,", "amount_minor must be present"),
        ("2,2019-01-01 00:00:00", "card_id must be present"),
        (f"2,2019-01-01 00:00:00,{'9' * 65},3,0,5411,1", "card_id must be 1 to 64 characters"),
        (f"2,2019-01-01 00:00:00,{CARD_NUMBER},3,0,5411,1", "card_id must be an opaque token"),
        ("2,2019-01-01 00:00:00,4111 1111 1111 1111,3,0,5411,1", "card_id must be an opaque token"),
        ("2,2019-01-01 00:00:00,17,3,0,5411,1,surplus", "the line has more values than the header"),
    ],
)
def test_a_row_that_cannot_be_read_is_set_aside_with_its_reason(tmp_path, line, reason):
    found = imported(tmp_path, [GOOD, line])

    assert found.history["transaction_id"].to_list() == ["1"]
    assert found.rejected["source_row"].to_list() == [1]
    assert found.rejected["reason"][0].startswith(reason)
    assert list(found.reasons().values()) == [1]


def test_card_numbers_are_masked_in_the_rows_set_aside(tmp_path):
    lines = [f"1,2019-01-01 00:00:00,{CARD_NUMBER},3,0,5411,1", f"2,2019-01-01 00:00:00,17,3,0,5411,1,{CARD_NUMBER}"]
    rejected = imported(tmp_path, lines).rejected.write_csv()

    assert CARD_NUMBER not in rejected
    assert rejected.count("************1111") == 2


def test_card_numbers_stored_as_numbers_are_recognised(tmp_path):
    columns = dict(zip(HEADER.split(","), GOOD.split(","), strict=True))
    path = tmp_path / "foreign.parquet"
    for value in (int(CARD_NUMBER), float(CARD_NUMBER)):
        pl.DataFrame([{**columns, "CUSTOMER_ID": value}]).write_parquet(path)
        mapping = mapped(tmp_path)
        found = import_table(read_foreign(path, mapping.foreign_columns()), mapping)

        assert found.history.is_empty()
        assert CARD_NUMBER not in found.rejected.write_csv()


def test_bytes_that_are_not_utf8_cost_only_their_row(tmp_path):
    path = tmp_path / "foreign.csv"
    path.write_bytes(f"{HEADER}\n{GOOD}\n".encode() + b"2,2019-01-01 00:00:00,\xff\xfe,3,0,5411,1\n")
    mapping = mapped(tmp_path)
    found = import_table(read_foreign(path, mapping.foreign_columns()), mapping)

    assert found.history.height == 1
    assert found.reasons() == {"the line is not UTF-8": 1}


@pytest.mark.parametrize(("currency", "amount", "minor"), [("EUR", "0.29", 29), ("JPY", "1500", 1500), ("KWD", "1.234", 1234)])
def test_major_units_follow_the_currency(tmp_path, currency, amount, minor):
    line = f"1,2019-01-01 00:02:06,17,3,0,5411,{amount}"

    assert imported(tmp_path, [line], MAPPING.replace("EUR", currency)).history["amount_minor"].to_list() == [minor]


def test_minor_units_are_taken_as_they_are(tmp_path):
    text = MAPPING.replace('unit = "major"', 'unit = "minor"')

    assert imported(tmp_path, ["1,2019-01-01,17,3,0,5411,1999"], text).history["amount_minor"].to_list() == [1999]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2019-07-01T12:00:00+02:00", datetime(2019, 7, 1, 10, tzinfo=UTC)),
        ("2019-07-01T12:00:00.250Z", datetime(2019, 7, 1, 12, 0, 0, 250_000, tzinfo=UTC)),
        ("2019-07-01 12:00:00", datetime(2019, 7, 1, 10, tzinfo=UTC)),
        ("2019-07-01T12:00", datetime(2019, 7, 1, 10, tzinfo=UTC)),
        ("2019-07-01", datetime(2019, 6, 30, 22, tzinfo=UTC)),
        ("2019-10-27 02:30:00", datetime(2019, 10, 27, 0, 30, tzinfo=UTC)),
    ],
)
def test_times_are_read_with_their_offset_or_in_the_zone(tmp_path, text, expected):
    found = imported(tmp_path, [f"1,{text},17,3,0,5411,1"], MAPPING.replace('"UTC"', '"Europe/Berlin"'))

    assert found.history["event_time_ms"].to_list() == [round(expected.timestamp() * 1000)]


def test_an_hour_that_the_zone_skips_is_rejected(tmp_path):
    found = imported(tmp_path, ["1,2019-03-31 02:30:00,17,3,0,5411,1"], MAPPING.replace('"UTC"', '"Europe/Berlin"'))

    assert found.history.is_empty()


def test_other_date_formats_are_read_by_their_pattern(tmp_path):
    text = MAPPING.replace('zone = "UTC"', 'format = "%d/%m/%Y %H:%M"')

    found = imported(tmp_path, ["1,02/01/2019 00:00,17,3,0,5411,1", "2,2019-01-02,17,3,0,5411,1"], text)
    assert found.history["event_time_ms"].to_list() == [1_546_387_200_000]
    assert found.rejected.height == 1


def test_a_label_time_column_is_used_when_there_is_one(tmp_path):
    text = MAPPING.replace("[constants]", 'label_time = "KNOWN"\n[constants]').replace("[label]\ndelay_days = 7", "")
    lines = [GOOD + ",", "2,2019-01-01,17,3,1,5411,1,2019-01-05", "3,2019-01-01,17,3,1,5411,1,", "4,2019-01-03,17,3,1,5411,1,2019-01-02"]
    found = imported(tmp_path, lines, text, HEADER + ",KNOWN")

    assert found.history["transaction_id"].to_list() == ["2", "1"]
    assert found.history["label_time_ms"].to_list() == [1_546_646_400_000, None]
    assert len(found.reasons()) == 2


def test_parquet_types_are_understood(tmp_path):
    path = tmp_path / "foreign.parquet"
    times = [datetime(2019, 1, 1, 17, tzinfo=UTC), datetime(2019, 1, 2, 17, tzinfo=UTC)]
    frame = pl.DataFrame(
        {
            "TRANSACTION_ID": [1.0, 2.0],
            "TX_DATETIME": pl.Series(times).dt.convert_time_zone("America/New_York"),
            "CUSTOMER_ID": [1, 2],
            "TERMINAL_ID": ["x", "y"],
            "TX_FRAUD": [True, None],
            "CATEGORY": pl.Series(["grocery_pos", None], dtype=pl.Categorical()),
            "TX_AMOUNT": [1.5, 2.5],
        }
    )
    frame.write_parquet(path)
    mapping = mapped(tmp_path)
    found = import_table(read_foreign(path, mapping.foreign_columns()), mapping)

    assert found.rejected.is_empty()
    assert found.history["transaction_id"].to_list() == ["1", "2"]
    assert found.history["event_time_ms"][0] == round(times[0].timestamp() * 1000)
    assert found.history["mcc"].to_list() == [5411, None]
    assert found.history["is_fraud"].to_list() == [True, None]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_separators_and_compression_are_recognised(tmp_path, separator):
    path = tmp_path / "foreign.csv.gz"
    path.write_bytes(gzip.compress(f"\ufeff{HEADER}\n{GOOD}\n".replace(",", separator).encode()))
    mapping = mapped(tmp_path)

    assert import_table(read_foreign(path, mapping.foreign_columns()), mapping).history.height == 1


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('card_id = "CUSTOMER_ID"', 'card = "CUSTOMER_ID"', r"\[columns\] knows no card"),
        ("[prefix]", "[prefixes]", "prefixes"),
        ('unit = "major"', 'unit = "cents"', "cents"),
        ('unit = "major"', 'units = "major"', "units"),
        ('card_id = "CUSTOMER_ID"', "", "nothing says where card_id comes from"),
        ('currency = "EUR"', "", "nothing says where currency comes from"),
        ("[values.mcc]", "[values.country]", r"\[values\] knows no country"),
        ('currency = "EUR"', 'currency = "EUR"\nmcc = 1', "mcc is in"),
        ('zone = "UTC"', 'zone = "Mars/Base"', "Mars/Base"),
        ("[label]\ndelay_days = 7", "", "is_fraud needs a time"),
        ("delay_days = 7", "delay_days = -7", "delay_days"),
        ('merchant_id = "m"', 'mcc = "m"', r"\[prefix\] knows no mcc"),
        ("[columns]", "[columns", "not TOML"),
    ],
)
def test_a_wrong_mapping_is_an_error_that_names_the_place(tmp_path, old, new, problem):
    assert old in MAPPING

    with pytest.raises(HistoryError, match=problem):
        mapped(tmp_path, MAPPING.replace(old, new))


def test_a_column_that_the_file_lacks_is_named(tmp_path):
    with pytest.raises(HistoryError, match="no column CATEGORY; it has"):
        imported(tmp_path, [GOOD], header=HEADER.replace("CATEGORY", "KIND"))


def test_a_constant_of_the_wrong_type_is_named(tmp_path):
    with pytest.raises(HistoryError, match=r"\[constants\] lat cannot be read as a number"):
        imported(tmp_path, [GOOD], MAPPING.replace('currency = "EUR"', 'currency = "EUR"\nlat = "north"'))


VALUES = st.text(st.characters(codec="utf-8", exclude_characters='\n\r"', exclude_categories=("Cc",)), max_size=12)


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(st.lists(VALUES | st.sampled_from(["1", "2019-01-01", "0", "5411", CARD_NUMBER]), min_size=7, max_size=8), max_size=6))
def test_rows_in_are_rows_out_plus_rejected(tmp_path_factory, rows):
    tmp_path = tmp_path_factory.mktemp("import")
    lines = [GOOD, *(",".join(value.replace(",", "") for value in row) for row in rows)]
    found = imported(tmp_path, [line if line.strip(",") else line + "x" for line in lines])

    assert found.history.height + found.rejected.height == len(lines)
    assert normalised(found.history, "import").height == found.history.height
    assert CARD_NUMBER not in found.rejected.write_csv()


def test_the_command_writes_history_side_file_and_summary(tmp_path):
    (tmp_path / "mapping.toml").write_text(MAPPING)
    (tmp_path / "foreign.csv").write_text(f"{HEADER}\n{GOOD}\n2,never,17,3,0,5411,1\n")
    out = tmp_path / "out" / "h.parquet"
    arguments = ["import", str(tmp_path / "foreign.csv"), str(out), "--mapping", str(tmp_path / "mapping.toml")]
    answer = CliRunner().invoke(weir, [*arguments, "--json"], catch_exceptions=False)
    summary = json.loads(answer.output)

    assert (summary["rows"], summary["transactions"], summary["rejected"]) == (2, 1, 1)
    assert read_history(out).height == 1
    side = [json.loads(line) for line in Path(summary["rejected_file"]).read_text().splitlines()]
    assert [(line["source_row"], line["TX_DATETIME"]) for line in side] == [(1, "never")]
    assert read_history(out.parent).height == 1
    assert "1 of 2 rows" in CliRunner().invoke(weir, arguments, catch_exceptions=False).output


def test_the_example_mapping_is_valid_and_names_every_category_twice():
    path = Path(__file__).parents[2] / "docs" / "examples" / "sparkov.toml"
    load_mapping(path)
    values = tomllib.loads(path.read_text())["values"]

    assert len(values["mcc"]) == 14
    assert values["mcc"].keys() == values["channel"].keys()
