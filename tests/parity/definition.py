"""The features in plain Python, over the list of an entity's records: slow, and plain enough to be read as the definition."""

import math
from dataclasses import dataclass
from zlib import crc32

from features import spec

DAY = 86_400
NAN = math.nan


@dataclass(frozen=True)
class Item:
    """One record of one entity, in its order of application."""

    kind: str  # transaction, fraud, fraud_undone
    time_ms: int  # of the transaction
    amount: int | None = None  # base minor units
    counterparty: str = ""
    place: tuple[int, int] | None = None  # 0.01 degree


def features_before(entity: str, past: list[Item], now: Item, *, maturity_days: int = 7, major: int = 100) -> dict[str, float]:
    """Return the entity's features of `now`, which is not in `past`."""
    counted = counted_items(past, now)
    transactions = [item for item in counted if item.kind == "transaction"]
    newest = max((t.time_ms for t in transactions), default=None)
    now_ms = now.time_ms if newest is None else max(now.time_ms, newest - spec.LATENESS_S * 1000)
    found: dict[str, float] = {}
    other = "merchant" if entity == "card" else "card"
    for window in spec.WINDOWS_S:
        found |= _window(entity, other, window, transactions, now_ms)
    found |= _last(entity, other, transactions, now, now_ms)
    if entity == "card":
        found |= _amount(transactions, now, now_ms, found, major)
    if entity in ("card", "merchant"):
        found |= _labels(entity, counted, now_ms, newest, maturity_days * DAY)
    return found


def counted_items(past: list[Item], now: Item | None) -> list[Item]:
    """Return the items that count: not stale, and none from before an idle time of 100 days."""
    counted: list[Item] = []
    newest = None
    for item in [*past, *([now] if now else [])]:
        if item.kind != "transaction":
            counted.append(item)
            continue
        if newest is not None and item.time_ms - newest > spec.IDLE_S * 1000:
            counted, newest = [], None
        if item is now:
            break
        if newest is not None and newest - item.time_ms > spec.STALE_S * 1000:
            continue
        newest = item.time_ms if newest is None else max(newest, item.time_ms)
        counted.append(item)
    return counted


def _slot(entity: str, counterparty: str) -> int:
    return crc32(counterparty.encode()) % spec.COUNTERPARTY_SLOTS[spec.ENTITIES.index(entity)]


def _window(entity, other, window, transactions, now_ms):
    width, hop = spec.WINDOWS_S[window], spec.HOPS_S[window]
    low, high = (now_ms // 1000 - width) // hop, now_ms // 1000 // hop
    reach = -(-(spec.LATENESS_S + width) // hop) + 2
    inside = []
    for place, t in enumerate(transactions):
        tile = t.time_ms // 1000 // hop
        # a late event finds its tile gone when a newer tile already took its place in the ring
        is_gone = any(e.time_ms // 1000 // hop > tile and (e.time_ms // 1000 // hop - tile) % reach == 0 for e in transactions[:place])
        if low <= tile <= high and not is_gone:
            inside.append(t)
    amounts = [t.amount for t in inside if t.amount is not None]
    n = len(amounts)
    mean = sum(amounts) / n if n else NAN
    variance = sum(float(a) * a for a in amounts) / n - mean * mean if n else NAN
    slots = spec.COUNTERPARTY_SLOTS[spec.ENTITIES.index(entity)]
    occupied = {_slot(entity, t.counterparty) for t in transactions if t.time_ms // 1000 >= max(low * hop, 1)}
    return {
        f"{entity}_count_{window}": len(inside),
        f"{entity}_total_{window}": sum(amounts),
        f"{entity}_mean_{window}": mean,
        f"{entity}_std_{window}": math.sqrt(variance) if n and variance > 0 else 0.0 if n else NAN,
        f"{entity}_max_{window}": max(amounts) if n else NAN,
        f"{entity}_{other}s_{window}": -slots * math.log(max(slots - len(occupied), 0.5) / slots),
    }


def _last(entity, other, transactions, now, now_ms):
    last = None
    for t in transactions:
        if last is None or t.time_ms >= last.time_ms:
            last = t
    since = max(0.0, (now.time_ms - last.time_ms) / 1000) if last else NAN
    km = NAN
    if last and last.place and now.place:
        (a, c), (b, d) = [tuple(math.radians(x / 100) for x in p) for p in (last.place, now.place)]
        h = math.sin((b - a) / 2) ** 2 + math.cos(a) * math.cos(b) * math.sin((d - c) / 2) ** 2
        km = 12_742 * math.asin(math.sqrt(min(1.0, h)))
    seen = max((t.time_ms // 1000 for t in transactions if _slot(entity, t.counterparty) == _slot(entity, now.counterparty)), default=0)
    oldest = (now_ms // 1000 - 30 * DAY) // DAY * DAY
    return {
        f"{entity}_since_last": since,
        f"{entity}_last_amount": last.amount if last and last.amount is not None else NAN,
        f"{entity}_distance": km,
        f"{entity}_speed": km / (max(since, 1.0) / 3600),
        f"{entity}_since_{other}": max(0, now_ms // 1000 - seen) if seen > 0 and seen >= oldest else NAN,
        f"{entity}_transactions_ever": len(transactions),
    }


def _median(values):
    return sorted(values)[len(values) // 2]


def _amount(transactions, now, now_ms, found, major):
    amounts, ewma, odd = [], 0.0, []
    for t in transactions:
        if t.amount is None:
            continue
        x = float(t.amount)
        if len(amounts) >= 5 and x > 2.5 * _median(amounts[-30:]):
            odd.append(t.time_ms)
        amounts.append(t.amount)
        ewma = x if len(amounts) == 1 else ewma + max(0.05, 1 / len(amounts)) * (min(x, 3 * max(ewma, float(major))) - ewma)
    newest_odd = max(odd, default=0)
    # counted as of the newest odd amount, and not below that time
    as_of = max(now_ms, newest_odd)
    result = {"card_odd_amounts": sum(0.5 ** ((as_of - t) / (7 * DAY * 1000)) for t in odd)}
    names = ("over_mean_7d", "over_mean_30d", "over_ewma", "over_median", "robust_z", "z_ever")
    result |= {f"card_amount_{name}": NAN for name in names}
    if now.amount is None:
        return result
    x = float(now.amount)
    for days in (7, 30):
        mean = found[f"card_mean_{days}d"]
        result[f"card_amount_over_mean_{days}d"] = NAN if math.isnan(mean) else x / max(mean, 1.0)
    if amounts:
        recent = amounts[-30:]
        median = _median(recent)
        result["card_amount_over_ewma"] = x / max(ewma, 1.0)
        result["card_amount_over_median"] = x / max(median, 1.0)
        result["card_amount_robust_z"] = (x - median) / (1.4826 * _median([abs(a - median) for a in recent]) + major)
    if len(amounts) >= 2:
        mean = sum(amounts) / len(amounts)
        variance = sum(float(a) * a for a in amounts) / len(amounts) - mean * mean
        result["card_amount_z_ever"] = (x - mean) / (math.sqrt(max(variance, 0.0)) + major)
    return result


def _day_counts(counted):
    """Return {day: [transactions, frauds, newest fraud ms]} and what left the 72 days: [transactions, frauds]."""
    days, gone = {}, [0, 0]
    for item in counted:
        day = item.time_ms // 1000 // DAY
        place = next((d for d in days if d % spec.DAY_TILES == day % spec.DAY_TILES), None)
        if item.kind == "transaction":
            if place is not None and place < day:
                count, frauds, _ = days.pop(place)
                gone = [gone[0] + count, gone[1] + frauds]
            days.setdefault(day, [0, 0, 0])[0] += 1
        elif place is not None and place > day:
            gone[1] = min(gone[1] + 1, gone[0]) if item.kind == "fraud" else max(gone[1] - 1, 0)
        elif place == day:
            tile = days[day]
            if item.kind == "fraud" and tile[1] < tile[0]:
                tile[1:] = [tile[1] + 1, max(tile[2], item.time_ms)]
            elif item.kind == "fraud_undone" and tile[1] > 0:
                newest = 0 if tile[1] == 1 else day * DAY * 1000 if tile[2] == item.time_ms else tile[2]
                tile[1:] = [tile[1] - 1, newest]
    return days, gone


def _labels(entity, counted, now_ms, newest, maturity_s):
    now_s = now_ms // 1000
    today, horizon = now_s // DAY, (now_s - maturity_s) // DAY
    days, gone = _day_counts(counted)
    known = {}
    for day, (count, frauds, _) in days.items():
        if horizon - day > 28:
            continue
        if day < horizon:
            effective = float(count)
        elif day == horizon:
            effective = max(frauds, count * ((now_s - maturity_s) % DAY) / DAY)
        else:
            effective = frauds
        known[day] = (frauds, effective)
    result = {}
    for width in spec.LABEL_DAYS:
        inside = [v for day, v in known.items() if horizon - day <= width]
        frauds, effective = sum(f for f, _ in inside), math.fsum(e for _, e in inside)
        result[f"{entity}_known_frauds_{width}d"] = frauds
        result[f"{entity}_matured_{width}d"] = effective
        result[f"{entity}_risk_{width}d"] = (frauds + 0.008 * 5) / (effective + 5)
    matured = [(c, f) for day, (c, f, _) in days.items() if day < horizon]
    total, frauds = gone[0] + sum(c for c, _ in matured), gone[1] + sum(f for _, f in matured)
    run, run_day, share = 0, None, NAN
    is_open = True
    for day in sorted(known, reverse=True):
        frauds_of_day, effective = known[day]
        is_unknown = day > horizon and frauds_of_day == 0
        if math.isnan(share) and (day < horizon or frauds_of_day > 0):
            share = frauds_of_day / max(effective, 1.0)
        if is_open and not is_unknown:
            if frauds_of_day > 0 and frauds_of_day >= effective - 0.5:
                run, run_day = run + frauds_of_day, day
            elif effective > 0.5:
                is_open = False
    newest_fraud = max((tile[2] for tile in days.values()), default=0)
    return result | {
        f"{entity}_risk_ever": (frauds + 0.008 * 5) / (total + 5),
        f"{entity}_fraud_run": run,
        f"{entity}_fraud_run_age": today - run_day if run_day is not None else NAN,
        f"{entity}_newest_fraud_share": share,
        f"{entity}_since_fraud": max(0.0, (now_s - newest_fraud / 1000) / DAY) if newest_fraud else NAN,
    }
