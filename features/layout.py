"""Where each quantity of an entity's state lies: decoded (two arrays), encoded (8-byte words) and as a record.

Decoded state is `ints` (int64, shape (N_INTS,)) and `floats` (float64, shape (N_FLOATS,)). All zeros is the state of an
entity that was never seen, so that decoding starts with a fill.
"""

from itertools import accumulate
from typing import Final

import numpy as np

from features import spec

CARD: Final = 0
MERCHANT: Final = 1
N_ENTITIES: Final = len(spec.ENTITIES)

# Tuples, not arrays: compiled code divides by their numbers, which is three times as fast when it knows them.
WINDOW_S: Final = tuple(spec.WINDOWS_S.values())
HOP_S: Final = tuple(spec.HOPS_S.values())
N_LEVELS: Final = len(WINDOW_S)
#: Tiles of each level: every tile that a window can reach, also 10 minutes before the newest event.
RING: Final = tuple(-(-(spec.LATENESS_S + w) // h) + 2 for w, h in zip(WINDOW_S, HOP_S, strict=True))
LEVEL_START: Final = (0, *accumulate(RING))
N_TILES: Final = LEVEL_START[-1]
SLOTS: Final = spec.COUNTERPARTY_SLOTS
MAX_SLOTS: Final = max(SLOTS)
N_DAYS: Final = spec.DAY_TILES
N_AMOUNTS: Final = 30
"""Amounts that the median looks at."""
MAX_SOURCES: Final = 256
"""Watermarks a state can hold: one per partition of the source topics."""

# ints
NEWEST_MS, LAST_MS, LAST_AMOUNT, LAST_LAT, LAST_LON, N_TRANSACTIONS, N_RECORDS, N_MARKS = range(8)
AMOUNTS_EVER, AMOUNT_SUM, ODD_MS, GONE_COUNT, GONE_FRAUDS = range(8, 13)
TILES: Final = 16
TILE_WIDTH: Final = 5
TILE_INDEX, TILE_COUNT, TILE_SUM, TILE_MAX, TILE_UNKNOWN = range(TILE_WIDTH)
SEEN: Final = TILES + N_TILES * TILE_WIDTH
"""Counterparty slots: newest second at which a counterparty of that slot was seen."""
DAYS: Final = SEEN + MAX_SLOTS
DAY_WIDTH: Final = 4
DAY, DAY_COUNT, DAY_FRAUDS, DAY_NEWEST_FRAUD_MS = range(DAY_WIDTH)
RECENT: Final = DAYS + N_DAYS * DAY_WIDTH
"""Ring of the last amounts."""
MARKS: Final = RECENT + N_AMOUNTS
"""Watermarks: newest record folded in, per source."""
N_INTS: Final = MARKS + MAX_SOURCES

# floats: the sums of squares of the tiles, then
SQUARE_SUM: Final = N_TILES
EWMA: Final = N_TILES + 1
ODD: Final = N_TILES + 2
N_FLOATS: Final = N_TILES + 3

N_SCRATCH: Final = N_AMOUNTS
"""Integers that an evaluation writes to on its way."""

NO_AMOUNT: Final = -1
NO_PLACE: Final = -32768
"""Latitude of a record without a place; places are in 0.01 degree."""

RECORD: Final = np.dtype(
    [
        ("source", "<u8"),  # registered source id << 48 | offset
        ("time_ms", "<i8"),
        ("amount", "<u4"),  # minor units of the base currency, capped
        ("counterparty", "<u4"),
        ("lat", "<i2"),
        ("lon", "<i2"),
        ("kind", "u1"),
        ("flags", "u1"),
        ("spare", "<u2"),
    ]
)
RECORD_BYTES: Final = 32
RECORD_WORDS: Final = 4
LARGEST_AMOUNT: Final = (1 << 32) - 1
OFFSET_BITS: Final = 48
OFFSET_MASK: Final = (1 << OFFSET_BITS) - 1

TRANSACTION: Final = 0
FRAUD: Final = 1
"""A label: the transaction at `time_ms` became known as a fraud."""
FRAUD_UNDONE: Final = 2
"""A label: it is not a fraud after all."""
AMOUNT_UNKNOWN: Final = 1
"""Bit in `flags`."""

# Encoded: header (2 words), snapshot, records. The top byte of a record's first word is never 0xFF.
MAGIC: Final = -0xAD
"""Top 16 bits (0xFF53) of a checkpoint's first word, as a signed number."""
FORMAT: Final = 1
HEADER_WORDS: Final = 2
FIXED_WORDS: Final = 5
CARD_WORDS: Final = 6 + N_AMOUNTS // 2
SNAPSHOT_WORDS: Final = FIXED_WORDS + 4 * N_TILES + MAX_SLOTS + MAX_SOURCES + CARD_WORDS + 1 + 2 * N_DAYS
"""Most words of a snapshot."""

HISTORY_SOURCE: Final = 1
"""Source id of records that a rebuild folded from a history; registered sources start above it."""
LARGEST_SOURCE: Final = 0x7EFF

# Columns of each entity's features in the vector.
FIRST_COLUMN: Final = tuple(next(i for i, f in enumerate(spec.FEATURES) if f.entity == e) for e in spec.ENTITIES)
N_COLUMNS: Final = tuple(sum(f.entity == e for f in spec.FEATURES) for e in spec.ENTITIES)
MAX_COLUMNS: Final = max(N_COLUMNS)
N_EVENT_COLUMNS: Final = sum(f.entity is None for f in spec.FEATURES)
