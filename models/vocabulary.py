"""The vocabulary of reasons: which code a feature belongs to, and how it is said. Codes are part of the contract."""

import math
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from domain.transaction import CHANNELS
from features.spec import COLUMN, FEATURES, WINDOWS_S, Feature

_WINDOW_NAMES: Final = {"5m": "5 minutes", "1h": "hour", "24h": "24 hours", "7d": "7 days", "30d": "30 days"}
_UNITS: Final = ((86_400.0, "day"), (3_600.0, "hour"), (60.0, "minute"), (1.0, "second"))
_LONGEST_WINDOW: Final = "30d"
_ENTITY_NAMES: Final = {"card": "this card", "merchant": "this merchant", "device": "this device", "ip": "this IP address"}


class Sentence(NamedTuple):
    """What a reason says; `usual` is in the feature's unit."""

    text: str
    usual: float | None = None


class Facts(NamedTuple):
    """What a sentence may draw on."""

    vector: NDArray[np.float32]
    major: int
    """Minor units of one major unit of the base currency."""
    maturity_days: int

    def value(self, name: str) -> float:
        """Return a feature's value; NaN is missing."""
        return float(self.vector[COLUMN[name]])

    def money(self, minor: float) -> str:
        """Return an amount in major units."""
        return f"{minor / self.major:,.2f}"


def code_of(feature: Feature) -> str:
    """Return the code of the reason that a feature belongs to.

    >>> code_of(FEATURES[COLUMN["card_count_1h"]]), code_of(FEATURES[COLUMN["merchant_risk_7d"]])
    ('card_velocity', 'merchant_known_fraud')
    """
    if feature.entity is None:
        return _EVENT_CODES[feature.name.removeprefix("event_")]
    measure = _measure(feature)
    if feature.name == "merchant_since_card":
        return "new_merchant"  # the card is new to the merchant iff the merchant is new to the card
    if measure.startswith("since_") and measure in ("since_merchant", "since_card"):
        return f"new_{'merchant' if feature.entity == 'card' else feature.entity}"
    return f"{feature.entity}_{_TOPICS[measure]}" if measure in _TOPICS else _CARD_CODES[measure]


def sentence(column: int, facts: Facts) -> Sentence:
    """Return the sentence for a feature: its value and, where there is one, what is usual."""
    feature = FEATURES[column]
    value = float(facts.vector[column])
    if feature.entity is None:
        return _event_sentence(feature, value, facts)
    if code_of(feature).startswith("new_"):
        return _new_sentence(feature, value)
    if math.isnan(value):
        return Sentence(
            f"nothing is known about {_MISSING[code_of(feature).removeprefix(feature.entity + '_')].format(_ENTITY_NAMES[feature.entity])}"
        )
    return _TELL[_measure(feature)](feature, value, facts)


def _measure(feature: Feature) -> str:
    assert feature.entity is not None
    name = feature.name.removeprefix(feature.entity + "_")
    head, _, tail = name.rpartition("_")
    is_label = head in ("known_frauds", "matured", "risk")
    return head if head and (tail in WINDOWS_S or (is_label and (tail == "ever" or tail.removesuffix("d").isdecimal()))) else name


def _window(feature: Feature) -> str:
    return feature.name.rpartition("_")[2]


def _event_sentence(feature: Feature, value: float, facts: Facts) -> Sentence:
    code = code_of(feature)
    if code == "time_of_day":
        angle = math.atan2(facts.value("event_hour_sin"), facts.value("event_hour_cos"))
        when = "a time of day" if math.isnan(angle) else f"about {round(angle / (2 * math.pi) * 24) % 24}:00"
        return Sentence(f"used at {when}, when fraud is more frequent")
    if code == "weekday":
        return Sentence("used on a day of the week when fraud is more frequent")
    if math.isnan(value):
        return Sentence("the amount is unknown: its currency has no rate" if code == "amount" else f"no {_EVENT_WORDS[code]} was sent")
    if code == "amount":
        return Sentence(f"amount of {math.expm1(value):,.2f}")
    if code == "channel":
        place = int(value)
        name = CHANNELS[place] if place < len(CHANNELS) else "other"
        return Sentence(f"paid by channel {name}, where fraud is more frequent")
    if code == "merchant_category":
        return Sentence(f"merchant category {int(value):04d}, where fraud is more frequent")
    return Sentence(f"merchant in {chr(65 + int(value) // 26)}{chr(65 + int(value) % 26)}, where fraud is more frequent")


def _new_sentence(feature: Feature, value: float) -> Sentence:
    place = {"device": "on this device", "ip": "from this IP address"}.get(feature.entity or "", "at this merchant")
    if math.isnan(value):
        return Sentence(f"first time {place} in 30 days")
    return Sentence(f"last time {place} was {_duration(value)} ago")


def _count(feature: Feature, value: float, facts: Facts) -> Sentence:
    usual = _usual(feature, facts, "count")
    said = f"{value:,.0f} earlier {_plural('transaction', value)} of {_entity(feature)} in the last {_WINDOW_NAMES[_window(feature)]}"
    return Sentence(f"{said} (usual: {_number(usual)})" if usual is not None else said, usual)


def _total(feature: Feature, value: float, facts: Facts) -> Sentence:
    usual = _usual(feature, facts, "total")
    said = f"{facts.money(value)} spent through {_entity(feature)} in the last {_WINDOW_NAMES[_window(feature)]}"
    return Sentence(f"{said} (usual: {facts.money(usual)})" if usual is not None else said, usual)


def _amount_statistic(word: str) -> Callable[[Feature, float, Facts], Sentence]:
    def tell(feature: Feature, value: float, facts: Facts) -> Sentence:
        return Sentence(f"{word} amount of {_entity(feature)} in the last {_WINDOW_NAMES[_window(feature)]}: {facts.money(value)}")

    return tell


def _counterparties(word: str) -> Callable[[Feature, float, Facts], Sentence]:
    def tell(feature: Feature, value: float, _: Facts) -> Sentence:
        return Sentence(f"{value:,.0f} {_plural(word, value)} seen with {_entity(feature)} in the last {_WINDOW_NAMES[_window(feature)]}")

    return tell


def _pace(feature: Feature, value: float, facts: Facts) -> Sentence:
    count = facts.value(f"{feature.entity}_count_{_LONGEST_WINDOW}")
    usual = WINDOWS_S[_LONGEST_WINDOW] / count if count >= 1 else None
    said = f"{_duration(value)} after the last transaction of {_entity(feature)}"
    return Sentence(f"{said} (usual: {_duration(usual)})" if usual is not None else said, usual)


def _last_amount(feature: Feature, value: float, facts: Facts) -> Sentence:
    return Sentence(f"the previous amount of {_entity(feature)} was {facts.money(value)}")


def _place(feature: Feature, _: float, facts: Facts) -> Sentence:
    distance, since = facts.value(f"{feature.entity}_distance"), facts.value(f"{feature.entity}_since_last")
    said = f"{distance:,.0f} km from the last place of {_entity(feature)}"
    return Sentence(said if math.isnan(since) else f"{said}, {_duration(since)} ago")


def _history(feature: Feature, value: float, _: Facts) -> Sentence:
    if value < 1:
        return Sentence(f"first transaction of {_entity(feature)}")
    return Sentence(f"{value:,.0f} earlier {_plural('transaction', value)} of {_entity(feature)}")


def _ratio(_: Feature, value: float, __: Facts) -> Sentence:
    return Sentence(f"spent {value:,.1f} times the card's usual amount", 1.0)


def _deviation(_: Feature, value: float, __: Facts) -> Sentence:
    direction = "above" if value >= 0 else "below"
    return Sentence(f"amount {abs(value):,.1f} deviations {direction} what is usual for this card", 0.0)


def _odd(_: Feature, value: float, __: Facts) -> Sentence:
    return Sentence(f"about {value:,.1f} recent amounts far above what is usual for this card", 0.0)


def _known_frauds(feature: Feature, _: float, facts: Facts) -> Sentence:
    days = _window(feature) if _window(feature) not in ("ever", "run", "age", "share", "fraud") else "28d"
    frauds = facts.value(f"{feature.entity}_known_frauds_{days}")
    where = "at this merchant" if feature.entity == "merchant" else "on this card"
    span = int(days.removesuffix("d")) + facts.maturity_days
    if math.isnan(frauds) or frauds < 1:
        return Sentence(f"share of fraud {where} over all time: {facts.value(f'{feature.entity}_risk_ever'):.2%}")
    return Sentence(f"{frauds:,.0f} known {_plural('fraud', frauds)} {where} in the last {span} days")


def _fraud_run(feature: Feature, _: float, facts: Facts) -> Sentence:
    run = facts.value(f"{feature.entity}_fraud_run")
    where = "at this merchant" if feature.entity == "merchant" else "on this card"
    return Sentence(f"the last {run:,.0f} resolved {_plural('transaction', run)} {where} {'was' if run == 1 else 'were'} fraud")


def _newest_fraud(feature: Feature, _: float, facts: Facts) -> Sentence:
    since = facts.value(f"{feature.entity}_since_fraud")
    where = "at this merchant" if feature.entity == "merchant" else "on this card"
    if math.isnan(since):
        return Sentence(f"no fraud is known {where}")
    return Sentence(f"the last known fraud {where} was {_duration(since * 86_400)} ago")


def _usual(feature: Feature, facts: Facts, measure: str) -> float | None:
    window = _window(feature)
    if window == _LONGEST_WINDOW:
        return None
    longest = facts.value(f"{feature.entity}_{measure}_{_LONGEST_WINDOW}")
    return None if math.isnan(longest) else longest * WINDOWS_S[window] / WINDOWS_S[_LONGEST_WINDOW]


def _entity(feature: Feature) -> str:
    return _ENTITY_NAMES[feature.entity or "card"]


def _number(value: float) -> str:
    return f"{value:,.1f}" if value >= 0.1 or value == 0 else f"{value:.1g}"


def _plural(word: str, n: float) -> str:
    return word if round(n) == 1 else word + "s"


def _duration(seconds: float) -> str:
    for size, unit in _UNITS:
        if seconds >= size or unit == "second":
            n = round(seconds / size)
            return f"{n:,} {_plural(unit, n)}"
    raise AssertionError(seconds)


_EVENT_CODES: Final = {
    "log_amount": "amount", "hour_sin": "time_of_day", "hour_cos": "time_of_day", "is_night": "time_of_day",
    "weekday_sin": "weekday", "weekday_cos": "weekday", "channel": "channel", "category": "merchant_category",
    "country": "merchant_country",
}  # fmt: skip
_EVENT_WORDS: Final = {"channel": "channel", "merchant_category": "merchant category", "merchant_country": "country"}
_TOPICS: Final = {
    "count": "velocity", "total": "spending", "mean": "spending", "std": "spending", "max": "spending",
    "merchants": "spread", "cards": "spread", "since_last": "pace", "last_amount": "last_amount",
    "distance": "distance", "speed": "distance", "transactions_ever": "history",
    "known_frauds": "known_fraud", "matured": "known_fraud", "risk": "known_fraud", "fraud_run": "known_fraud",
    "fraud_run_age": "known_fraud", "newest_fraud_share": "known_fraud", "since_fraud": "known_fraud",
}  # fmt: skip
_CARD_CODES: Final = {
    "amount_over_mean_7d": "unusual_amount", "amount_over_mean": "unusual_amount", "amount_over_ewma": "unusual_amount",
    "amount_over_median": "unusual_amount", "amount_robust_z": "unusual_amount", "amount_z_ever": "unusual_amount",
    "odd_amounts": "odd_amounts",
}  # fmt: skip
_MISSING: Final = {
    "velocity": "the recent transactions of {}", "spending": "the recent amounts of {}", "spread": "where {} was seen",
    "pace": "an earlier transaction of {}", "last_amount": "an earlier amount of {}", "distance": "the last place of {}",
    "history": "the history of {}", "known_fraud": "earlier fraud of {}", "unusual_amount": "the usual amount of {}",
    "odd_amounts": "the usual amount of {}",
}  # fmt: skip
_TELL: Final[dict[str, Callable[[Feature, float, Facts], Sentence]]] = {
    "count": _count, "total": _total, "mean": _amount_statistic("mean"), "std": _amount_statistic("typical spread of the"),
    "max": _amount_statistic("largest"), "merchants": _counterparties("merchant"), "cards": _counterparties("card"),
    "since_last": _pace, "last_amount": _last_amount, "distance": _place, "speed": _place, "transactions_ever": _history,
    "amount_over_mean": _ratio, "amount_over_ewma": _ratio, "amount_over_median": _ratio,
    "amount_robust_z": _deviation, "amount_z_ever": _deviation, "odd_amounts": _odd,
    "known_frauds": _known_frauds, "matured": _known_frauds, "risk": _known_frauds,
    "fraud_run": _fraud_run, "fraud_run_age": _fraud_run, "newest_fraud_share": _newest_fraud, "since_fraud": _newest_fraud,
}  # fmt: skip
CODES: Final = tuple(code_of(feature) for feature in FEATURES)
"""Code of each feature, in vector order."""
