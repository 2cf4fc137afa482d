"""The bytes of one slot of an answer journal.

Bytes, little-endian: a head of 56 bytes (version u8 (1), three spare bytes, CRC u32 of the head's rest, sequence i64, source
id i64, first offset i64, last offset i64, number of answers u32, length of the body u32, CRC u32 of the body, four spare
bytes), then the body: the offsets (i64 each), the lengths of the scores (u32 each), the lengths of the alerts (u32 each; 0 =
no alert), the scores, the alerts.

A head names its content: two slots of the same head hold the same answers.
"""

import struct
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple
from zlib import crc32

import numpy as np

HEAD_BYTES: Final = 56
_VERSION: Final = 1
_BEFORE: Final = struct.Struct("<B3xI")
_REST: Final = struct.Struct("<qqqqIII4x")
_TABLE_BYTES: Final = 16
"""Per answer: its offset and two lengths."""
assert _BEFORE.size + _REST.size == HEAD_BYTES


class Head(NamedTuple):
    """What a slot holds."""

    sequence: int
    """Number of the slot since the partition's first; later slots have greater ones."""
    source: int
    """Registered id of the partition: that of a topic created anew differs."""
    first: int
    last: int
    """Offsets of the first and of the last answer."""
    n_answers: int
    body_bytes: int
    check: int
    """CRC of the body."""


class Slot(NamedTuple):
    """The answers of consecutive transactions of one partition, as columns."""

    head: Head
    offsets: list[int]
    """Increasing; those of rejected records are absent."""
    scores: list[bytes]
    alerts: list[bytes]
    """b"" = no alert."""


def encode_slot(sequence: int, source: int, offsets: Sequence[int], scores: Sequence[bytes], alerts: Sequence[bytes]) -> bytes:
    """Return the bytes of a slot: at least one answer, offsets increasing, columns of one length.

    >>> decode_slot(encode_slot(3, 300, [7, 9], [b"a", b"bc"], [b"", b"d"])).scores
    [b'a', b'bc']
    """
    n = len(offsets)
    lengths = np.fromiter(map(len, (*scores, *alerts)), "<u4", 2 * n)
    body = b"".join((np.array(offsets, "<i8").tobytes(), lengths.tobytes(), *scores, *alerts))
    rest = _REST.pack(sequence, source, offsets[0], offsets[-1], n, len(body), crc32(body))
    return b"".join((_BEFORE.pack(_VERSION, crc32(rest)), rest, body))


def decode_head(content: bytes) -> Head | None:
    """Return the head at the beginning of a slot's bytes, or None: broken, or of another version."""
    if len(content) < HEAD_BYTES:
        return None
    version, check = _BEFORE.unpack_from(content)
    if version != _VERSION or check != crc32(memoryview(content)[_BEFORE.size : HEAD_BYTES]):
        return None
    return Head(*_REST.unpack_from(content, _BEFORE.size))


def decode_slot(content: bytes) -> Slot | None:
    """Return what a slot holds, or None: broken, or of another version. Never raises."""
    head = decode_head(content)
    if head is None or crc32(memoryview(content)[HEAD_BYTES:]) != head.check:
        return None
    n = head.n_answers
    table_end = HEAD_BYTES + _TABLE_BYTES * n
    if not n or len(content) < table_end:
        return None
    offsets = np.frombuffer(content, "<i8", n, HEAD_BYTES).tolist()
    ends = table_end + np.cumsum(np.frombuffer(content, "<u4", 2 * n, HEAD_BYTES + 8 * n), dtype=np.int64)
    if ends[-1] != len(content) or (offsets[0], offsets[-1]) != (head.first, head.last):
        return None
    if any(a >= b for a, b in pairwise(offsets)):
        return None
    cuts = [table_end, *ends.tolist()]
    parts = [content[a:b] for a, b in pairwise(cuts)]
    return Slot(head, offsets, parts[:n], parts[n:])
