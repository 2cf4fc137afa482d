"""The one kernel, online and offline: evaluate a transaction on a state, apply a record to a state.

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

_LATENESS_MS = spec.LATENESS_S * 1000
_STALE_MS = spec.STALE_S * 1000
_IDLE_MS = spec.IDLE_S * 1000
_DAY_S = 86_400
_DAY_MS = 86_400_000
_HALF_LIFE_MS = 7.0 * _DAY_MS
_ODD_RATIO = 2.5
_ODD_FROM = 5
_EARTH_DIAMETER_KM = 12_742.0
_DEGREE = math.pi / 18_000.0
_PRIOR_FRAUDS = spec.RISK_PRIOR * spec.RISK_WEIGHT
_WEIGHT = spec.RISK_WEIGHT
_WINDOW_S, _HOP_S, _RING, _START, _SLOTS = at.WINDOW_S, at.HOP_S, at.RING, at.LEVEL_START, at.SLOTS
_LABEL_DAYS = spec.LABEL_DAYS


class Workspace(NamedTuple):
    """The arrays that one thread decodes, applies and evaluates with; kept, because compiled code makes none."""

    ints: Ints
    floats: Floats
    out: Floats
    scratch: Ints


def new_workspace() -> Workspace:
    """Return a workspace in the state of an entity never seen."""
    return Workspace(np.zeros(at.N_INTS, np.int64), np.zeros(at.N_FLOATS), np.zeros(at.MAX_COLUMNS), np.zeros(at.N_SCRATCH, np.int64))


# What `apply` returns, and `evaluate` tells in advance.
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
    return STALE if behind > _STALE_MS else LATE if behind > _LATENESS_MS else APPLIED


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
        floats[at.ODD] = floats[at.ODD] * _half(float(behind)) + 1.0
        ints[at.ODD_MS] = time_ms
    else:
        floats[at.ODD] += _half(float(-behind))


@compiled
def _half(elapsed_ms: float) -> float:
    return math.exp(-math.log(2.0) * (elapsed_ms / _HALF_LIFE_MS))


@compiled
def _median(ints: Ints, scratch: Ints) -> float:
    """Return sorted[k // 2] of the ring's k amounts; `scratch` (int64, N_AMOUNTS) holds them sorted afterwards."""
    k = min(ints[at.AMOUNTS_EVER], at.N_AMOUNTS)
    for i in range(k):
        value = ints[at.RECENT + i]
        j = i
        while j > 0 and scratch[j - 1] > value:
            scratch[j] = scratch[j - 1]
            j -= 1
        scratch[j] = value
    return float(scratch[k // 2])


@compiled
def _median_distance(ordered: Ints, k: int) -> int:
    """Return sorted(|x - median|)[k // 2] of k sorted numbers: those below and above the median are met in turns."""
    middle = k // 2
    below, above, distance = middle - 1, middle + 1, 0
    for _ in range(k // 2):
        if above >= k or (below >= 0 and ordered[middle] - ordered[below] <= ordered[above] - ordered[middle]):
            distance = ordered[middle] - ordered[below]
            below -= 1
        else:
            distance = ordered[above] - ordered[middle]
            above += 1
    return distance


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


@compiled
def evaluate(ints: Ints, floats: Floats, entity: int, major: int, maturity_s: int, record: Ints, out: Floats, scratch: Ints) -> None:
    """Write the entity's features of a transaction that is not applied yet, in the order of `spec.FEATURES`.

    Args:
        ints: State, int64 (N_INTS,); call `wake` before.
        floats: State, float64 (N_FLOATS,).
        entity: Code of the entity type.
        major: Minor units of one major unit of the base currency.
        maturity_s: Age at which a transaction without a fraud label counts as good, in seconds.
        record: int64 (4,), see `layout.RECORD`.
        out: float64 (MAX_COLUMNS,); the first N_COLUMNS[entity] are written, NaN = missing.
        scratch: int64 (N_SCRATCH,), written.
    """
    time_ms = record[1]
    now_ms = max(time_ms, ints[at.NEWEST_MS] - _LATENESS_MS) if ints[at.N_TRANSACTIONS] > 0 else time_ms
    now_s = now_ms // 1000
    amount = at.NO_AMOUNT if (record[3] >> 40) & at.AMOUNT_UNKNOWN else record[2] & 0xFFFFFFFF
    counterparty = (record[2] >> 32) & 0xFFFFFFFF
    _evaluate_windows(ints, floats, entity, now_s, out)
    column = 6 * at.N_LEVELS
    _evaluate_last(ints, entity, time_ms, now_s, counterparty, short(record[3]), short(record[3] >> 16), out[column:])
    column += 6
    if entity == at.CARD:
        _evaluate_amount(ints, floats, now_ms, amount, major, out[6 * 3 + 2], out[6 * 4 + 2], out[column:], scratch)
        column += 7
    if entity <= at.MERCHANT:
        _evaluate_labels(ints, now_s, maturity_s, out[column:])


@compiled
def _evaluate_windows(ints: Ints, floats: Floats, entity: int, now_s: int, out: Floats) -> None:
    n_slots = _SLOTS[entity]
    for level in range(at.N_LEVELS):
        hop = _HOP_S[level]
        low, high = (now_s - _WINDOW_S[level]) // hop, now_s // hop
        count = total = unknown = largest = 0
        squares = 0.0
        place = _START[level] + low % _RING[level]
        for index in range(low, high + 1):  # oldest to newest: a fixed order of additions
            tile = at.TILES + at.TILE_WIDTH * place
            if ints[tile] == index:
                count += ints[tile + at.TILE_COUNT]
                total += ints[tile + at.TILE_SUM]
                unknown += ints[tile + at.TILE_UNKNOWN]
                largest = max(largest, ints[tile + at.TILE_MAX])
                squares += floats[place]
            place += 1
            if place == _START[level + 1]:
                place = _START[level]
        known = count - unknown
        mean = float(total) / known if known > 0 else math.nan
        variance = squares / known - mean * mean if known > 0 else math.nan
        column = 6 * level
        out[column] = count
        out[column + 1] = total
        out[column + 2] = mean
        out[column + 3] = math.sqrt(variance) if variance > 0.0 else (0.0 if known > 0 else math.nan)
        out[column + 4] = float(largest) if known > 0 else math.nan
        oldest = max(low * hop, 1)
        occupied = 0
        for slot in range(at.SEEN, at.SEEN + n_slots):  # no branch: eight slots at a time
            occupied += 1 if ints[slot] >= oldest else 0
        free = max(n_slots - occupied, 0.5)  # a full table: the estimate ends at about 6 times its size
        out[column + 5] = -float(n_slots) * math.log(free / n_slots)


@compiled
def _evaluate_last(ints: Ints, entity: int, time_ms: int, now_s: int, counterparty: int, lat: int, lon: int, out: Floats) -> None:
    for i in range(5):
        out[i] = math.nan
    if ints[at.N_TRANSACTIONS] > 0:
        since = max(0.0, (time_ms - ints[at.LAST_MS]) / 1000.0)
        out[0] = since
        if ints[at.LAST_AMOUNT] >= 0:
            out[1] = ints[at.LAST_AMOUNT]
        if lat != at.NO_PLACE and ints[at.LAST_LAT] != at.NO_PLACE:
            distance = _distance_km(ints[at.LAST_LAT], ints[at.LAST_LON], lat, lon)
            out[2] = distance
            out[3] = distance / (max(since, 1.0) / 3600.0)
    seen = ints[at.SEEN + counterparty % _SLOTS[entity]]
    oldest = (now_s - _WINDOW_S[at.N_LEVELS - 1]) // _HOP_S[at.N_LEVELS - 1] * _HOP_S[at.N_LEVELS - 1]
    if seen > 0 and seen >= oldest:
        out[4] = max(0, now_s - seen)
    out[5] = ints[at.N_TRANSACTIONS]


@compiled
def _distance_km(lat_a: int, lon_a: int, lat_b: int, lon_b: int) -> float:
    """Return the great-circle distance (haversine) of two places in 0.01 degree."""
    a, b = lat_a * _DEGREE, lat_b * _DEGREE
    across, along = math.sin((b - a) / 2.0), math.sin((lon_b - lon_a) * _DEGREE / 2.0)
    x = across * across + math.cos(a) * math.cos(b) * along * along
    return _EARTH_DIAMETER_KM * math.asin(math.sqrt(min(1.0, x)))


@compiled
def _evaluate_amount(
    ints: Ints, floats: Floats, now_ms: int, amount: int, major: int, mean_7d: float, mean_30d: float, out: Floats, scratch: Ints
) -> None:
    n = ints[at.AMOUNTS_EVER]
    for i in range(6):
        out[i] = math.nan
    out[6] = floats[at.ODD] * _half(float(max(0, now_ms - ints[at.ODD_MS]))) if floats[at.ODD] > 0.0 else 0.0
    if amount < 0:
        return
    x = float(amount)
    out[0] = x / max(mean_7d, 1.0) if mean_7d == mean_7d else math.nan  # noqa: PLR0124 - NaN is unequal to itself
    out[1] = x / max(mean_30d, 1.0) if mean_30d == mean_30d else math.nan  # noqa: PLR0124 - as above
    if n == 0:
        return
    out[2] = x / max(floats[at.EWMA], 1.0)
    median = _median(ints, scratch)
    out[3] = x / max(median, 1.0)
    out[4] = (x - median) / (1.4826 * _median_distance(scratch, min(n, at.N_AMOUNTS)) + major)
    if n >= 2:
        mean = float(ints[at.AMOUNT_SUM]) / n
        variance = floats[at.SQUARE_SUM] / n - mean * mean
        out[5] = (x - mean) / ((math.sqrt(variance) if variance > 0.0 else 0.0) + major)


@compiled
def _evaluate_labels(ints: Ints, now_s: int, maturity_s: int, out: Floats) -> None:
    """Write the label features: windows behind the maturity horizon and everything newer (ADR 4)."""
    today = now_s // _DAY_S
    horizon = (now_s - maturity_s) // _DAY_S
    for i in range(9):
        out[i] = 0.0
    run, run_day, is_open, newest_share = 0.0, -1, True, math.nan
    day = max(today, ints[at.NEWEST_MS] // _DAY_MS)
    while day >= 0 and horizon - day <= _LABEL_DAYS[2]:
        tile = at.DAYS + at.DAY_WIDTH * (day % at.N_DAYS)
        if ints[tile] == day and ints[tile + at.DAY_COUNT] > 0:
            age = horizon - day
            known = float(ints[tile + at.DAY_FRAUDS])
            if age > 0:
                count = float(ints[tile + at.DAY_COUNT])
            elif age == 0:  # the share of that day already behind the horizon
                count = max(known, ints[tile + at.DAY_COUNT] * float((now_s - maturity_s) % _DAY_S) / _DAY_S)
            else:
                count = known
            for w in range(3):
                if age <= _LABEL_DAYS[w]:
                    out[3 * w] += known
                    out[3 * w + 1] += count
            if newest_share != newest_share and (age > 0 or known > 0.0):  # noqa: PLR0124 - still NaN
                newest_share = known / max(count, 1.0)
            if is_open and (age >= 0 or known > 0.0):
                if known > 0.0 and known >= count - 0.5:
                    run += known
                    run_day = day
                elif count > 0.5:
                    is_open = False
        day -= 1
    for w in range(3):
        out[3 * w + 2] = (out[3 * w] + _PRIOR_FRAUDS) / (out[3 * w + 1] + _WEIGHT)
    gone_frauds, gone, newest_ms = ints[at.GONE_FRAUDS], ints[at.GONE_COUNT], 0
    for tile in range(at.DAYS, at.DAYS + at.N_DAYS * at.DAY_WIDTH, at.DAY_WIDTH):
        newest_ms = max(newest_ms, ints[tile + at.DAY_NEWEST_FRAUD_MS])
        if ints[tile] < horizon:
            gone += ints[tile + at.DAY_COUNT]
            gone_frauds += ints[tile + at.DAY_FRAUDS]
    out[9] = (gone_frauds + _PRIOR_FRAUDS) / (gone + _WEIGHT)
    out[10] = run
    out[11] = float(today - run_day) if run_day >= 0 else math.nan
    out[12] = newest_share
    out[13] = max(0.0, (now_s - newest_ms / 1000.0) / _DAY_S) if newest_ms > 0 else math.nan
