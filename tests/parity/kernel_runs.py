"""Run the kernel, the codec and the online fold over the items of one entity."""

from zlib import crc32

import numpy as np

from features import layout as at
from features import spec
from features.codec import checkpoint_words, decode, encode, is_sound
from features.evaluation import evaluate
from features.fold import NOTHING_HELD, Folded, Held, checkpoint_room, fold
from features.kernel import apply, new_workspace, wake

KINDS = {"transaction": at.TRANSACTION, "fraud": at.FRAUD, "fraud_undone": at.FRAUD_UNDONE}


def records_of(items, source: int = 2):
    records = np.zeros(len(items), at.RECORD)
    for place, item in enumerate(items):
        lat, lon = item.place or (at.NO_PLACE, at.NO_PLACE)
        records[place] = (
            (source << at.OFFSET_BITS) | (place + 1), item.time_ms, item.amount or 0, crc32(item.counterparty.encode()),
            lat, lon, KINDS[item.kind], at.AMOUNT_UNKNOWN if item.amount is None else 0, 0,
        )  # fmt: skip
    return records


def names_of(entity: str) -> list[str]:
    return [f.name for f in spec.FEATURES if f.entity == entity]


def kernel_features(entity: str, items, *, recode: bool = False, maturity_days: int = 7) -> list[dict[str, float] | None]:
    """Return the features before each item (None for labels); `recode` passes the state through bytes each time."""
    kind = spec.ENTITIES.index(entity)
    ints, floats, out, scratch = new_workspace()
    found: list[dict[str, float] | None] = []
    for item, record in zip(items, records_of(items).view(np.int64).reshape(-1, 4), strict=True):
        if recode:
            words = np.zeros(at.HEADER_WORDS + at.SNAPSHOT_WORDS, np.int64)
            n = encode(ints, floats, kind, 1, words, words.view(np.float64), 0)
            assert is_sound(words, 0, n, kind)
            assert checkpoint_words(words, 0, n) == n
            decode(words, words.view(np.float64), 0, n, kind, ints, floats)
        if item.kind == "transaction":
            wake(ints, floats, record[1])
            evaluate(ints, floats, kind, 100, maturity_days * 86_400, record, out, scratch)
            found.append(dict(zip(names_of(entity), out.tolist(), strict=False)))
        else:
            found.append(None)
        apply(ints, floats, kind, 100, record)
    return found


def fold_once(entity: str, blob: bytes, records, *, above: int = 64, keep: int = 24, held: Held = NOTHING_HELD):
    """Fold one chunk of one entity; return (vectors, folded, checkpoint bytes or None, bytes consumed)."""
    kind = spec.ENTITIES.index(entity)
    n = len(records)
    words = np.frombuffer(blob or bytes(8), np.int64)
    folded = Folded(np.empty(n, np.int8), np.empty(n, np.int8), np.empty(n, np.int64))
    vectors = np.full((n, spec.N_FEATURES), np.nan, np.float32)
    row = np.where(records["kind"] == at.TRANSACTION, np.arange(n), -1)
    room = checkpoint_room(2)
    made = fold(
        words, words.view(np.float64), np.array([0, len(blob) // 8]), records.view(np.int64), np.array([0, n]), np.array([kind]), row, 100,
        7 * 86_400, vectors, folded, room, room.words.view(np.float64), above, keep, held, new_workspace(),
    )  # fmt: skip
    content = room.words[: room.start[1]].tobytes() if made else None
    return vectors, folded, content, int(room.used_bytes[0]) if made else 0
