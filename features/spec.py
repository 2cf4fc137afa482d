"""Every feature once, in vector order; its fingerprint is the identity of the whole definition.

What each measure means in detail stands in `docs/adr/0004-online-features.md`; the kernel computes it, and
`tests/parity/definition.py` says the same in plain Python.
"""

from hashlib import sha256
from typing import Annotated, Final

import msgspec

#: Raise it when the arithmetic changes without a change of names: another version = another namespace.
DEFINITION_VERSION: Final = 1

ENTITIES: Final = ("card", "merchant", "device", "ip")
"""Entity types; the place in this tuple is the type's code."""
ENTITY_LETTERS: Final = ("c", "m", "d", "i")
"""Type letters in Redis keys."""
WINDOWS_S: Final = {"5m": 300, "1h": 3_600, "24h": 86_400, "7d": 604_800, "30d": 2_592_000}
"""Windows, in seconds."""
HOPS_S: Final = {"5m": 30, "1h": 300, "24h": 3_600, "7d": 21_600, "30d": 86_400}
"""Tile of each window, in seconds: a window is whole tiles, so it reaches up to one tile further back."""
LATENESS_S: Final = 600
"""An event this much older than its entity's newest one still counts as on time."""
STALE_S: Final = 30 * 86_400
"""An event this much older than its entity's newest one changes no state."""
IDLE_S: Final = 100 * 86_400
"""An entity without an event for this long starts anew."""
FUTURE_MS: Final = 300_000
"""An event this far ahead of its append time gets the append time."""
COUNTERPARTY_SLOTS: Final = (128, 256, 128, 128)
"""Slots of the distinct counter, by entity type (linear counting: good up to about four times as many)."""
LABEL_DAYS: Final = (1, 7, 28)
"""Label windows, in days behind the maturity horizon (and everything newer)."""
DAY_TILES: Final = 72
"""Days that the label tiles hold."""
RISK_PRIOR: Final = 0.008
RISK_WEIGHT: Final = 5.0
"""Smoothed risk = (frauds + prior * weight) / (transactions + weight)."""


class FeatureSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The settings that the features depend on; all of them are in the fingerprint."""

    base_currency: Annotated[
        str, msgspec.Meta(pattern="^[A-Z]{3}$", max_length=3, description="ISO 4217 code that amounts are converted to")
    ] = "EUR"
    time_zone: Annotated[str, msgspec.Meta(description="IANA name; decides hour, weekday and night")] = "UTC"
    maturity_days: Annotated[
        int, msgspec.Meta(ge=1, le=40, description="age in days at which a transaction without a fraud label counts as good")
    ] = 7


class Feature(msgspec.Struct, frozen=True):
    """One column of the vector (float32)."""

    name: str
    entity: str | None
    """None: of the event itself."""
    unit: str
    missing: str
    """When the value is NaN."""
    meaning: str


_NO_AMOUNT = "no transaction with a known amount in the window"


def _event_features() -> list[Feature]:
    def of(name: str, unit: str, meaning: str, missing: str = "never") -> Feature:
        return Feature(f"event_{name}", None, unit, missing, meaning)

    return [
        of("log_amount", "ln(1 + major units)", "amount in the base currency, logarithm", "the currency has no rate"),
        of("hour_sin", "1", "hour of the day as a point on the circle, sine"),
        of("hour_cos", "1", "hour of the day as a point on the circle, cosine"),
        of("weekday_sin", "1", "day of the week as a point on the circle, sine"),
        of("weekday_cos", "1", "day of the week as a point on the circle, cosine"),
        of("is_night", "0 or 1", "local hour before 6"),
        of("channel", "code", "place of the channel in domain.transaction.CHANNELS", "not sent"),
        of("category", "code", "merchant category code", "not sent"),
        of("country", "code", "26 * first letter + second letter, A = 0", "not sent"),
    ]


def _window_features(entity: str, counterparty: str) -> list[Feature]:
    found = []
    for window in WINDOWS_S:
        for name, unit, missing, meaning in (
            ("count", "transactions", "", f"transactions of the {entity}"),
            ("total", "minor units", "", f"amount spent through the {entity}"),
            ("mean", "minor units", _NO_AMOUNT, f"mean amount of the {entity}"),
            ("std", "minor units", _NO_AMOUNT, f"standard deviation (population) of the {entity}'s amounts"),
            ("max", "minor units", _NO_AMOUNT, f"largest amount of the {entity}"),
            (f"{counterparty}s", "estimated number", "", f"distinct {counterparty}s, by linear counting"),
        ):
            found.append(
                Feature(f"{entity}_{name}_{window}", entity, unit, missing or "the entity is missing", f"{meaning} in the last {window}")
            )
    return found


def _last_features(entity: str, counterparty: str) -> list[Feature]:
    first = "the entity has no earlier transaction"
    return [
        Feature(f"{entity}_since_last", entity, "s", first, f"since the {entity}'s newest transaction; 0 if this one is older"),
        Feature(
            f"{entity}_last_amount", entity, "minor units", first + " with a known amount", f"amount of the {entity}'s newest transaction"
        ),
        Feature(
            f"{entity}_distance", entity, "km", "either place is unknown", f"great-circle distance from the {entity}'s newest transaction"
        ),
        Feature(f"{entity}_speed", entity, "km/h", "either place is unknown", "that distance over the time since, at least one second"),
        Feature(
            f"{entity}_since_{counterparty}",
            entity,
            "s",
            "not seen in the last 30 days",
            f"since this {counterparty} was last seen with the {entity}",
        ),
        Feature(
            f"{entity}_transactions_ever",
            entity,
            "transactions",
            "the entity is missing",
            f"transactions of the {entity} since it was last idle for 100 days",
        ),
    ]


def _amount_features() -> list[Feature]:
    def of(name: str, unit: str, missing: str, meaning: str) -> Feature:
        return Feature(f"card_{name}", "card", unit, "the amount is unknown, or " + missing, meaning)

    return [
        of("amount_over_mean_7d", "ratio", _NO_AMOUNT, "amount over the card's mean of 7 days"),
        of("amount_over_mean_30d", "ratio", _NO_AMOUNT, "amount over the card's mean of 30 days"),
        of("amount_over_ewma", "ratio", "no earlier amount", "amount over the card's clipped moving average"),
        of("amount_over_median", "ratio", "no earlier amount", "amount over the median of the card's last 30 amounts"),
        of("amount_robust_z", "1", "no earlier amount", "(amount - median) / (1.4826 MAD + 1 major unit), over the last 30 amounts"),
        of("amount_z_ever", "1", "fewer than 2 earlier amounts", "(amount - mean) / (standard deviation + 1 major unit), over all time"),
        Feature(
            "card_odd_amounts",
            "card",
            "decayed count",
            "the entity is missing",
            "amounts above 2.5 times the card's median (from the 6th on), half-life 7 days",
        ),
    ]


def _label_features(entity: str) -> list[Feature]:
    gone = "the entity is missing"
    found = []
    for days in LABEL_DAYS:
        span = f"up to {days} d behind the maturity horizon and newer"
        found += [
            Feature(f"{entity}_known_frauds_{days}d", entity, "frauds", gone, f"known frauds {span}"),
            Feature(f"{entity}_matured_{days}d", entity, "transactions", gone, f"matured transactions {span}"),
            Feature(f"{entity}_risk_{days}d", entity, "share", gone, f"smoothed share of frauds {span}"),
        ]
    return [
        *found,
        Feature(f"{entity}_risk_ever", entity, "share", gone, "smoothed share of frauds in all matured days"),
        Feature(f"{entity}_fraud_run", entity, "frauds", gone, "known frauds since the last matured good transaction"),
        Feature(f"{entity}_fraud_run_age", entity, "days", "no run", "days since that run began"),
        Feature(
            f"{entity}_newest_fraud_share", entity, "share", "nothing known", "known frauds' share of the newest day with something known"
        ),
        Feature(f"{entity}_since_fraud", entity, "days", "no known fraud", "since the newest known fraud transaction"),
    ]


def _build() -> tuple[Feature, ...]:
    features = _event_features()
    for entity in ENTITIES:
        counterparty = "merchant" if entity == "card" else "card"
        features += _window_features(entity, counterparty)
        features += _last_features(entity, counterparty)
        if entity == "card":
            features += _amount_features()
        if entity in ("card", "merchant"):
            features += _label_features(entity)
    return tuple(features)


FEATURES: Final = _build()
N_FEATURES: Final = len(FEATURES)
COLUMN: Final = {feature.name: place for place, feature in enumerate(FEATURES)}
"""Place of each feature in the vector."""
CATEGORY_FEATURES: Final = ("event_channel", "event_category", "event_country")
"""Integer codes; what a category is worth belongs to a model."""


def block(name: str) -> tuple[int, ...]:
    """Return the columns of a block that can be missing as a whole, in vector order.

    Blocks: `state` (everything but the event's own), `merchant_labels`, `device_ip`, `place`.

    >>> [FEATURES[i].name for i in block("place")][:2]
    ['card_distance', 'card_speed']
    """
    if name == "state":
        return tuple(i for i, f in enumerate(FEATURES) if f.entity)
    if name == "device_ip":
        return tuple(i for i, f in enumerate(FEATURES) if f.entity in ("device", "ip"))
    if name == "place":
        return tuple(i for i, f in enumerate(FEATURES) if f.name.endswith(("_distance", "_speed")))
    if name == "merchant_labels":
        names = {f.name for f in _label_features("merchant")}
        return tuple(i for i, f in enumerate(FEATURES) if f.name in names)
    raise KeyError(name)


def fingerprint(settings: FeatureSettings) -> str:
    """Return 16 hex digits that change with any name, order, unit, window, constant or setting of the definition.

    >>> fingerprint(FeatureSettings()) == fingerprint(FeatureSettings(time_zone="Europe/Paris"))
    False
    """
    definition = (
        DEFINITION_VERSION, FEATURES, WINDOWS_S, HOPS_S, LATENESS_S, STALE_S, IDLE_S, FUTURE_MS,
        COUNTERPARTY_SLOTS, LABEL_DAYS, DAY_TILES, RISK_PRIOR, RISK_WEIGHT, settings,
    )  # fmt: skip
    return sha256(msgspec.json.encode(definition)).hexdigest()[:16]
