"""An entry of the decision index: what a label needs to find its entities, and the labels seen so far.

Bytes, little-endian: version u8 (1), state u8 (spare), spare u16, source u64, append time i64, event time i64, then card,
merchant, device and ip, each with its length (u16) before it (0 = none), the answer with its length (u16) before it, and
the labels, 24 bytes each: source u64, label time i64, value u8, change + 1 u8, six spare bytes.
"""

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

_FIXED: Final = struct.Struct("<BBHqqq")
_LABEL: Final = struct.Struct("<qqBB6x")
_VERSION: Final = 1
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
    for entity_id in entry.entities:
        encoded = b"" if entity_id is None else entity_id.encode()
        parts.append(len(encoded).to_bytes(2, "little") + encoded)
    parts.append(b"\0\0")
    parts.append(labels)
    return b"".join(parts)


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
