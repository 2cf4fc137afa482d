"""What each measure computes, as a formula: one text for all entities and windows that share it. For the reference only.

Names in the formulas are explained in the reference's head (`features.reference`).
"""

from typing import Final, NamedTuple

from features import spec
from features.layout import N_AMOUNTS
from features.spec import Feature


class Measure(NamedTuple):
    """One way to compute a number."""

    group: str
    formula: str


_WINDOW: Final = "window"
_LAST: Final = "newest transaction"
_AMOUNT: Final = "the card's own past"
_LABEL: Final = "labels"
_EVENT: Final = "event"
_RECENT: Final = f"the last {N_AMOUNTS} known amounts"
_RISK: Final = f"(frauds + {spec.RISK_PRIOR} * {spec.RISK_WEIGHT:g}) / (transactions + {spec.RISK_WEIGHT:g})"

MEASURES: Final = {
    "log_amount": Measure(_EVENT, "ln(1 + x / M)"),
    "hour_sin": Measure(_EVENT, "sin(2 pi s / 86400), s = local second of the day"),
    "hour_cos": Measure(_EVENT, "cos(2 pi s / 86400)"),
    "weekday_sin": Measure(_EVENT, "sin(2 pi d / 7), d = local day of the week, Monday = 0"),
    "weekday_cos": Measure(_EVENT, "cos(2 pi d / 7)"),
    "is_night": Measure(_EVENT, "1 if s < 21600, else 0"),
    "channel": Measure(_EVENT, "0 pos, 1 ecom, 2 atm, 3 contactless, 4 moto, 5 other"),
    "category": Measure(_EVENT, "the merchant category code as it is"),
    "country": Measure(_EVENT, "26 a + b, the letters of the ISO 3166 code from A = 0"),
    "count": Measure(_WINDOW, "number of transactions in the window's tiles"),
    "total": Measure(_WINDOW, "sum of the known amounts"),
    "mean": Measure(_WINDOW, "total / n"),
    "std": Measure(_WINDOW, "sqrt(max(0, sum of x^2 / n - mean^2))"),
    "max": Measure(_WINDOW, "largest known amount"),
    "counterparties": Measure(
        _WINDOW,
        "-S ln(max(S - o, 0.5) / S), S = slots of the entity type, o = slots with somebody seen since the window's first tile began",
    ),
    "since_last": Measure(_LAST, "max(0, t - t_last)"),
    "last_amount": Measure(_LAST, "x_last"),
    "distance": Measure(
        _LAST, "12742 asin(sqrt(sin^2((b - a) / 2) + cos a cos b sin^2(l / 2))), a and b latitudes, l difference of longitudes"
    ),
    "speed": Measure(_LAST, "distance / (max(since_last, 1) / 3600)"),
    "since_counterparty": Measure(
        _LAST, "max(0, now - newest time in the counterparty's slot), if that lies within the 30 d window's tiles; both in whole seconds"
    ),
    "transactions_ever": Measure(_LAST, "number of transactions counted"),
    "amount_over_mean_7d": Measure(_AMOUNT, "x / max(1, mean of 7 d)"),
    "amount_over_mean_30d": Measure(_AMOUNT, "x / max(1, mean of 30 d)"),
    "amount_over_ewma": Measure(
        _AMOUNT, "x / max(1, e); e begins as the first amount, then the i-th adds max(0.05, 1 / i) (min(x_i, 3 max(e, M)) - e)"
    ),
    "amount_over_median": Measure(_AMOUNT, f"x / max(1, m), m = sorted[k // 2] of {_RECENT}, k of them"),
    "amount_robust_z": Measure(_AMOUNT, "(x - m) / (1.4826 MAD + M), MAD = sorted[k // 2] of their distances from m"),
    "amount_z_ever": Measure(_AMOUNT, "(x - mean) / (std + M), over all amounts since the card began anew"),
    "odd_amounts": Measure(
        _AMOUNT,
        "sum of 2^(-(now - t_i) / 7 d) over the amounts x_i > 2.5 m of their moment, from the 6th known amount on; "
        "now is not below the newest t_i",
    ),
    "known_frauds": Measure(_LABEL, "sum of f over days of age <= w"),
    "matured": Measure(_LABEL, "sum of n over days of age <= w"),
    "risk": Measure(_LABEL, f"{_RISK} of known_frauds and matured"),
    "risk_ever": Measure(_LABEL, f"{_RISK} of all days of age > 0, those that have left the {spec.DAY_TILES} tiles included"),
    "fraud_run": Measure(
        _LABEL,
        f"sum of f from the newest day back (age <= {spec.LABEL_DAYS[-1]}) over days with f > 0 and f >= n - 0.5, "
        "up to the first other with n > 0.5",
    ),
    "fraud_run_age": Measure(_LABEL, "today - oldest day of that run"),
    "newest_fraud_share": Measure(_LABEL, "f / max(1, n) of the newest day with age > 0 or f > 0"),
    "since_fraud": Measure(_LABEL, "max(0, now - time of the newest known fraud transaction)"),
}
"""By the name that `measure_of` gives, in the order of the vector."""


def measure_of(feature: Feature) -> str:
    """Return the name of the feature's measure: its name without entity, window and kind of counterparty.

    >>> [measure_of(f) for f in spec.FEATURES if f.name in ("card_merchants_1h", "merchant_risk_7d", "card_amount_over_mean_7d")]
    ['counterparties', 'amount_over_mean_7d', 'risk']
    """
    name = feature.name.removeprefix("event_" if feature.entity is None else f"{feature.entity}_")
    if name in MEASURES:
        return name
    name = name.removesuffix(f"_{window_of(feature)}")
    return {"merchants": "counterparties", "cards": "counterparties", "since_merchant": "since_counterparty",
            "since_card": "since_counterparty"}.get(name, name)  # fmt: skip


def window_of(feature: Feature) -> str | None:
    """Return the window in the feature's name, None if it has none.

    >>> window_of(next(f for f in spec.FEATURES if f.name == "merchant_risk_7d"))
    '7d'
    """
    last = feature.name.rpartition("_")[2]
    return last if last in spec.WINDOWS_S or last in {f"{days}d" for days in spec.LABEL_DAYS} else None
