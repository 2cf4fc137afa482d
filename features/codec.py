"""An entity's state as bytes: [header + snapshot] + records, all little-endian 8-byte words.

A key holds records only, or a checkpoint (header and snapshot) and the records after it. The header is two words:
`MAGIC << 48 | generation` and `words | format << 16 | checksum of the snapshot << 32`. Only what is in use is stored.
"""

import numpy as np

from features import layout as at
from features import spec
from features.compiled import compiled
from features.kernel import Floats, Ints, short

_WINDOW_S, _HOP_S, _RING, _START, _SLOTS = at.WINDOW_S, at.HOP_S, at.RING, at.LEVEL_START, at.SLOTS
_LOW32 = 0xFFFFFFFF
_LOW35 = (1 << 35) - 1
_SINGLE_INDICES = 1 << 29
"""Tiles of 30 s up to the year 2480; a later one takes four words."""
_FACTOR = np.int64(-7_046_029_254_386_353_131)
"""2^64 over the golden ratio, odd: multiplication by it loses nothing."""
_SEED = 0x5745_4952


@compiled
def checksum(words: Ints, start: int, end: int) -> int:
    """Return a 32-bit checksum of `words[start:end]`: two lanes of xor and multiply, folded.

    Each step is a bijection of its lane, so no change of one word goes unnoticed before the fold to 32 bits. A CRC-32 took a
    third of the fold's time (ADR 4).
    """
    even, odd = np.int64(_SEED), np.int64(~_SEED)
    i = start
    while i + 1 < end:
        even = (even ^ words[i]) * _FACTOR
        odd = (odd ^ words[i + 1]) * _FACTOR
        even ^= (even >> 29) & _LOW35
        odd ^= (odd >> 29) & _LOW35
        i += 2
    if i < end:
        even = (even ^ words[i]) * _FACTOR
        even ^= (even >> 29) & _LOW35
    mixed = (even ^ ((odd << 17) | ((odd >> 47) & 0x1FFFF))) * _FACTOR
    return int(((mixed >> 32) ^ mixed) & _LOW32)


@compiled
def encode(ints: Ints, floats: Floats, entity: int, generation: int, words: Ints, reals: Floats, start: int) -> int:
    """Write header and snapshot of a state at `words[start:]`; return their length in words.

    Args:
        ints: State, int64 (N_INTS,).
        floats: State, float64 (N_FLOATS,).
        entity: Code of the entity type.
        generation: Number of the checkpoint.
        words: int64, room for HEADER_WORDS + SNAPSHOT_WORDS from `start`.
        reals: The same memory as `words`, seen as float64.
        start: First word.
    """
    a = start + at.HEADER_WORDS
    words[a] = ints[at.NEWEST_MS]
    words[a + 1] = ints[at.LAST_MS]
    last = max(ints[at.LAST_AMOUNT], 0)
    words[a + 2] = last | ((ints[at.LAST_LAT] & 0xFFFF) << 32) | ((ints[at.LAST_LON] & 0xFFFF) << 48)
    words[a + 3] = ints[at.N_TRANSACTIONS] | (ints[at.N_RECORDS] << 32)
    i, n_tiles, n_singles = _encode_tiles(ints, floats, words, reals, a + at.FIXED_WORDS)
    i, n_seen = _encode_seen(ints, entity, words, i)
    n_marks = ints[at.N_MARKS]
    for j in range(n_marks):
        words[i + j] = ints[at.MARKS + j]
    i += n_marks
    if entity == at.CARD:
        i = _encode_amounts(ints, floats, words, reals, i)
    n_days = 0
    if entity <= at.MERCHANT:
        i, n_days = _encode_days(ints, words, i)
    unknown = 1 if ints[at.LAST_AMOUNT] < 0 else 0
    words[a + 4] = n_tiles | (n_singles << 8) | (n_seen << 16) | (n_marks << 32) | (n_days << 48) | (unknown << 56)
    words[start] = (at.MAGIC << 48) | (generation & _LOW32)
    words[start + 1] = (i - a) | (at.FORMAT << 16) | (checksum(words, a, i) << 32)
    return i - start


@compiled
def _is_single(ints: Ints, tile: int) -> bool:
    """Tell whether a tile holds one known amount: one word says all of it."""
    return bool(ints[tile + at.TILE_COUNT] == 1 and ints[tile + at.TILE_UNKNOWN] == 0 and ints[tile] < _SINGLE_INDICES)


@compiled
def _encode_tiles(ints: Ints, floats: Floats, words: Ints, reals: Floats, i: int) -> tuple[int, int, int]:
    """Write the tiles that a window can still reach: four words each, then those of one amount, a word each."""
    n_tiles = n_singles = 0
    oldest_s = ints[at.NEWEST_MS] // 1000 - spec.LATENESS_S
    for is_single in (False, True):
        for level in range(at.N_LEVELS):
            low = (oldest_s - _WINDOW_S[level]) // _HOP_S[level]
            for place in range(_START[level], _START[level + 1]):
                tile = at.TILES + at.TILE_WIDTH * place
                if ints[tile + at.TILE_COUNT] == 0 or ints[tile] < low or _is_single(ints, tile) != is_single:
                    continue
                if is_single:
                    words[i] = ints[tile] | (level << 29) | (ints[tile + at.TILE_SUM] << 32)
                    i += 1
                    n_singles += 1
                    continue
                words[i] = ints[tile] | (ints[tile + at.TILE_COUNT] << 32)
                words[i + 1] = ints[tile + at.TILE_SUM]
                reals[i + 2] = floats[place]
                words[i + 3] = ints[tile + at.TILE_MAX] | (ints[tile + at.TILE_UNKNOWN] << 32) | (place << 48)
                i += 4
                n_tiles += 1
    return i, n_tiles, n_singles


@compiled
def _encode_seen(ints: Ints, entity: int, words: Ints, i: int) -> tuple[int, int]:
    """Write the counterparty slots that the longest window can still reach."""
    n = 0
    hop = _HOP_S[at.N_LEVELS - 1]
    oldest = (ints[at.NEWEST_MS] // 1000 - spec.LATENESS_S - _WINDOW_S[at.N_LEVELS - 1]) // hop * hop
    for slot in range(_SLOTS[entity]):
        if ints[at.SEEN + slot] > 0 and ints[at.SEEN + slot] >= oldest:
            words[i] = ints[at.SEEN + slot] | (slot << 40)
            i += 1
            n += 1
    return i, n


@compiled
def _encode_amounts(ints: Ints, floats: Floats, words: Ints, reals: Floats, i: int) -> int:
    words[i] = ints[at.AMOUNTS_EVER]
    words[i + 1] = ints[at.AMOUNT_SUM]
    reals[i + 2] = floats[at.SQUARE_SUM]
    reals[i + 3] = floats[at.EWMA]
    reals[i + 4] = floats[at.ODD]
    words[i + 5] = ints[at.ODD_MS]
    for j in range(at.N_AMOUNTS // 2):
        words[i + 6 + j] = ints[at.RECENT + 2 * j] | (ints[at.RECENT + 2 * j + 1] << 32)
    return i + at.CARD_WORDS


@compiled
def _encode_days(ints: Ints, words: Ints, i: int) -> tuple[int, int]:
    words[i] = ints[at.GONE_COUNT] | (ints[at.GONE_FRAUDS] << 32)
    i += 1
    n = 0
    for tile in range(at.DAYS, at.DAYS + at.N_DAYS * at.DAY_WIDTH, at.DAY_WIDTH):
        if ints[tile + at.DAY_COUNT] > 0:
            newest = ints[tile + at.DAY_NEWEST_FRAUD_MS]
            in_day = newest - ints[tile] * 86_400_000 + 1 if newest > 0 else 0
            words[i] = ints[tile] | (ints[tile + at.DAY_COUNT] << 32)
            words[i + 1] = ints[tile + at.DAY_FRAUDS] | (in_day << 32)
            i += 2
            n += 1
    return i, n


@compiled
def is_checkpoint(words: Ints, start: int, end: int) -> bool:
    """Tell whether the blob `words[start:end]` begins with a checkpoint."""
    return end > start and (words[start] >> 48) == at.MAGIC


@compiled
def checkpoint_words(words: Ints, start: int, end: int) -> int:
    """Return the words that the checkpoint of a sound blob takes, header included; 0 without one."""
    return at.HEADER_WORDS + (words[start + 1] & 0xFFFF) if is_checkpoint(words, start, end) else 0


@compiled
def is_sound(words: Ints, start: int, end: int, entity: int) -> bool:
    """Tell whether a blob can be decoded: length, format, counts, places and checksum are right.

    numba does not check bounds, so nothing is decoded before this says yes.
    """
    if end == start:
        return True
    if not is_checkpoint(words, start, end):
        return (end - start) % at.RECORD_WORDS == 0
    if end - start < at.HEADER_WORDS + at.FIXED_WORDS or ((words[start + 1] >> 16) & 0xFFFF) != at.FORMAT:
        return False
    n = words[start + 1] & 0xFFFF
    a = start + at.HEADER_WORDS
    if n < at.FIXED_WORDS or a + n > end or (end - a - n) % at.RECORD_WORDS != 0:
        return False
    if checksum(words, a, a + n) != ((words[start + 1] >> 32) & _LOW32):
        return False
    counts = words[a + 4]
    n_tiles, n_singles = counts & 0xFF, (counts >> 8) & 0xFF
    n_seen, n_marks, n_days = (counts >> 16) & 0xFFFF, (counts >> 32) & 0xFFFF, (counts >> 48) & 0xFF
    expected = at.FIXED_WORDS + 4 * n_tiles + n_singles + n_seen + n_marks
    expected += at.CARD_WORDS if entity == at.CARD else 0
    expected += 1 + 2 * n_days if entity <= at.MERCHANT else 0
    if n_tiles + n_singles > at.N_TILES or n_seen > _SLOTS[entity] or n_marks > at.MAX_SOURCES or n_days > at.N_DAYS or n != expected:
        return False
    i = a + at.FIXED_WORDS
    for j in range(i, i + 4 * n_tiles, 4):
        if ((words[j + 3] >> 48) & 0xFFFF) >= at.N_TILES:
            return False
    i += 4 * n_tiles
    for j in range(i, i + n_singles):
        if ((words[j] >> 29) & 7) >= at.N_LEVELS:
            return False
    i += n_singles
    for j in range(i, i + n_seen):  # noqa: SIM110 - compiled: no generators
        if words[j] >> 40 < 0 or words[j] >> 40 >= _SLOTS[entity]:
            return False
    return True


@compiled
def decode(words: Ints, reals: Floats, start: int, end: int, entity: int, ints: Ints, floats: Floats) -> None:
    """Set `ints` and `floats` to the checkpoint of a sound blob, or to the empty state if it has none."""
    ints[:] = 0
    floats[:] = 0.0
    if not is_checkpoint(words, start, end):
        return
    a = start + at.HEADER_WORDS
    counts = words[a + 4]
    ints[at.NEWEST_MS] = words[a]
    ints[at.LAST_MS] = words[a + 1]
    ints[at.LAST_AMOUNT] = at.NO_AMOUNT if (counts >> 56) & 1 else words[a + 2] & _LOW32
    ints[at.LAST_LAT] = short(words[a + 2] >> 32)
    ints[at.LAST_LON] = short(words[a + 2] >> 48)
    ints[at.N_TRANSACTIONS] = words[a + 3] & _LOW32
    ints[at.N_RECORDS] = (words[a + 3] >> 32) & _LOW32
    i = a + at.FIXED_WORDS
    for _ in range(counts & 0xFF):
        place = (words[i + 3] >> 48) & 0xFFFF
        tile = at.TILES + at.TILE_WIDTH * place
        ints[tile] = words[i] & _LOW32
        ints[tile + at.TILE_COUNT] = (words[i] >> 32) & _LOW32
        ints[tile + at.TILE_SUM] = words[i + 1]
        floats[place] = reals[i + 2]
        ints[tile + at.TILE_MAX] = words[i + 3] & _LOW32
        ints[tile + at.TILE_UNKNOWN] = (words[i + 3] >> 32) & 0xFFFF
        i += 4
    for _ in range((counts >> 8) & 0xFF):
        index, level, amount = words[i] & (_SINGLE_INDICES - 1), (words[i] >> 29) & 7, (words[i] >> 32) & _LOW32
        place = _START[level] + index % _RING[level]
        tile = at.TILES + at.TILE_WIDTH * place
        ints[tile] = index
        ints[tile + at.TILE_COUNT] = 1
        ints[tile + at.TILE_SUM] = amount
        ints[tile + at.TILE_MAX] = amount
        ints[tile + at.TILE_UNKNOWN] = 0
        floats[place] = float(amount) * float(amount)
        i += 1
    for _ in range((counts >> 16) & 0xFFFF):
        ints[at.SEEN + (words[i] >> 40)] = words[i] & 0xFFFFFFFFFF
        i += 1
    n_marks = (counts >> 32) & 0xFFFF
    ints[at.N_MARKS] = n_marks
    for j in range(n_marks):
        ints[at.MARKS + j] = words[i + j]
    i += n_marks
    if entity == at.CARD:
        i = _decode_amounts(words, reals, i, ints, floats)
    if entity <= at.MERCHANT:
        _decode_days(words, i, (counts >> 48) & 0xFF, ints)


@compiled
def _decode_amounts(words: Ints, reals: Floats, i: int, ints: Ints, floats: Floats) -> int:
    ints[at.AMOUNTS_EVER] = words[i]
    ints[at.AMOUNT_SUM] = words[i + 1]
    floats[at.SQUARE_SUM] = reals[i + 2]
    floats[at.EWMA] = reals[i + 3]
    floats[at.ODD] = reals[i + 4]
    ints[at.ODD_MS] = words[i + 5]
    for j in range(at.N_AMOUNTS // 2):
        ints[at.RECENT + 2 * j] = words[i + 6 + j] & _LOW32
        ints[at.RECENT + 2 * j + 1] = (words[i + 6 + j] >> 32) & _LOW32
    return i + at.CARD_WORDS


@compiled
def _decode_days(words: Ints, i: int, n_days: int, ints: Ints) -> None:
    ints[at.GONE_COUNT] = words[i] & _LOW32
    ints[at.GONE_FRAUDS] = (words[i] >> 32) & _LOW32
    i += 1
    for _ in range(n_days):
        day = words[i] & _LOW32
        tile = at.DAYS + at.DAY_WIDTH * (day % at.N_DAYS)
        in_day = (words[i + 1] >> 32) & _LOW32
        ints[tile] = day
        ints[tile + at.DAY_COUNT] = (words[i] >> 32) & _LOW32
        ints[tile + at.DAY_FRAUDS] = words[i + 1] & _LOW32
        ints[tile + at.DAY_NEWEST_FRAUD_MS] = day * 86_400_000 + in_day - 1 if in_day > 0 else 0
        i += 2
