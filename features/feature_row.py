"""A row of `features.v1`: what was applied to which entities at which place, and the vector that was served.

Bytes, little-endian: version u8 (1), kind u8, flags u16, partition i32, offset i64, event time as applied i64, spec (8
bytes), places in the logs of card, merchant, device and ip i32 (-1 = not applied there), length of the transaction id
u16, number of features u16, the id, the vector as float32.
"""

import base64
import struct
from collections.abc import Iterable
from typing import Any, Final, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from domain.decision import flag_names
from domain.errors import HistoryError, MalformedRecord

_FIXED: Final = struct.Struct("<BBHiqq8s4iHH")
_VERSION: Final = 1
KINDS: Final = ("transaction", "fraud", "fraud_undone")
"""Names of the record kinds of `features.layout`, by code."""


class FeatureRow(NamedTuple):
    """One applied record."""

    transaction_id: str
    kind: int
    """TRANSACTION, FRAUD or FRAUD_UNDONE."""
    flags: int
    """Bits of `domain.decision.FLAG_BITS`."""
    partition: int
    offset: int
    time_ms: int
    """Event time of the transaction as applied."""
    spec: str
    """Feature fingerprint, 16 hex digits."""
    positions: tuple[int, int, int, int]
    """Place in the log of card, merchant, device and ip; -1 = not applied there."""
    vector: bytes
    """float32 of all features, little-endian; empty where it was not logged."""


def encode_row(row: FeatureRow) -> bytes:
    """Return the bytes of a row."""
    name = row.transaction_id.encode()
    head = _FIXED.pack(
        _VERSION, row.kind, row.flags, row.partition, row.offset, row.time_ms, bytes.fromhex(row.spec), *row.positions,
        len(name), len(row.vector) // 4,
    )  # fmt: skip
    return head + name + row.vector


def decode_row(data: bytes) -> FeatureRow:
    """Return the row that `data` holds.

    Raises:
        MalformedRecord: It is not a row of this version.
    """
    if len(data) < _FIXED.size or data[0] != _VERSION:
        raise MalformedRecord("not a feature row of version 1")
    _, kind, flags, partition, offset, time_ms, spec, card, merchant, device, ip, n_name, n_features = _FIXED.unpack_from(data)
    end = _FIXED.size + n_name
    if len(data) != end + 4 * n_features or kind >= len(KINDS):
        raise MalformedRecord("a feature row of the wrong length or kind")
    try:
        name = data[_FIXED.size : end].decode()
    except UnicodeDecodeError as error:
        raise MalformedRecord("a feature row whose transaction id is not UTF-8") from error
    return FeatureRow(name, kind, flags, partition, offset, time_ms, spec.hex(), (card, merchant, device, ip), data[end:])


def to_json(row: FeatureRow) -> dict[str, Any]:
    """Return the row as `weir tail features --json` prints it; the vector in base64, so that every bit (and NaN) survives."""
    return {
        "transaction_id": row.transaction_id,
        "kind": KINDS[row.kind],
        "source": ["transactions.v1" if row.kind == 0 else "labels.v1", row.partition, row.offset],
        "time_ms": row.time_ms,
        "spec": row.spec,
        "positions": list(row.positions),
        "flags": list(flag_names(row.flags)),
        "vector": base64.b64encode(row.vector).decode() if row.vector else None,
    }


class _Line(msgspec.Struct):
    transaction_id: str
    kind: Literal["transaction", "fraud", "fraud_undone"]
    source: tuple[str, int, int]
    time_ms: int
    spec: str
    positions: tuple[int, int, int, int]
    flags: list[str]
    vector: bytes | None


class LoggedRows(NamedTuple):
    """Rows of `features.v1`, each applied record once, as columns. What changed no state is counted only."""

    transaction_id: list[str]
    kind: NDArray[np.int64]
    time_ms: NDArray[np.int64]
    positions: NDArray[np.int64]
    """(n, 4)."""
    is_exact: NDArray[np.bool_]
    """False where the row was flagged `replay_approx`: its places were lost."""
    vectors: list[bytes]
    specs: frozenset[str]
    n_repeated: int
    """Rows that repeated an earlier one (redelivered records)."""
    n_duplicates: int
    """Records that a producer sent again: answered, not applied."""
    n_degraded: int
    """Records answered without state that were not applied later, as far as the rows tell."""


def read_lines(lines: Iterable[bytes]) -> LoggedRows:
    """Return the rows of `weir tail features --json`.

    Raises:
        HistoryError: A line is not such a row.
    """
    decoder = msgspec.json.Decoder(_Line)
    found: dict[tuple[str, int, int], _Line] = {}
    duplicates: set[tuple[str, int, int]] = set()
    degraded: set[tuple[str, int, int]] = set()
    n_repeated = 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = decoder.decode(line)
        except msgspec.DecodeError as error:
            raise HistoryError(f"line {number} of the order is not a row of `weir tail features --json`: {error}") from error
        if max(row.positions) < 0 and ("duplicate" in row.flags or "degraded" in row.flags):
            (duplicates if "duplicate" in row.flags else degraded).add(row.source)
            continue
        if row.source in found:
            n_repeated += 1
            if "replay_approx" in row.flags:
                continue
        found[row.source] = row
    rows = list(found.values())
    return LoggedRows(
        [r.transaction_id for r in rows],
        np.array([KINDS.index(r.kind) for r in rows], np.int64),
        np.array([r.time_ms for r in rows], np.int64),
        np.array([r.positions for r in rows], np.int64).reshape(len(rows), 4),
        np.array(["replay_approx" not in r.flags for r in rows], np.bool_),
        [r.vector or b"" for r in rows],
        frozenset(r.spec for r in rows),
        n_repeated,
        len(duplicates),
        len(degraded - found.keys()),
    )
