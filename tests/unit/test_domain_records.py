"""Transactions and labels: every rule of the contract, and what the reason of a refusal says."""

import json
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.decision import Alert, Score, Tier
from domain.errors import CardNumberRejected, InvalidRecord, MalformedRecord, RejectedRecord
from domain.label import SOURCES, decode_label
from domain.transaction import CHANNELS, END_OF_TIME_MS, LONGEST_EXTRA_BYTES, decode_transaction

CARD_NUMBER = "4111111111111111"
TRANSACTION = {
    "transaction_id": "t1", "card_id": "c1", "amount_minor": 1999, "currency": "EUR", "merchant_id": "m1",
    "event_time_ms": 1_767_225_601_000,
}  # fmt: skip
LABEL = {"transaction_id": "t1", "is_fraud": True, "label_time_ms": 1_767_225_601_001, "source": "analyst"}
DECODERS = pytest.mark.parametrize(
    ("decode", "good"), [(decode_transaction, TRANSACTION), (decode_label, LABEL)], ids=["transaction", "label"]
)


def record(good, *without, **changes) -> bytes:
    return json.dumps({name: value for name, value in (good | changes).items() if name not in without}).encode()


def transaction(**changes):
    return decode_transaction(record(TRANSACTION, **changes))


def rejection(decode, data) -> RejectedRecord:
    with pytest.raises(RejectedRecord) as caught:
        decode(data)
    return caught.value


def reason_of(decode, data) -> str | None:
    """The reason of a refusal; None = accepted."""
    try:
        decode(data)
    except RejectedRecord as error:
        return error.reason
    return None


def test_a_whole_transaction_arrives_as_it_was_sent():
    sent = TRANSACTION | {
        "device_id": "d1", "ip": "192.0.2.1", "mcc": 5411, "country": "FR", "channel": "ecom", "lat": 48.85, "lon": 2.35,
        "account_age_days": 400,
    }  # fmt: skip

    found = transaction(**sent)

    assert {name: getattr(found, name) for name in sent} == sent
    assert found.time_ms == sent["event_time_ms"]


@pytest.mark.parametrize("field", ["transaction_id", "card_id", "amount_minor", "currency", "merchant_id", "event_time_ms"])
def test_a_transaction_without_a_required_field_is_refused_by_its_name(field):
    error = rejection(decode_transaction, record(TRANSACTION, field))

    assert isinstance(error, InvalidRecord)
    assert error.field == field
    assert error.reason.startswith(field)


@pytest.mark.parametrize("field", ["transaction_id", "is_fraud", "label_time_ms", "source"])
def test_a_label_without_a_required_field_is_refused_by_its_name(field):
    error = rejection(decode_label, record(LABEL, field))

    assert isinstance(error, InvalidRecord)
    assert error.field == field


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((field, value) for field in ("transaction_id", "card_id", "merchant_id", "device_id", "ip") for value in ("", "x" * 65, 5)),
        *(("amount_minor", value) for value in (-1, 1 << 40, 19.99, "1999", True)),
        *(("currency", value) for value in ("eur", "EURO", "EU", "", "EUR\n", "ÄÖÜ", 978)),
        *(("event_time_ms", value) for value in (-1, END_OF_TIME_MS, 1.5, "2026-01-01")),
        *(("mcc", value) for value in (-1, 10_000, "5411")),
        *(("country", value) for value in ("fr", "FRA", "F", "FR\n")),
        ("channel", 1),
        *(("lat", value) for value in (-90.01, 90.01, "48")),
        *(("lon", value) for value in (-180.01, 180.01)),
        *(("account_age_days", value) for value in (-1, 1 << 31)),
        *(("extra", value) for value in ("text", 5, [1], {"note": "x" * LONGEST_EXTRA_BYTES})),
    ],
)
def test_a_transaction_that_breaks_a_rule_is_refused_by_the_field(field, value):
    error = rejection(decode_transaction, record(TRANSACTION, **{field: value}))

    assert isinstance(error, InvalidRecord)
    assert error.field == field
    assert "must be" in error.reason


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((field, value) for field in ("transaction_id", "card_id", "merchant_id", "device_id", "ip") for value in ("", "x" * 65)),
        *(("is_fraud", value) for value in (1, "true", None)),
        *(("label_time_ms", value) for value in (-1, END_OF_TIME_MS, "today")),
        *(("event_time_ms", value) for value in (-1, END_OF_TIME_MS)),
        *(("source", value) for value in ("neighbour", "", 5)),
    ],
)
def test_a_label_that_breaks_a_rule_is_refused_by_the_field(field, value):
    error = rejection(decode_label, record(LABEL, **{field: value}))

    assert isinstance(error, InvalidRecord)
    assert error.field == field


def test_the_ends_of_every_range_are_accepted():
    for changes in (
        {"amount_minor": 0}, {"amount_minor": (1 << 40) - 1}, {"event_time_ms": 0}, {"event_time_ms": END_OF_TIME_MS - 1}, {"mcc": 0},
        {"mcc": 9999}, {"lat": -90, "lon": -180}, {"lat": 90, "lon": 180}, {"account_age_days": 0}, {"account_age_days": (1 << 31) - 1},
        {"transaction_id": "\U0001f600" * 64}, {"card_id": "x"},
    ):  # fmt: skip
        found = transaction(**changes)
        assert all(getattr(found, name) == value for name, value in changes.items())


def test_a_label_must_be_later_than_its_event():
    for event_ms, is_refused in ((LABEL["label_time_ms"] - 1, False), (LABEL["label_time_ms"], True), (LABEL["label_time_ms"] + 7, True)):
        data = record(LABEL, event_time_ms=event_ms)
        if is_refused:
            error = rejection(decode_label, data)
            assert error.field == "label_time_ms"
            assert f"found {event_ms - LABEL['label_time_ms']} ms before it" in error.reason
        else:
            assert decode_label(data).event_time_ms == event_ms


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_of_a_label_is_accepted(source):
    assert decode_label(record(LABEL, source=source)).source == source


def test_an_unknown_source_is_refused_with_the_known_ones():
    reason = rejection(decode_label, record(LABEL, source="neighbour")).reason

    assert reason == "source must be one of chargeback, analyst, customer, rule; found 'neighbour'"


@given(milliseconds=st.integers(86_400_000, END_OF_TIME_MS - 2 * 86_400_000), offset_minutes=st.integers(-1439, 1439))
def test_iso_time_with_an_offset_means_the_same_as_milliseconds(milliseconds, offset_minutes):
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
    local = moment.astimezone(timezone(timedelta(minutes=offset_minutes)))

    found = decode_transaction(record(TRANSACTION, "event_time_ms", event_time=local.isoformat()))

    assert found == transaction(event_time_ms=milliseconds)
    assert found.event_time is None


def test_z_is_an_offset():
    found = decode_transaction(record(TRANSACTION, "event_time_ms", event_time="2026-01-01T00:00:01Z"))

    assert found.time_ms == TRANSACTION["event_time_ms"]


@pytest.mark.parametrize("text", ["2026-01-01T00:00:00", "yesterday", "", "1969-12-31T23:00:00Z", "9999-12-31T23:00:00-05:00", 5])
def test_a_time_that_is_no_iso_time_of_our_era_with_offset_is_refused(text):
    assert rejection(decode_transaction, record(TRANSACTION, "event_time_ms", event_time=text)).field == "event_time"


def test_milliseconds_win_over_iso_time():
    found = transaction(event_time="2020-01-01T00:00:00Z")

    assert found.time_ms == TRANSACTION["event_time_ms"]
    assert found.event_time is None


@given(channel=st.text(max_size=12))
def test_an_unknown_channel_becomes_other(channel):
    assert transaction(channel=channel).channel == (channel if channel in CHANNELS else "other")


@pytest.mark.parametrize("channel", [*CHANNELS, None])
def test_a_known_or_missing_channel_stays(channel):
    assert transaction(channel=channel).channel == channel


@DECODERS
@given(further=st.dictionaries(st.text(max_size=8).map("x_{}".format), st.integers() | st.text() | st.lists(st.none()), max_size=4))
def test_unknown_fields_are_tolerated(decode, good, further):
    in_64_bits = {name: value for name, value in further.items() if not isinstance(value, int) or abs(value) < 1 << 63}

    assert decode(record(good, **in_64_bits)) == decode(record(good))


@pytest.mark.parametrize("field", ["event_time", "device_id", "ip", "mcc", "country", "channel", "lat", "lon", "account_age_days", "extra"])
def test_an_optional_field_may_be_null(field):
    assert transaction(**{field: None}) == transaction()


def test_extra_goes_untouched_to_the_alert_and_back():
    extra = b'{"note": "\xc3\xa9",  "n":[1.50, 1e400]}'
    found = decode_transaction(record(TRANSACTION)[:-1] + b', "extra": ' + extra + b"}")
    score = Score(
        transaction_id="t1", card_id="c1", event_time_ms=1, scored_at_ms=2, probability=0.5, decision="review", tier=Tier.FULL, flags=(),
        model="m@1", variant="champion", policy="p", spec="s", source=(0, 0),
    )  # fmt: skip
    alert = Alert(**msgspec.structs.asdict(score), amount_minor=1, currency="EUR", merchant_id="m", reasons=(), extra=found.extra)

    sent = msgspec.json.encode(alert)

    assert extra in sent
    assert bytes(msgspec.json.decode(sent, type=Alert).extra) == extra
    assert b"extra" not in msgspec.json.encode(msgspec.structs.replace(alert, extra=transaction().extra))


def test_extra_that_is_not_utf_8_is_refused():
    error = rejection(decode_transaction, record(TRANSACTION)[:-1] + b', "extra": {"note": "\xff"}}')

    assert error.field == "extra"


@DECODERS
@pytest.mark.parametrize("data", [None, b"", b" ", b"{", b"{not json", b"[]", b"5", b"null", b'"text"', b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_json_object_is_malformed(decode, good, data):
    assert isinstance(rejection(decode, data), MalformedRecord)


@DECODERS
@pytest.mark.parametrize(
    "rest",
    [b"", b", garbage", b',"x":"\xff"}', b',"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", b',"x":1e400}', b',"x":' + b"9" * 5_000 + b"}"],
    ids=["cut off", "no json", "no utf-8", "too deep", "float out of range", "integer of 5,000 digits"],
)
def test_a_wrong_field_before_bytes_that_cannot_be_decoded_is_still_only_a_refusal(decode, good, rest):
    assert isinstance(rejection(decode, b'{"transaction_id": 5' + rest), RejectedRecord)


@DECODERS
@given(data=st.data())
def test_damaged_bytes_are_decoded_or_refused_and_nothing_else(decode, good, data):
    whole = record(good, device_id="d1", mcc=5411, extra={"a": [1]})
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, min(len(whole), start + 6)))
    noise = st.binary(max_size=4) | st.sampled_from([b"1e999", b'"', b"}", b"null", b"[{", b"\\ud800"])

    reason = reason_of(decode, whole[:start] + data.draw(noise) + whole[end:])

    assert reason is None or (reason and reason.isprintable())


SEPARATORS = st.sampled_from(["", " ", "-", "  "])


def luhn_digit(digits: str) -> str:
    """The digit that completes `digits`: the definition, right to left, every second one doubled."""
    doubled = [int(d) * 2 if place % 2 == 0 else int(d) for place, d in enumerate(reversed(digits))]
    return str(-sum(d - 9 if d > 9 else d for d in doubled) % 10)


@st.composite
def card_numbers(draw, *, separators=SEPARATORS):
    digits = draw(st.text("0123456789", min_size=12, max_size=18))
    digits += luhn_digit(digits)
    return "".join(draw(separators) + d if place and place % 4 == 0 else d for place, d in enumerate(digits))


@DECODERS
@given(number=card_numbers())
def test_a_card_number_is_refused_and_told_to_the_mask_only(decode, good, number):
    error = rejection(decode, record(good, card_id=number))

    assert isinstance(error, CardNumberRejected)
    assert error.digits == number
    assert number not in error.reason


@given(number=card_numbers(separators=st.just("")), place=st.integers(0, 18), change=st.integers(1, 9))
def test_a_number_that_fails_the_check_is_a_token(number, place, change):
    place %= len(number)
    other = number[:place] + str((int(number[place]) + change) % 10) + number[place + 1 :]

    assert transaction(card_id=other).card_id == other


def test_a_token_of_12_or_20_digits_is_no_card_number():
    for n in (11, 19):
        digits = "7" * n
        assert transaction(card_id=digits + luhn_digit(digits)).card_id


@DECODERS
@pytest.mark.parametrize(
    "damage",
    [
        lambda good: record(good, card_id=int(CARD_NUMBER)),
        lambda good: record(good, "transaction_id", card_id=CARD_NUMBER),
        lambda good: record(good, card_id=CARD_NUMBER, transaction_id=5),
        lambda good: record(good, card_id=CARD_NUMBER)[:-1],
        lambda good: b"\xff" + record(good, card_id=CARD_NUMBER),
        lambda good: record(good, "transaction_id", card_id=CARD_NUMBER).replace(
            CARD_NUMBER[:2].encode(), rb"\u003%c\u003%c" % tuple(CARD_NUMBER[:2].encode()), 1
        ),
    ],
    ids=["a number, no text", "a missing field", "a wrong field", "cut off", "no utf-8", "escaped"],
)
def test_a_card_number_in_an_otherwise_broken_record_is_found_so_that_it_is_masked(decode, good, damage):
    error = rejection(decode, damage(good))

    assert isinstance(error, CardNumberRejected)
    assert error.digits == CARD_NUMBER


FIELDS = sorted(set(TRANSACTION) | {"event_time", "device_id", "mcc", "country", "channel", "lat", "extra", "source", "label_time_ms"})
VALUES = st.one_of(
    card_numbers(),
    st.builds("{} {}".format, st.integers(0, 99), card_numbers()),
    card_numbers(separators=st.just("")).map(int),
    st.lists(card_numbers(), min_size=1, max_size=2),
    card_numbers().map(lambda number: {"n": number}),
    st.text(st.characters(exclude_characters="QWXZ~"), max_size=80),
    st.integers(-(1 << 62), 1 << 62),
    st.none(),
)


@DECODERS
@given(data=st.data())
def test_no_reason_contains_the_card_id_or_a_card_number(decode, good, data):
    card_id = data.draw(st.text("QWXZ~", min_size=6, max_size=64) | st.text("QWXZ~", min_size=65, max_size=70))
    changes = data.draw(st.dictionaries(st.sampled_from([f for f in FIELDS if f != "card_id"]), VALUES, min_size=1, max_size=3))
    sent = {run for value in changes.values() for run in runs_of_digits(str(value))}

    reason = reason_of(decode, record(good, card_id=card_id, **changes)) or ""

    assert card_id[:6] not in reason
    assert not [run for run in runs_of_digits(reason) if run in sent and luhn_digit(run[:-1]) == run[-1]]


def runs_of_digits(text: str) -> list[str]:
    """Every sequence of 13 to 19 digits, blanks and dashes apart."""
    runs = [run for run in "".join(c if c in "0123456789" else "" if c in " -" else "," for c in text).split(",") if run]
    return [run[a : a + n] for run in runs for n in range(13, 20) for a in range(len(run) - n + 1)]
