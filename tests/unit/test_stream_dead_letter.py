"""Dead letters: original bytes, and the reason."""

import pytest

from domain.errors import CardNumberRejected, InvalidRecord, MalformedRecord
from domain.transaction import decode_transaction
from stream.dead_letter import ORIGIN, TRIED, dead_letter, replay_headers, replayed
from tests.consumed import Record


def record(key, value, headers=()):
    return Record("transactions.v1", 3, 42, 1, key, value, headers)


def test_a_dead_letter_holds_the_original_bytes_and_says_why():
    letter = dead_letter(record(b"k\x00", b"\xff{"), MalformedRecord("not JSON; send JSON"), topic="dead", now_ms=99)

    assert (letter.topic, letter.key, letter.value) == ("dead", b"k\x00", b"\xff{")
    assert dict(letter.headers) == {
        "error": b"MalformedRecord",
        "reason": b"not JSON; send JSON",
        "topic": b"transactions.v1",
        "partition": b"3",
        "offset": b"42",
        "append_ms": b"1",
        "time_ms": b"99",
        "attempts": b"1",
    }


def test_the_offending_field_is_a_header():
    letter = dead_letter(record(None, b"{}"), InvalidRecord("lat", "lat must be at most 90"), topic="dead", now_ms=99)
    assert dict(letter.headers)["field"] == b"lat"


def test_an_empty_record_stays_empty():
    letter = dead_letter(record(None, None), MalformedRecord("empty"), topic="dead", now_ms=99)
    assert (letter.key, letter.value) == (None, None)


def test_a_replayed_record_that_is_rejected_again_says_how_often_and_where_from():
    letter = dead_letter(record(b"k", b"v", replay_headers("dead:0:7@5", 2)), MalformedRecord("again"), topic="dead", now_ms=99)
    found = dict(letter.headers)

    assert (found["attempts"], found["replay_of"]) == (b"3", b"dead:0:7@5")


@pytest.mark.parametrize(
    "headers", [((TRIED, b"-1"), (ORIGIN, b"\xff")), ((TRIED, b""), (ORIGIN, b"x" * 401)), ((TRIED, b"9" * 30),), (("other", b"1"),)]
)
def test_headers_of_strangers_do_not_count(headers):
    assert replayed(headers) == (0, None)


def test_a_card_number_appears_nowhere_in_its_dead_letter():
    number = "4111111111111111"
    letter = dead_letter(
        record(number.encode(), b'{"card_id":"4111111111111111","extra":{"n":"4111111111111111"}}'),
        CardNumberRejected(number),
        topic="dead",
        now_ms=99,
    )

    assert number not in repr(letter)
    assert letter.key == b"************1111"
    assert letter.value == b'{"card_id":"************1111","extra":{"n":"************1111"}}'


def test_a_card_number_that_json_escapes_appears_nowhere_in_its_dead_letter():
    value = rb'{"card_id":"\u0034111\u002d1111 1111\u00201111","transaction_id":"\u0034111-1111 1111 1111"}'
    with pytest.raises(CardNumberRejected) as refused:
        decode_transaction(value)
    letter = dead_letter(record(None, value), refused.value, topic="dead", now_ms=99)

    assert letter.value == b'{"card_id":"***************1111","transaction_id":"***************1111"}'
