"""The one kernel, online and offline: apply a record to a state (`features.evaluation` evaluates a transaction on it).

The state of an entity is the fold of `apply` over its records in the order of its log. Everything that forgets happens
inside `apply`, so a checkpoint of the state at any place never changes a feature. Integers where possible, float64
else, a fixed order of additions and no fastmath: the same records give the same bits everywhere (ADR 4).
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features import layout as at
from features import spec
from features.compiled import compiled

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

LATENESS_MS = spec.LATENESS_S * 1000
_STALE_MS = spec.STALE_S * 1000
_IDLE_MS = spec.IDLE_S * 1000
_DAY_S = 86_400
_DAY_MS = 86_400_000
_HALF_LIFE_MS = 7.0 * _DAY_MS
_ODD_RATIO = 2.5
_ODD_FROM = 5
_HOP_S, _RING, _START, _SLOTS = at.HOP_S, at.RING, at.LEVEL_START, at.SLOTS


class Workspace(NamedTuple):
    """The arrays that one thread decodes, applies and evaluates with; kept, because compiled code makes none."""

    ints: Ints
    floats: Floats
    out: Floats
    scratch: Ints


def new_workspace() -> Workspace:
    """Return a workspace in the state of an entity never seen."""
    return Workspace(np.zeros(at.N_INTS, np.int64), np.zeros(at.N_FLOATS), np.zeros(at.MAX_COLUMNS), np.zeros(at.N_SCRATCH, np.int64))


# What `apply` returns, and `lateness` tells in advance.
APPLIED, LATE, STALE, SEEN_BEFORE = range(4)


@compiled
def is_seen(ints: Ints, source: int) -> bool:
    """Tell whether this record is already folded in: at or below its source's watermark."""
    for j in range(at.MARKS, at.MARKS + ints[at.N_MARKS]):
        if (ints[j] >> at.OFFSET_BITS) == (source >> at.OFFSET_BITS):
            return bool((ints[j] & at.OFFSET_MASK) >= (source & at.OFFSET_MASK))
    return False


@compiled
def _advance(ints: Ints, source: int) -> bool:
    """Move the watermark of the record's source; False if the record is at or below it."""
    n = ints[at.N_MARKS]
    for j in range(at.MARKS, at.MARKS + n):
        if (ints[j] >> at.OFFSET_BITS) == (source >> at.OFFSET_BITS):
            if (ints[j] & at.OFFSET_MASK) >= (source & at.OFFSET_MASK):
                return False
            ints[j] = source
            return True
    if n == at.MAX_SOURCES:
        # A worker does not start with more live sources than fit, so the longest-known mark is of a dead topic.
        for j in range(at.MARKS, at.MARKS + n - 1):
            ints[j] = ints[j + 1]
        n -= 1
    ints[at.MARKS + n] = source
    ints[at.N_MARKS] = n + 1
    return True


@compiled
def wake(ints: Ints, floats: Floats, time_ms: int) -> None:
    """Start anew (all but watermarks and the record count) if the entity was idle for 100 days before `time_ms`."""
    if ints[at.N_TRANSACTIONS] == 0 or time_ms - ints[at.NEWEST_MS] <= _IDLE_MS:
        return
    n_records, n_marks = ints[at.N_RECORDS], ints[at.N_MARKS]
    for i in range(at.MARKS):  # a slice costs more than its stores, in every call that has one
        ints[i] = 0
    for i in range(at.N_FLOATS):
        floats[i] = 0.0
    ints[at.N_RECORDS], ints[at.N_MARKS] = n_records, n_marks


@compiled
def lateness(ints: Ints, time_ms: int) -> int:
    """Return APPLIED (on time), LATE or STALE for a transaction at `time_ms`."""
    if ints[at.N_TRANSACTIONS] == 0:
        return APPLIED
    behind = ints[at.NEWEST_MS] - time_ms
    return STALE if behind > _STALE_MS else LATE if behind > LATENESS_MS else APPLIED


@compiled
def apply(ints: Ints, floats: Floats, entity: int, major: int, record: Ints) -> int:
    """Fold one record (its 4 words) into the state.

    Args:
        ints: State, int64 (N_INTS,); changed.
        floats: State, float64 (N_FLOATS,); changed.
        entity: Code of the entity type.
        major: Minor units of one major unit of the base currency.
        record: int64 (4,), see `layout.RECORD`.

    Returns:
        APPLIED or LATE; STALE or SEEN_BEFORE if the state (but for the watermark and the record count) did not change.
    """
    if not _advance(ints, record[0]):
        return SEEN_BEFORE
    ints[at.N_RECORDS] += 1
    kind = (record[3] >> 32) & 0xFF
    time_ms = record[1]
    if kind != at.TRANSACTION:
        _apply_label(ints, time_ms, kind)
        return APPLIED
    wake(ints, floats, time_ms)
    found = lateness(ints, time_ms)
    if found == STALE:
        return STALE
    amount = at.NO_AMOUNT if (record[3] >> 40) & at.AMOUNT_UNKNOWN else record[2] & 0xFFFFFFFF
    ints[at.N_TRANSACTIONS] += 1
    ints[at.NEWEST_MS] = max(ints[at.NEWEST_MS], time_ms)
    second = time_ms // 1000
    _apply_tiles(ints, floats, second, amount)
    slot = at.SEEN + ((record[2] >> 32) & 0xFFFFFFFF) % _SLOTS[entity]
    ints[slot] = max(ints[slot], second)
    if entity == at.CARD and amount >= 0:
        _apply_amount(ints, floats, time_ms, amount, major)
    if entity <= at.MERCHANT:
        _apply_day(ints, second // _DAY_S)
    if ints[at.N_TRANSACTIONS] == 1 or time_ms >= ints[at.LAST_MS]:
        ints[at.LAST_MS] = time_ms
        ints[at.LAST_AMOUNT] = amount
        ints[at.LAST_LAT] = short(record[3])
        ints[at.LAST_LON] = short(record[3] >> 16)
    return found


@compiled
def short(word: int) -> int:
    """Return the lowest 16 bits as a signed number."""
    low = word & 0xFFFF
    return low - 65536 if low >= 32768 else low


@compiled
def _apply_tiles(ints: Ints, floats: Floats, second: int, amount: int) -> None:
    """Count the event in its true tile of each level that still holds it."""
    for level in range(at.N_LEVELS):
        index = second // _HOP_S[level]
        place = _START[level] + index % _RING[level]
        tile = at.TILES + at.TILE_WIDTH * place
        if ints[tile] > index:  # the slot holds a newer tile: no window reaches this one any more
            continue
        if ints[tile] < index:
            ints[tile] = index
            for j in range(1, at.TILE_WIDTH):
                ints[tile + j] = 0
            floats[place] = 0.0
        ints[tile + at.TILE_COUNT] += 1
        if amount < 0:
            ints[tile + at.TILE_UNKNOWN] = min(ints[tile + at.TILE_UNKNOWN] + 1, 0xFFFF)
            continue
        ints[tile + at.TILE_SUM] += amount
        floats[place] += float(amount) * float(amount)
        ints[tile + at.TILE_MAX] = max(ints[tile + at.TILE_MAX], amount)


@compiled
def _apply_amount(ints: Ints, floats: Floats, time_ms: int, amount: int, major: int) -> None:
    """Fold an amount into the card's own past: sums, clipped moving average, odd amounts, ring of the last ones."""
    n = ints[at.AMOUNTS_EVER]
    x = float(amount)
    if n >= _ODD_FROM and _is_odd(ints, x):
        _apply_odd(ints, floats, time_ms)
    ints[at.AMOUNTS_EVER] = n + 1
    ints[at.AMOUNT_SUM] += amount
    floats[at.SQUARE_SUM] += x * x
    if n == 0:
        floats[at.EWMA] = x
    else:
        average = floats[at.EWMA]
        clipped = min(x, 3.0 * max(average, float(major)))
        floats[at.EWMA] = average + max(0.05, 1.0 / (n + 1)) * (clipped - average)
    ints[at.RECENT + n % at.N_AMOUNTS] = amount


@compiled
def _is_odd(ints: Ints, x: float) -> bool:
    """Tell whether x > 2.5 medians, without sorting: more than half of the ring's amounts lie below x / 2.5."""
    k = min(ints[at.AMOUNTS_EVER], at.N_AMOUNTS)
    below = 0
    for i in range(at.RECENT, at.RECENT + k):
        below += 1 if _ODD_RATIO * ints[i] < x else 0
    return bool(below > k // 2)


@compiled
def _apply_odd(ints: Ints, floats: Floats, time_ms: int) -> None:
    """Add one odd amount to the counter, which halves every 7 days and is kept as of its newest odd amount."""
    behind = time_ms - ints[at.ODD_MS]
    if behind >= 0:
        floats[at.ODD] = floats[at.ODD] * half(float(behind)) + 1.0
        ints[at.ODD_MS] = time_ms
    else:
        floats[at.ODD] += half(float(-behind))


@compiled
def half(elapsed_ms: float) -> float:
    """Return what is left of 1 after `elapsed_ms` with a half-life of 7 days."""
    return math.exp(-math.log(2.0) * (elapsed_ms / _HALF_LIFE_MS))


@compiled
def _apply_day(ints: Ints, day: int) -> None:
    """Count a transaction in its day tile; a day pushed out of the ring goes to the totals."""
    tile = at.DAYS + at.DAY_WIDTH * (day % at.N_DAYS)
    if ints[tile] > day:
        return
    if ints[tile] < day:
        ints[at.GONE_COUNT] += ints[tile + at.DAY_COUNT]
        ints[at.GONE_FRAUDS] += ints[tile + at.DAY_FRAUDS]
        ints[tile] = day
        for j in range(1, at.DAY_WIDTH):
            ints[tile + j] = 0
    ints[tile + at.DAY_COUNT] += 1


@compiled
def _apply_label(ints: Ints, time_ms: int, kind: int) -> None:
    """Credit a fraud, or take it back, on the day of its transaction; never more frauds than transactions."""
    day = time_ms // _DAY_MS
    tile = at.DAYS + at.DAY_WIDTH * (day % at.N_DAYS)
    if ints[tile] > day:  # the day has left the ring
        if kind == at.FRAUD:
            ints[at.GONE_FRAUDS] = min(ints[at.GONE_FRAUDS] + 1, ints[at.GONE_COUNT])
        else:
            ints[at.GONE_FRAUDS] = max(ints[at.GONE_FRAUDS] - 1, 0)
        return
    if ints[tile] < day:  # the transaction was never counted here (stale, or before an idle reset)
        return
    if kind == at.FRAUD:
        if ints[tile + at.DAY_FRAUDS] < ints[tile + at.DAY_COUNT]:
            ints[tile + at.DAY_FRAUDS] += 1
            ints[tile + at.DAY_NEWEST_FRAUD_MS] = max(ints[tile + at.DAY_NEWEST_FRAUD_MS], time_ms)
        return
    if ints[tile + at.DAY_FRAUDS] == 0:
        return
    ints[tile + at.DAY_FRAUDS] -= 1
    if ints[tile + at.DAY_FRAUDS] == 0:
        ints[tile + at.DAY_NEWEST_FRAUD_MS] = 0
    elif ints[tile + at.DAY_NEWEST_FRAUD_MS] == time_ms:  # which of the others was newest is not kept: the day's start
        ints[tile + at.DAY_NEWEST_FRAUD_MS] = day * _DAY_MS
