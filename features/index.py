"""An entry of the decision index: what a label needs to find its entities, and the labels seen so far.

The entry is also the claim of a transaction's id: whoever made it first, by its source, counts.

A label finds it only once the transaction is applied: credited before, a fraud would meet a day without transactions.

Bytes, little-endian: version u8 (1), three spare, source u64, append time i64, event time i64; the first answer: tier + 1 u8
(0 = claimed only, 255 = applied, answer not known), outcome u8, flags u16, release u32 (see `Log.releases`), probability
f64; then card, merchant, device and ip, each with its length (u16) before it (0 = none), and the labels, 24 bytes each:
source u64, label time i64, value u8, change + 1 u8, six spare bytes.
"""

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from domain.decision import Outcome, Tier

_FIXED: Final = struct.Struct("<B3xqqq")
_ANSWER: Final = struct.Struct("<BBHId")
_LABEL: Final = struct.Struct("<qqBB6x")
_VERSION: Final = 1
FIXED: Final = np.dtype(
    [("version", "u1"), ("spare", "V3"), ("source", "<i8"), ("append_ms", "<i8"), ("event_ms", "<i8"), ("answer", "V16")]
)
"""The part of fixed length, for many entries at once."""
NO_ID: Final = b"\0\0"
CLAIMED: Final = bytes(_ANSWER.size)
"""In place of an answer: not applied yet."""
_APPLIED: Final = 255
APPLIED: Final = bytes([_APPLIED]) + bytes(_ANSWER.size - 1)
"""In place of an answer: applied, but the answer is not known."""
_ANSWER_AT: Final = _FIXED.size
assert _FIXED.size + _ANSWER.size == FIXED.itemsize
assert FIXED.itemsize == 44
ANSWER: Final = np.dtype([("tier", "u1"), ("outcome", "u1"), ("flags", "<u2"), ("release", "<u4"), ("probability", "<f8")])
"""A first answer, for many at once."""
_TIERS: Final = tuple(Tier)
_OUTCOMES: Final[tuple[Outcome, ...]] = get_args(Outcome)
TIER_CODES: Final = {tier: code + 1 for code, tier in enumerate(_TIERS)}
"""0 = there is no answer yet."""
OUTCOME_CODES: Final = {outcome: code for code, outcome in enumerate(_OUTCOMES)}


class FirstAnswer(NamedTuple):
    """What a transaction was answered first; a producer's duplicate of it is answered the same."""

    tier: Tier
    outcome: Outcome
    flags: int
    """Bits of `FLAG_BITS`."""
    release: int
    """Number of the model and policy that answered; see `Log.releases`."""
    probability: float


class Entry(NamedTuple):
    """A scored transaction, as a label needs it."""

    source: int
    append_ms: int
    event_ms: int
    """Event time as applied (after the rule for future events)."""
    entities: Sequence[str | None]
    """Card, merchant, device, ip."""
    answer: FirstAnswer | None = None


class IndexedLabel(NamedTuple):
    """A label as an entry notes it."""

    source: int
    label_ms: int
    is_fraud: bool


def encode_entry(entry: Entry, labels: bytes = b"") -> bytes:
    """Return the bytes of the entry of an applied transaction.

    >>> decode_entry(encode_entry(Entry(1, 2, 3, ("c", "m", None, None)))).entities
    ('c', 'm', None, None)
    """
    parts = [_FIXED.pack(_VERSION, entry.source, entry.append_ms, entry.event_ms), encode_answer(entry.answer)]
    parts += [NO_ID if entity_id is None else encode_id(entity_id) for entity_id in entry.entities]
    return b"".join((*parts, labels))


def encode_answer(answer: FirstAnswer | None) -> bytes:
    """Return the 16 bytes of an answer, of an applied transaction without one for None."""
    if answer is None:
        return APPLIED
    return _ANSWER.pack(TIER_CODES[answer.tier], OUTCOME_CODES[answer.outcome], answer.flags, answer.release, answer.probability)


def split_answers(table: NDArray[np.void]) -> list[bytes]:
    """Return the bytes of each answer of a table (of dtype ANSWER)."""
    content, size = table.tobytes(), ANSWER.itemsize
    return [content[a : a + size] for a in range(0, len(content), size)]


def decode_answer(data: bytes, place: int = 0) -> FirstAnswer | None:
    """Return the answer at a place of `data`, None if there is none."""
    tier, outcome, flags, release, probability = _ANSWER.unpack_from(data, place)
    return None if tier in {0, _APPLIED} else FirstAnswer(_TIERS[tier - 1], _OUTCOMES[outcome], flags, release, probability)


def is_applied(entry: bytes) -> bool:
    """Tell whether the transaction of an entry is in the states."""
    return entry[_ANSWER_AT] != 0


def fixed_parts(
    source: NDArray[np.int64], append_ms: Sequence[int], event_ms: NDArray[np.int64], *, answer: bytes = CLAIMED
) -> list[bytes]:
    """Return the parts of fixed length of many entries; an entry goes on with four ids."""
    table = np.zeros(len(source), FIXED)
    table["answer"] = np.frombuffer(answer, FIXED["answer"])
    table["version"], table["source"], table["append_ms"], table["event_ms"] = _VERSION, source, append_ms, event_ms
    content, size = table.tobytes(), FIXED.itemsize
    return [content[a : a + size] for a in range(0, len(content), size)]


def encode_id(entity_id: str) -> bytes:
    """Return an id as an entry holds it, its length before it."""
    encoded = entity_id.encode()
    return len(encoded).to_bytes(2, "little") + encoded


def encode_label(source: int, label_ms: int, *, is_fraud: bool, change: int) -> bytes:
    """Return the bytes of one label in an entry; `change` is -1, 0 or 1."""
    return _LABEL.pack(source, label_ms, is_fraud, change + 1)


def decode_entry(data: bytes) -> Entry:
    """Return the entry that `data` holds, without its labels."""
    _, source, append_ms, event_ms = _FIXED.unpack_from(data)
    ids = [data[begin:end].decode() or None for begin, end in _ids(data)]
    return Entry(source, append_ms, event_ms, tuple(ids), decode_answer(data, _FIXED.size))


def decode_labels(data: bytes) -> list[IndexedLabel]:
    """Return the labels of the entry that `data` holds, in the order in which they came.

    >>> entry = Entry(1, 2, 3, ("c", "m", None, None))
    >>> decode_labels(encode_entry(entry, encode_label(7, 9, is_fraud=True, change=1)))
    [IndexedLabel(source=7, label_ms=9, is_fraud=True)]
    """
    _, begin = _ids(data)[-1]
    found = (_LABEL.unpack_from(data, place) for place in range(begin, len(data), _LABEL.size))
    return [IndexedLabel(source, label_ms, bool(is_fraud)) for source, label_ms, is_fraud, _ in found]


def _ids(data: bytes) -> list[tuple[int, int]]:
    """Return where each of the four ids of an entry begins and ends."""
    place, found = FIXED.itemsize, []
    for _ in range(4):
        begin = place + 2
        place = begin + int.from_bytes(data[place:begin], "little")
        found.append((begin, place))
    return found
