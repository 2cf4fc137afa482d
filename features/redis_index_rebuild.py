"""Fill the decision index from a history, as if the stream had written it."""

import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Final

import numpy as np
import polars as pl

from features import layout as at
from features.columns import Columns
from features.index import APPLIED, NO_ID, encode_id, encode_label, fixed_parts
from features.index_budget import ENTRY_OVERHEAD_BYTES, SLOT_MS
from features.keys import Keys
from features.redis_wire import Call, Wire
from features.redis_writing import Writing

_DAY_S: Final = 86_400
_BLOCK: Final = 10_000
_SHORTEST_S: Final = 3_600
_PLANNED_SHARE: Final = 0.85
"""Share of the bound that is used: as much as the stream's budget plans for."""
_FIRST_SOURCE: Final = (at.HISTORY_SOURCE << at.OFFSET_BITS) + 1
Block = tuple[int, list[tuple[bytes, bytes]]]


async def write_index(
    wire: Wire, keys: Keys, history: pl.DataFrame, columns: Columns, *, end_ms: int, index_days: int, max_bytes: int,
    progress: Callable[[float], None],
) -> int:  # fmt: skip
    """Write the entries of the last `index_days` before `end_ms`, the newest first; return the number of new ones.

    An entry that is there stays. Each is kept for as long as if it had been written at its transaction's time.

    Raises:
        Unavailable: Redis does not answer; what is written stays.
    """
    times = columns.batch.time_ms
    first, end = np.searchsorted(times, [end_ms - index_days * _DAY_S * 1000, end_ms]).tolist()
    size = 0
    now_ms = time.time_ns() // 1_000_000
    async with Writing(wire) as writing:
        for place, pairs in _blocks(keys, history, columns, first, end, end_ms):
            size += sum(len(name) + len(entry) + ENTRY_OVERHEAD_BYTES for name, entry in pairs)
            if max_bytes and size > _PLANNED_SHARE * max_bytes:
                break
            ttl_s = max(_SHORTEST_S, index_days * _DAY_S - (end_ms - int(times[place + len(pairs) - 1])) // 1000)
            slot = (now_ms + ttl_s * 1000) // SLOT_MS
            await writing.put([("SET", name, entry, "NX", "EX", ttl_s) for name, entry in pairs], slot)
            progress((end - place) / (end - first))
    sizes = {slot: writing.n_bytes[slot] + n * ENTRY_OVERHEAD_BYTES for slot, n in writing.n_set.items()}
    if sizes:  # the budget of the workers has to know what ends when
        await wire.run([Call(keys.index_bytes, tuple(("HINCRBY", keys.index_bytes, f"s{slot}", n) for slot, n in sizes.items()))])
    return writing.n_set.total()


def _blocks(keys: Keys, history: pl.DataFrame, columns: Columns, first: int, end: int, end_ms: int) -> Iterator[Block]:
    """Yield (first row, (key, entry) of each row) of the rows [first, end), in blocks of a day at most, the newest first."""
    times = columns.batch.time_ms
    labels = _known_labels(history, first, end, end_ms)
    encoded = [[*map(encode_id, entities.ids), NO_ID] for entities in columns.entities]
    days = np.flatnonzero(np.diff(times[first:end] // (_DAY_S * 1000))) + first + 1
    edges = sorted({*range(first, end, _BLOCK), *days.tolist(), end})
    for a, b in reversed(list(pairwise(edges))):
        heads = fixed_parts(np.arange(_FIRST_SOURCE + a, _FIRST_SOURCE + b), times[a:b].tolist(), times[a:b], answer=APPLIED)
        # code -1, none, is the last of the encoded ids
        ids = [[each[c] for c in entities.code[a:b].tolist()] for each, entities in zip(encoded, columns.entities, strict=True)]
        names = map(keys.index, history["transaction_id"][a:b].to_list())
        entries = map(b"".join, zip(heads, *ids, (labels.get(row, b"") for row in range(a, b)), strict=True))
        yield a, list(zip(names, entries, strict=True))


def _known_labels(history: pl.DataFrame, first: int, end: int, end_ms: int) -> dict[int, bytes]:
    """Return row -> encoded label of the frauds known before `end_ms`."""
    part = history[first:end].select("is_fraud", "label_time_ms").with_row_index("row", offset=first)
    known = part.filter(pl.col("is_fraud") & (pl.col("label_time_ms") < end_ms))
    return {row: encode_label(_FIRST_SOURCE + row, label_ms, is_fraud=True, change=1) for row, _, label_ms in known.iter_rows()}
