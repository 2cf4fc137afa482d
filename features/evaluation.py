"""The kernel's other half: the features of a transaction on its entity's state, before it is applied (ADR 4)."""

import math

from features import layout as at
from features import spec
from features.compiled import compiled
from features.kernel import LATENESS_MS, Floats, Ints, half, short

_DAY_S = 86_400
_DAY_MS = 86_400_000
_EARTH_DIAMETER_KM = 12_742.0
_DEGREE = math.pi / 18_000.0
_PRIOR_FRAUDS = spec.RISK_PRIOR * spec.RISK_WEIGHT
_WEIGHT = spec.RISK_WEIGHT
_WINDOW_S, _HOP_S, _RING, _START, _SLOTS = at.WINDOW_S, at.HOP_S, at.RING, at.LEVEL_START, at.SLOTS
_LABEL_DAYS = spec.LABEL_DAYS


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
    now_ms = max(time_ms, ints[at.NEWEST_MS] - LATENESS_MS) if ints[at.N_TRANSACTIONS] > 0 else time_ms
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
    out[6] = floats[at.ODD] * half(float(max(0, now_ms - ints[at.ODD_MS]))) if floats[at.ODD] > 0.0 else 0.0
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
