"""Dead letters: original bytes, and the reason."""

from typing import NamedTuple

from domain.errors import CardNumberRejected, MalformedRecord
from stream.dead_letter import dead_letter


class Record(NamedTuple):
    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple


def record(key, value):
    return Record("transactions.v1", 3, 42, 1, key, value, ())


def test_a_dead_letter_holds_the_original_bytes_and_says_why():
    letter = dead_letter(record(b"k\x00", b"\xff{"), MalformedRecord("not JSON; send JSON"), topic="dead", now_ms=99)

    assert (letter.topic, letter.key, letter.value) == ("dead", b"k\x00", b"\xff{")
    assert dict(letter.headers) == {
        "error": b"MalformedRecord",
        "reason": b"not JSON; send JSON",
        "topic": b"transactions.v1",
        "partition": b"3",
        "offset": b"42",
        "time_ms": b"99",
        "attempts": b"1",
    }


def test_an_empty_record_stays_empty():
    letter = dead_letter(record(None, None), MalformedRecord("empty"), topic="dead", now_ms=99)
    assert (letter.key, letter.value) == (None, None)


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
