"""Fold one chunk of pairs (transaction or label, entity) online: the state's bytes in, features and checkpoints out."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features import layout as at
from features.codec import checkpoint_words, decode, encode, is_sound
from features.compiled import compiled
from features.evaluation import evaluate
from features.kernel import LATE, STALE, Floats, Ints, Workspace, apply, is_seen, lateness, wake

#: A key with more raw records than this gets a checkpoint ...
CHECKPOINT_ABOVE = 64
#: ... that leaves this many raw, so that a redelivered record is found at its first place.
KEEP_RAW = 24

#: A key with more raw records than this gets a checkpoint also of records that may come again: its bytes are bounded.
MOST_RAW = 500
#: Fewer records than this are not worth a checkpoint.
_LEAST_USED = 16

NEW, REPLAYED, REPLAYED_INSIDE_CHECKPOINT, BROKEN = range(4)
"""Status of a pair: first seen; found again in the log (exact); only its watermark is left; the blob was not sound."""
PAIR_LATE, PAIR_STALE = 1, 2
"""Bits of a pair's lateness."""


class Folded(NamedTuple):
    """What `fold` writes, one row for each pair in the order of `records`."""

    status: NDArray[np.int8]
    lateness: NDArray[np.int8]
    positions: NDArray[np.int64]
    """Records folded before this one: its place in the entity's log."""


class Held(NamedTuple):
    """How far sources are committed: later records may come again."""

    source: NDArray[np.int64]
    """Registered ids, (n,)."""
    offset: NDArray[np.int64]
    """First offset that may come again, (n,)."""


#: Nothing is held.
NOTHING_HELD = Held(np.empty(0, np.int64), np.empty(0, np.int64))
#: It is not known yet what is committed: everything is held.
ALL_HELD = Held(np.full(1, -1, np.int64), np.zeros(1, np.int64))


class Checkpoints(NamedTuple):
    """Room for the checkpoints of one chunk."""

    words: NDArray[np.int64]
    key: NDArray[np.int64]
    used_bytes: NDArray[np.int64]
    start: NDArray[np.int64]


def checkpoint_room(n: int) -> Checkpoints:
    """Return room for `n` checkpoints."""
    words = np.empty(n * (at.HEADER_WORDS + at.SNAPSHOT_WORDS), np.int64)
    return Checkpoints(words, np.empty(n, np.int64), np.empty(n, np.int64), np.zeros(n + 1, np.int64))


@compiled
def _is_transaction(record: Ints) -> bool:
    return bool(((record[3] >> 32) & 0xFF) == at.TRANSACTION)


@compiled
def _write(out: Floats, entity: int, vector: NDArray[np.float32]) -> None:
    first = at.FIRST_COLUMN[entity]
    for j in range(at.N_COLUMNS[entity]):
        vector[first + j] = out[j]


@compiled
def fold(
    words: Ints,
    reals: Floats,
    blob_start: Ints,
    records: Ints,
    key_start: Ints,
    entity: Ints,
    row: Ints,
    major: int,
    maturity_s: int,
    vectors: NDArray[np.float32],
    folded: Folded,
    room: Checkpoints,
    room_reals: Floats,
    checkpoint_above: int,
    keep_raw: int,
    held: Held,
    workspace: Workspace,
) -> int:
    """Fold the pairs of one chunk; return the number of checkpoints made.

    Args:
        words: All keys' bytes as they were before this chunk's records, joined, int64.
        reals: The same memory as float64.
        blob_start: Word at which each key's bytes start, and the end, (n_keys + 1,).
        records: The chunk's records grouped by key, in log order, 4 words each, (4 * n_pairs,).
        key_start: First pair of each key, and the end, (n_keys + 1,).
        entity: Entity type of each key, (n_keys,).
        row: Row of `vectors` that a pair's features go to, (n_pairs,); -1 = none (labels).
        major: Minor units of one major unit of the base currency.
        maturity_s: Age at which a transaction counts as good, in seconds.
        vectors: float32 (n_rows, N_FEATURES), written.
        folded: Written, one row for each pair.
        room: Room for checkpoints, written.
        room_reals: `room.words` as float64.
        checkpoint_above: Raw records above which a key gets a checkpoint.
        keep_raw: Newest records that a checkpoint leaves raw.
        held: Records that stay raw as long as there is room: they may come again without a recorded answer.
        workspace: Written.
    """
    ints, floats, out, scratch = workspace
    made = 0
    for k in range(len(key_start) - 1):
        start, end, kind = blob_start[k], blob_start[k + 1], entity[k]
        is_broken = not is_sound(words, start, end, kind)
        if is_broken:
            end = start
        first_raw = start + checkpoint_words(words, start, end)
        decode(words, reals, start, end, kind, ints, floats)
        for i in range(first_raw, end, at.RECORD_WORDS):
            apply(ints, floats, kind, major, words[i : i + 4])
        has_replay = False
        for j in range(key_start[k], key_start[k + 1]):
            record = records[4 * j : 4 * j + 4]
            if is_seen(ints, record[0]):
                has_replay = True
                folded.status[j] = REPLAYED_INSIDE_CHECKPOINT
                folded.lateness[j] = 0
            else:
                folded.status[j] = BROKEN if is_broken else NEW
                if _is_transaction(record):
                    wake(ints, floats, record[1])
                    found = lateness(ints, record[1])
                    folded.lateness[j] = PAIR_STALE if found == STALE else PAIR_LATE if found == LATE else 0
                else:
                    folded.lateness[j] = 0
            folded.positions[j] = ints[at.N_RECORDS]
            if row[j] >= 0:
                evaluate(ints, floats, kind, major, maturity_s, record, out, scratch)
                _write(out, kind, vectors[row[j]])
            if folded.status[j] != REPLAYED_INSIDE_CHECKPOINT:
                apply(ints, floats, kind, major, record)
        if has_replay:
            _find_first_places(
                words, reals, start, first_raw, end, records, key_start[k], key_start[k + 1], kind, row, major, maturity_s, vectors, folded,
                workspace,
            )  # fmt: skip
        n_raw = (end - first_raw) // at.RECORD_WORDS + key_start[k + 1] - key_start[k]
        if n_raw > checkpoint_above and made < len(room.key) and not is_broken:
            n_used = _n_used(words, first_raw, end, n_raw, keep_raw, held)
            if n_used <= 0:
                continue
            decode(words, reals, start, end, kind, ints, floats)
            n_left = n_used
            for i in range(first_raw, end, at.RECORD_WORDS):
                if n_left > 0:
                    apply(ints, floats, kind, major, words[i : i + 4])
                    n_left -= 1
            for j in range(key_start[k], key_start[k] + n_left):
                apply(ints, floats, kind, major, records[4 * j : 4 * j + 4])
            generation = words[start] & 0xFFFFFFFF if first_raw > start else 0
            n_words = encode(ints, floats, kind, generation + 1, room.words, room_reals, room.start[made])
            room.key[made] = k
            room.used_bytes[made] = 8 * (first_raw - start + at.RECORD_WORDS * n_used)
            room.start[made + 1] = room.start[made] + n_words
            made += 1
    return made


@compiled
def _n_used(words: Ints, first_raw: int, end: int, n_raw: int, keep_raw: int, held: Held) -> int:
    """Return how many of the oldest records a checkpoint consumes: those before the first held one, and none of this chunk's."""
    if n_raw > MOST_RAW or len(held.source) == 0:
        return n_raw - keep_raw
    if held.source[0] < 0:
        return 0
    n_used = min(n_raw - keep_raw, (end - first_raw) // at.RECORD_WORDS)
    for n in range(n_used):
        word = words[first_raw + n * at.RECORD_WORDS]
        for j in range(len(held.source)):
            if held.source[j] == (word >> at.OFFSET_BITS) and (word & at.OFFSET_MASK) >= held.offset[j]:
                return n if n >= _LEAST_USED else 0
    return n_used


@compiled
def _find_first_places(
    words: Ints, reals: Floats, start: int, first_raw: int, end: int, records: Ints, first_pair: int, end_pair: int, kind: int, row: Ints,
    major: int, maturity_s: int, vectors: NDArray[np.float32], folded: Folded, workspace: Workspace,
) -> None:  # fmt: skip
    """Evaluate redelivered records at the place of their first copy, where that is still raw in the log."""
    ints, floats, out, scratch = workspace
    decode(words, reals, start, end, kind, ints, floats)
    for i in range(first_raw, end, at.RECORD_WORDS):
        record = words[i : i + 4]
        if not is_seen(ints, record[0]):
            for j in range(first_pair, end_pair):
                if records[4 * j] != record[0] or folded.status[j] != REPLAYED_INSIDE_CHECKPOINT:
                    continue
                folded.status[j] = REPLAYED
                folded.positions[j] = ints[at.N_RECORDS]
                if _is_transaction(record):
                    wake(ints, floats, record[1])
                    found = lateness(ints, record[1])
                    folded.lateness[j] = PAIR_STALE if found == STALE else PAIR_LATE if found == LATE else 0
                if row[j] >= 0:
                    evaluate(ints, floats, kind, major, maturity_s, record, out, scratch)
                    _write(out, kind, vectors[row[j]])
        apply(ints, floats, kind, major, record)
