"""What becomes of a record that can never be processed: its bytes go to the dead-letter topic, with the reason.

A dead letter that is replayed carries two headers more, by which it is known when it comes back dead.
"""

from collections.abc import Iterable
from typing import Final

from domain.card_number import mask_card_number
from domain.errors import CardNumberRejected, InvalidRecord, RejectedRecord
from stream.records import Headers, Message, Record

#: Headers of a replayed record: how often it was tried before, and the dead letter that it comes from.
TRIED: Final = "weir_tried"
ORIGIN: Final = "weir_dead_letter"
_LONGEST_ORIGIN: Final = 400
_MOST_TRIED: Final = 1_000_000


def dead_letter(record: Record, error: RejectedRecord, *, topic: str, now_ms: int) -> Message:
    """Return the dead letter of `record`: original key and bytes, and why.

    Only a card number is not kept: it is masked in key and value, its last four digits left. A record that was
    replayed says in `attempts` how often it has been tried by now, and in `replay_of` which dead letter it was before.

    Args:
        record: What was consumed.
        error: Why it was rejected.
        topic: Full name of the dead-letter topic.
        now_ms: UTC, milliseconds since the epoch.
    """
    key, value = record.key, record.value
    if isinstance(error, CardNumberRejected):
        key = mask_card_number(key, error.digits) if key is not None else None
        value = mask_card_number(value, error.digits) if value is not None else None
    tried, origin = replayed(record.headers)
    headers = [
        ("error", type(error).__name__.encode()),
        ("reason", error.reason.encode()),
        ("topic", record.topic.encode()),
        ("partition", b"%d" % record.partition),
        ("offset", b"%d" % record.offset),
        ("append_ms", b"%d" % record.timestamp),
        ("time_ms", b"%d" % now_ms),
        ("attempts", b"%d" % (tried + 1)),
    ]
    if isinstance(error, InvalidRecord):
        headers.append(("field", error.field.encode()))
    if origin is not None:
        headers.append(("replay_of", origin.encode()))
    return Message(topic, key, value, partition=0, headers=tuple(headers))


def replay_headers(origin: str, attempts: int) -> Headers:
    """Return the headers of a replayed record.

    Args:
        origin: Names the dead letter, at most 400 characters of ASCII.
        attempts: How often the record has been tried before.
    """
    return ((TRIED, b"%d" % attempts), (ORIGIN, origin.encode()))


def replayed(headers: Iterable[tuple[str, bytes]]) -> tuple[int, str | None]:
    """Return how often a record was tried before and which dead letter it comes from; (0, None) of any other record.

    Headers are anybody's to write: what is not as `replay_headers` makes it does not count.

    >>> replayed(replay_headers("d:0:7@5", 2)), replayed([(TRIED, b"many")])
    ((2, 'd:0:7@5'), (0, None))
    """
    tried, origin = 0, None
    for name, value in headers:
        if name == TRIED and value.isdigit() and len(value) < 8:
            tried = min(int(value), _MOST_TRIED)
        elif name == ORIGIN and value.isascii() and len(value) <= _LONGEST_ORIGIN:
            origin = value.decode()
    return tried, origin
