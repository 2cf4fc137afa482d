"""An entry of the decision index: what a label needs to find its entities, and the labels seen so far.

Bytes, little-endian: version u8 (1), state u8 (spare), spare u16, source u64, append time i64, event time i64, then card,
merchant, device and ip, each with its length (u16) before it (0 = none), the answer with its length (u16) before it, and
the labels, 24 bytes each: source u64, label time i64, value u8, change + 1 u8, six spare bytes.
"""

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

_FIXED: Final = struct.Struct("<BBHqqq")
_LABEL: Final = struct.Struct("<qqBB6x")
_VERSION: Final = 1
FIXED: Final = np.dtype(
    [("version", "u1"), ("state", "u1"), ("spare", "<u2"), ("source", "<i8"), ("append_ms", "<i8"), ("event_ms", "<i8")]
)
"""The part of fixed length, for many entries at once."""
NO_ID: Final = b"\0\0"
NO_ANSWER: Final = b"\0\0"
assert _FIXED.size == FIXED.itemsize
assert _FIXED.size == 28


class Entry(NamedTuple):
    """A scored transaction, as a label needs it."""

    source: int
    append_ms: int
    event_ms: int
    """Event time as applied (after the rule for future events)."""
    entities: Sequence[str | None]
    """Card, merchant, device, ip."""


def encode_entry(entry: Entry, labels: bytes = b"") -> bytes:
    """Return the bytes of an entry without an answer.

    >>> decode_entry(encode_entry(Entry(1, 2, 3, ("c", "m", None, None)))).entities
    ('c', 'm', None, None)
    """
    parts = [_FIXED.pack(_VERSION, 0, 0, entry.source, entry.append_ms, entry.event_ms)]
    parts += [NO_ID if entity_id is None else encode_id(entity_id) for entity_id in entry.entities]
    return b"".join((*parts, NO_ANSWER, labels))


def fixed_parts(source: NDArray[np.int64], append_ms: Sequence[int], event_ms: NDArray[np.int64]) -> list[bytes]:
    """Return the parts of fixed length of many entries; an entry goes on with four ids and NO_ANSWER."""
    table = np.zeros(len(source), FIXED)
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
    """Return the entry that `data` holds, without answer and labels."""
    _, _, _, source, append_ms, event_ms = _FIXED.unpack_from(data)
    place = _FIXED.size
    found: list[str | None] = []
    for _ in range(4):
        end = place + 2 + int.from_bytes(data[place : place + 2], "little")
        found.append(data[place + 2 : end].decode() or None)
        place = end
    return Entry(source, append_ms, event_ms, tuple(found))
