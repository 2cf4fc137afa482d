"""How many frauds a day will have had when all its labels are in: counts over the delay curve, with an interval.

N = sum over strata s of K_s / F_s(age). A pooled curve would be wrong: alerts are looked at within days, missed frauds come back
after weeks. The interval is a beta-binomial bootstrap: of N frauds K ~ Binomial(N, F) are known; F is drawn from a beta
distribution as wide as the curve is uncertain (Greenwood) and as days differ (frauds of one case come to light together); what is
still to come is then negative binomial, given K.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from monitoring.label_delay import DelayCurve
from monitoring.quality import ALERTED, STRATA, Estimate
from monitoring.quality_facts import DAY_MS, HOUR_MS, DayFacts

Floats = NDArray[np.float64]

SMALLEST_SHARE: Final = 0.2
"""An estimate is shown from this F on."""
MATURED_SHARE: Final = 0.95
"""A day is provisional below this F."""
FEWEST_FRAUDS: Final = 20
"""A stratum with fewer known frauds has no curve."""
FINAL_AGE_DAYS: Final = 60
"""In a stratum without a curve a day of this age is taken as final: card schemes' usual time for a charge-back is shorter."""
USUAL_CORRELATION: Final = 0.05
"""Of two frauds of a day to be known by the same age, as long as too few days are final to measure it."""
N_DRAWS: Final = 500

_FEWEST_FINAL_DAYS: Final = 10
_AGES_DAYS: Final = (1, 2, 3, 5, 7, 10, 14, 21, 30)
_LEAST_F: Final = 0.02
_LARGEST_CORRELATION: Final = 0.5
#: Variance of F over f (1 - f): beyond it a beta is all at its ends, below it it is a point.
_LARGEST_SPREAD: Final = 0.8
_SMALLEST_SPREAD: Final = 1e-6
#: Frauds of a day before any is seen: the Jeffreys prior of a count.
_PRIOR: Final = 0.5


class Stratum(NamedTuple):
    """How the labels of one stratum come in."""

    curve: DelayCurve | None
    """None = fewer than FEWEST_FRAUDS known frauds."""
    correlation: float
    """Between frauds of one day, in [0, 1): 0 = they become known independently."""
    is_complete: bool
    """Whether the observed time is long enough for the curve to have levelled off well before its end."""
    amount_mean: float
    """Of its known frauds, in minor units; 0 = no amount is known."""
    amount_variance: float


class Outlook(NamedTuple):
    """What the frauds of one stratum of one day will be."""

    n_known: int
    known_minor: int
    share: float
    """F of the day, at least SMALLEST_SHARE."""
    frauds: Floats
    """Draws of the final number, shape (N_DRAWS,)."""
    amount_minor: Floats
    """Draws of the final amount, shape (N_DRAWS,)."""


def strata(days: Sequence[DayFacts], *, to_ms: int) -> dict[str, Stratum]:
    """Return the strata as the known frauds of all days show them at `to_ms`."""
    is_alert, event_ms, known_ms, amount = (
        np.concatenate([np.zeros(0, kind), *(getattr(day, name) for day in days)])
        for name, kind in (("is_alert", np.bool_), ("event_ms", np.int64), ("known_ms", np.int64), ("amount_minor", np.int64))
    )
    window_ms = to_ms - min((day.day_ms for day in days), default=to_ms)
    found = {}
    for name in STRATA:
        mine = is_alert == (name == ALERTED)
        priced = amount[mine & (amount >= 0)]
        moments = (float(priced.mean()), float(priced.var())) if len(priced) else (0.0, 0.0)
        curve = DelayCurve.fit(event_ms[mine], known_ms[mine], to_ms=to_ms)
        if curve.n_known < FEWEST_FRAUDS:
            found[name] = Stratum(None, USUAL_CORRELATION, False, *moments)
            continue
        levelled = float(curve.share(np.array([window_ms * 3 // 4]))[0]) >= MATURED_SHARE
        found[name] = Stratum(curve, _correlation(days, curve, is_alerted=name == ALERTED, to_ms=to_ms), levelled, *moments)
    return found


def maturity(found: Mapping[str, Stratum], day: DayFacts, *, to_ms: int) -> dict[str, float]:
    """Return F of each stratum of a day: the mean over its transactions; strata without a curve are left out."""
    hours = np.flatnonzero(day.per_hour)
    age_ms = to_ms - (day.day_ms + hours * HOUR_MS + HOUR_MS // 2)
    shares = {}
    for name, stratum in found.items():
        if stratum.curve is not None:
            shares[name] = min(1.0, float(stratum.curve.share(age_ms) @ day.per_hour[hours]) / max(day.n, 1))
        elif to_ms - day.day_ms >= (FINAL_AGE_DAYS + 1) * DAY_MS:
            shares[name] = 1.0
    return shares


def outlook(
    random: np.random.Generator, stratum: Stratum, day: DayFacts, *, is_alerted: bool, share: float | None, to_ms: int
) -> Outlook | None:
    """Return what the stratum's frauds of a day will be; None = F is below SMALLEST_SHARE or not known."""
    if share is None or share < SMALLEST_SHARE:
        return None
    mine = day.is_alert == is_alerted
    n_known, known_minor = int(mine.sum()), int(np.maximum(day.amount_minor[mine], 0).sum())
    to_come = to_come_minor = np.zeros(N_DRAWS)
    if stratum.curve is not None and share < 1.0:
        middle = np.array([to_ms - day.day_ms - DAY_MS // 2])
        f = _beta(random, share, float(stratum.curve.log_variance(middle)[0]), stratum.correlation)
        to_come = random.negative_binomial(n_known + _PRIOR, f).astype(np.float64)
        if is_alerted:
            to_come = np.minimum(to_come, day.n_alerts - n_known)
        to_come_minor = _amounts(random, stratum, to_come)
    return Outlook(n_known, known_minor, share, n_known + to_come, known_minor + to_come_minor)


def estimate(draws: Floats | None, *, value: float | None, raw: float | None, label_free: float | None = None) -> Estimate:
    """Return the estimate whose interval the draws span; nan draws, where a ratio is not defined, are left out."""
    if draws is None or value is None or np.isnan(draws).all():
        return Estimate(None, None, None, raw, label_free)
    defined = draws[~np.isnan(draws)]
    tail = len(defined) // 40
    ends = np.partition(defined, (tail, len(defined) - 1 - tail))
    return Estimate(value, min(float(ends[tail]), value), max(float(ends[-1 - tail]), value), raw, label_free)


def _beta(random: np.random.Generator, share: float, log_variance: float, correlation: float) -> Floats:
    """Return draws of F: around `share`, as wide as the curve is uncertain and days differ together."""
    f = min(share, 1.0 - 1e-6)
    relative = min(f * log_variance / (1.0 - f) + correlation, _LARGEST_SPREAD)
    if relative <= _SMALLEST_SPREAD:
        return np.full(N_DRAWS, share)
    concentration = 1.0 / relative - 1.0  # of a beta whose variance is relative * f (1 - f)
    return np.clip(random.beta(f * concentration, (1.0 - f) * concentration, N_DRAWS), _LEAST_F, 1.0)


def _amounts(random: np.random.Generator, stratum: Stratum, n_frauds: Floats) -> Floats:
    """Return sums of so many amounts: gamma distributed with the moments of the known ones."""
    mean, variance = stratum.amount_mean, stratum.amount_variance
    if mean <= 0.0 or variance <= 0.0:
        return n_frauds * mean
    return random.gamma(n_frauds * mean**2 / variance, variance / mean)


def _correlation(days: Sequence[DayFacts], curve: DelayCurve, *, is_alerted: bool, to_ms: int) -> float:
    """Return the intra-day correlation by moments over the days whose labels are in, at several ages."""
    final_ms = int(curve.delays_ms[np.searchsorted(curve.shares, MATURED_SHARE)]) + DAY_MS
    delays = [(day.known_ms - day.event_ms)[day.is_alert == is_alerted] for day in days if to_ms - day.day_ms > final_ms]
    n = np.array([len(delay) for delay in delays], np.float64)
    if len(n) < _FEWEST_FINAL_DAYS or n.sum() < FEWEST_FRAUDS:
        return USUAL_CORRELATION
    over = within = 0.0
    for age in _AGES_DAYS:
        known = np.array([(delay <= age * DAY_MS).sum() for delay in delays])
        q = known.sum() / n.sum()
        over += float(((known - n * q) ** 2 - n * q * (1 - q)).sum())
        within += float((n * np.maximum(n - 1, 0) * q * (1 - q)).sum())
    return float(np.clip(over / within, 0.0, _LARGEST_CORRELATION)) if within > 0.0 else USUAL_CORRELATION
