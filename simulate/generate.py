"""From a seed to a history: people, honest life, fraud, drift, labels."""

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Final

import numpy as np
import polars as pl

from domain.errors import ConfigError
from domain.transaction import CHANNELS
from features.history import SCHEMA
from simulate.drift import BROKEN_FIELD, NEW_STORY_SHARE, Drift, inflated, moved_online
from simulate.genuine import Calendar, build_calendar, genuine_rows
from simulate.labels import Known, labels_of, source_name
from simulate.merchants import MCC
from simulate.population import Population, build_population, ip_text
from simulate.rows import DAY_MS, NONE, Ints, Rows, random_stream
from simulate.stories import EVERYDAY, NAMES, NEW_STORY, STORIES, fraud_rows

CURRENCY: Final = "EUR"
FRAUD_SHARE: Final = 0.005
"""Of all transactions, without drift."""
START_MS: Final = 1_735_689_600_000
"""2025-01-01, a Wednesday."""


def generate(
    *,
    n_days: int = 60,
    n_cards: int = 3000,
    seed: int = 1,
    start_ms: int = START_MS,
    per_day: float = 1.0,
    fraud_share: float = FRAUD_SHARE,
    drifts: Sequence[Drift] = (),
    progress: Callable[[float], None] = lambda _: None,
) -> pl.DataFrame:
    """Return a history in the layout of `features.history` plus `story` and `label_source`, sorted by event time.

    The same arguments give the same frame, and a drift changes no row before its day. Transactions lie in
    [start_ms, start_ms + n_days), about `per_day` per card and day. Labels may lie later.

    `story` is the truth, for evaluation only: the fraud's kind, null for genuine rows. `is_fraud`, `label_time_ms` and
    `label_source` are what the bank knows: some frauds are never reported (`is_fraud` False without a time), a few
    genuine transactions are reported by mistake. Amounts are in minor units of CURRENCY, as billed to the card.

    Args:
        n_days: Days to simulate, 1 or more.
        n_cards: Cards, 10 or more.
        seed: Any integer from 0 on.
        start_ms: Midnight UTC of the first day.
        per_day: Mean transactions per card and day.
        fraud_share: Wanted share of fraudulent transactions; small populations miss it by chance, and miss some stories.
        drifts: Changes of the world, see `simulate.drift`.
        progress: Told the share of the work done, 0 to 1.

    Raises:
        ConfigError: An argument is out of range.
    """
    _check(n_days=n_days, n_cards=n_cards, seed=seed, start_ms=start_ms, per_day=per_day, fraud_share=fraud_share, drifts=drifts)
    population = build_population(n_cards=n_cards, n_days=n_days, seed=seed, per_day=per_day)
    calendar = build_calendar(start_ms, n_days)
    parts = _parts(population, calendar, fraud_share, drifts, progress)
    progress(0.6)
    known = [labels_of(random_stream(seed, "labels", place), part) for place, part in enumerate(parts)]
    identity = sha256(repr((n_days, n_cards, seed, start_ms, per_day, fraud_share)).encode()).hexdigest()[:6]
    history = _frame(Rows.concat(parts), known, population, calendar, identity)
    history = _broken(history, calendar, drifts)
    progress(1.0)
    return history


def _parts(
    population: Population, calendar: Calendar, fraud_share: float, drifts: Sequence[Drift], progress: Callable[[float], None]
) -> list[Rows]:
    """Return the genuine rows, then those of each story, all drifts but the broken field done."""
    parts = [genuine_rows(population, calendar, lambda share: progress(0.5 * share))]
    n_frauds = len(parts[0]) * fraud_share / (1 - fraud_share)
    for story in EVERYDAY:
        parts.append(fraud_rows(story, population, calendar, parts[0], n_rows=n_frauds * STORIES[story].share))
    for drift in drifts:
        if drift.kind == "new_story":
            n_rows = len(parts[0]) / population.n_days * (population.n_days - drift.day) * NEW_STORY_SHARE
            parts.append(fraud_rows(NEW_STORY, population, calendar, parts[0], n_rows=n_rows, first_day=drift.day))
        elif drift.kind == "channel_shift":
            parts[0] = moved_online(parts[0], population, calendar, drift.day)
    for drift in drifts:
        if drift.kind == "inflation":
            parts = [inflated(part, population, calendar, drift.day) for part in parts]
    return parts


def _broken(history: pl.DataFrame, calendar: Calendar, drifts: Sequence[Drift]) -> pl.DataFrame:
    for drift in drifts:
        if drift.kind == "broken_field":
            arrives = pl.col("event_time_ms") < calendar.start_ms + drift.day * DAY_MS
            history = history.with_columns(pl.when(arrives).then(BROKEN_FIELD).alias(BROKEN_FIELD))
    return history


def _check(*, n_days: int, n_cards: int, seed: int, start_ms: int, per_day: float, fraud_share: float, drifts: Sequence[Drift]) -> None:
    for name, value, is_right, rule in (
        ("days", n_days, 1 <= n_days <= 3660, "1 to 3660"),
        ("cards", n_cards, 10 <= n_cards <= 5_000_000, "10 to 5000000"),
        ("seed", seed, 0 <= seed < 1 << 63, "0 or more"),
        ("start", start_ms, start_ms >= 0 and start_ms % DAY_MS == 0, "midnight UTC of a day from 1970 on"),
        ("transactions per day", per_day, 0 < per_day <= 100, "above 0, at most 100"),
        ("fraud share", fraud_share, 0 < fraud_share <= 0.2, "above 0, at most 0.2"),
    ):
        if not is_right:
            raise ConfigError(f"{name} must be {rule}; found {value}")
    for drift in drifts:
        if not 0 <= drift.day < n_days:
            raise ConfigError(f"drift {drift.kind}@{drift.day} must begin on a simulated day, 0 to {n_days - 1}")
        if [other.kind for other in drifts].count(drift.kind) > 1:
            raise ConfigError(f"drift {drift.kind} is given twice; once is enough")


def _frame(rows: Rows, known: Sequence[Known], population: Population, calendar: Calendar, identity: str) -> pl.DataFrame:
    order = np.argsort(rows.time_ms, kind="stable")
    rows = rows.take(order)
    label_time_ms, source, is_fraud = (
        np.concatenate([getattr(part, name) for part in known])[order] for name in ("label_time_ms", "source", "is_fraud")
    )
    merchants, cards = population.merchants, population.cards
    day = (rows.time_ms - calendar.start_ms) // DAY_MS
    number = pl.int_range(len(order), eager=True).cast(pl.String).str.zfill(9)
    columns = {
        "transaction_id": f"t{identity}-" + number,
        "event_time_ms": rows.time_ms,
        "card_id": _named([f"c{code:06d}" for code in range(len(cards))], rows.card),
        "amount_minor": rows.amount_minor,
        "currency": _named([CURRENCY], np.zeros_like(rows.card)),
        "merchant_id": _named([f"m{code:06d}" for code in range(len(merchants))], rows.merchant),
        "device_id": _spelled(rows.device, _device_text),
        "ip": _spelled(rows.ip, ip_text),
        "mcc": MCC[merchants.category[rows.merchant]],
        "country": _named(merchants.country, rows.merchant),
        "channel": _named(list(CHANNELS), rows.channel),
        "lat": merchants.lat[rows.merchant],
        "lon": merchants.lon[rows.merchant],
        "account_age_days": np.maximum(0, day - cards.opened_day[rows.card]),
        "is_fraud": is_fraud,
        "label_time_ms": pl.Series(label_time_ms).replace(NONE, None),
        "story": _spelled(rows.story, lambda code: None if code == NONE else NAMES[code]),
        "label_source": _spelled(source, source_name),
    }
    return (
        pl.DataFrame(columns)
        .with_columns(pl.col(name).cast(dtype) for name, dtype in SCHEMA.items())
        .with_columns(pl.col("lat", "lon").fill_nan(None))
    )


def _named(names: list[str], code: Ints) -> pl.Series:
    return pl.Series(names, dtype=pl.String).gather(code)


def _spelled(code: Ints, spell: Callable[[int], str | None]) -> pl.Series:
    """Return the text of each code, spelling each distinct one once."""
    distinct, place = np.unique(code, return_inverse=True)
    return pl.Series([spell(one) for one in distinct.tolist()], dtype=pl.String).gather(place)


def _device_text(code: int) -> str | None:
    # Scattered by a bijection, so that the name does not tell who owns the device.
    return None if code == NONE else f"d{code * 0x9E3779B97F4A7C15 % (1 << 64):016x}"
