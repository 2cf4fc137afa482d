"""What has changed in the inputs and the score: counters of the last hours against training and against earlier weeks.

The method and what it was measured to do stand in docs/drift.md.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from monitoring import chi_square, shift
from monitoring.design_effect import MIN_DAYS, DesignEffects, Effect
from monitoring.divergence import jensen_shannon, kolmogorov_smirnov, wasserstein
from monitoring.drift_report import DriftReport, FeatureDrift, LargestMove, RateDrift
from monitoring.drift_windows import REFERENCES, WINDOWS_H, Reference, Window, past_hours, total, window_hours
from monitoring.false_discovery import discoveries, single_limit
from monitoring.packed import Counts
from monitoring.profile import N_BINS, Profile
from monitoring.rate_test import LEAST_CHANGE, LEAST_EXPECTED, rate_shift
from monitoring.shift import Shift

LEAST_PSI: Final = 0.03
"""A smaller shift alarms nobody: it is about a fifth of a standard deviation."""
FALSE_DISCOVERY_RATE: Final = 0.001
LEAST_ROWS: Final = 500
"""Rows, after the usual design effect, that a window must have."""
CLOCK: Final = ("event_hour_sin", "event_hour_cos", "event_weekday_sin", "event_weekday_cos", "event_is_night")
"""They follow the clock: a window shorter than a week always differs from training."""
GROWING_SUFFIX: Final = "_transactions_ever"
"""Of features that only ever grow: they always differ from training, and more each day."""

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


class _Tested(NamedTuple):
    """One test of each feature."""

    is_alarmable: Flags
    p_value: Floats
    limit: Floats
    is_significant: Flags


def evaluate(
    hours: Mapping[int, Counts], profile: Profile, effects: DesignEffects, *, now_hour: int, importance: Mapping[str, float]
) -> DriftReport:
    """Return what the windows that end before `now_hour` show.

    Args:
        hours: Counts by hour since the epoch, of one model's whole fleet; a missing hour counts as empty.
        profile: That model's.
        effects: Measured by `design_effect.estimate` for that model; nothing alarms if they are not enough.
        now_hour: The first hour that is not looked at.
        importance: Share of each feature in the model, in [0, 1]; features may be missing.
    """
    rows: list[FeatureDrift] = []
    rates: list[RateDrift] = []
    n_rows: dict[Window, int] = {}
    nothing = Counts(0, 0, np.zeros_like(profile.counts))
    for w, (window, length_h) in enumerate(WINDOWS_H.items()):
        current = total(hours, window_hours(now_hour, length_h)) or nothing
        past = total(hours, past_hours(now_hour, length_h)) or nothing
        n_rows[window] = current.n_rows
        rows += compare(window, current, past, profile, effects, importance=importance)
        rates.append(_alert_rate(current, past, effects, w, window))
    return DriftReport(now_hour, effects.is_enough, effects.n_days, n_rows, rows, rates)


def compare(
    window: Window, current: Counts, past: Counts, profile: Profile, effects: DesignEffects, *, importance: Mapping[str, float]
) -> list[FeatureDrift]:
    """Return what one window shows: a row for each reference and feature, the score last within each.

    Args:
        window: Its length; where it begins is the caller's.
        current: Its counts.
        past: Those of the same time of earlier weeks.
        profile: See `evaluate`.
        effects: See there.
        importance: See there.
    """
    rows: list[FeatureDrift] = []
    place = list(WINDOWS_H).index(window)
    for r, reference in enumerate(REFERENCES):
        against = profile.counts if reference == "training" else past.bins
        rows += _compared(current, against, profile, effects, importance, (r, place), window, reference)
    return rows


def _compared(
    current: Counts, against: NDArray[np.int64], profile: Profile, effects: DesignEffects, importance: Mapping[str, float],
    place: tuple[int, int], window: Window, reference: Reference,
) -> list[FeatureDrift]:  # fmt: skip
    """Return the rows of one window and reference, in the profile's order."""
    is_fixed = reference == "training"
    values = shift.of_values(current.bins, against, profile, is_fixed=is_fixed)
    missing = shift.of_missing(current.bins, against, is_fixed=is_fixed)
    why_not = [_why_not(name, is_fixed=is_fixed) for name in profile.names]
    by_nature = np.array([not why for why in why_not])
    tested = _test(values, effects.values.at(*place), by_nature & effects.is_enough)
    tested_missing = _test(missing, effects.missing.at(*place), by_nature & effects.is_enough)
    for i in np.flatnonzero(~tested.is_alarmable).tolist():
        why_not[i] = why_not[i] or _lack(values, effects, i)
    known, known_against = current.bins[:, :N_BINS], against[:, :N_BINS]
    columns = (
        profile.names, [importance.get(name, 0.0) for name in profile.names], *map(_listed, (
            values.psi, tested.limit, tested.p_value)), tested.is_significant.tolist(),
        _listed(_missing_share(current.bins)), _listed(_missing_share(against)), tested_missing.is_significant.tolist(),
        *map(_listed, (jensen_shannon(known, known_against), kolmogorov_smirnov(known, known_against), wasserstein(known, known_against))),
        tested.is_alarmable.tolist(), why_not, _moves(known, known_against, profile),
    )  # fmt: skip
    return [FeatureDrift(name, window, reference, weight, current.n_rows, *found) for name, weight, *found in zip(*columns, strict=True)]


def _test(found: Shift, effect: Effect, may_alarm: Flags) -> _Tested:
    """Return the test of each feature; those that may not alarm are not part of the family."""
    is_alarmable = may_alarm & (found.df > 0) & ~np.isnan(found.psi) & (found.n_rows / effect.usual >= LEAST_ROWS)
    df = np.maximum(found.df, 1.0)
    p_value = np.where(found.df > 0, chi_square.survival(found.ratio / effect.widest, df), np.nan)
    n_tests = max(1, int(is_alarmable.sum()))
    limit = np.maximum(LEAST_PSI, chi_square.upper(single_limit(n_tests, FALSE_DISCOVERY_RATE), df) * effect.widest * found.noise)
    is_found = discoveries(np.where(is_alarmable, p_value, np.nan), FALSE_DISCOVERY_RATE) & (found.psi >= LEAST_PSI)
    return _Tested(is_alarmable, p_value, np.where(may_alarm & (found.df > 0), limit, np.nan), is_found)


def _why_not(name: str, *, is_fixed: bool) -> str:
    """Return why a feature never alarms against this reference; empty if it may."""
    if is_fixed and name in CLOCK:
        return "clock feature: compared with earlier weeks only"
    if is_fixed and name.endswith(GROWING_SUFFIX):
        return "grows for ever: compared with earlier weeks only"
    return ""


def _lack(values: Shift, effects: DesignEffects, i: int) -> str:
    """Return what is missing for the test of feature i."""
    if values.df[i] < 1:
        return "constant in training"
    if not effects.is_enough:
        return f"fewer than {MIN_DAYS} days of baseline"
    if not values.n_rows[i]:
        return "no known value in the window"
    if np.isnan(values.psi[i]):
        return "no known value in the same hours of earlier weeks"
    return "too few rows"


def _missing_share(bins: NDArray[np.int64]) -> Floats:
    n = bins.sum(axis=1, dtype=np.float64)
    share: Floats = np.divide(bins[:, N_BINS], n, out=np.full(len(n), np.nan), where=n > 0)
    return share


def _moves(current: NDArray[np.int64], against: NDArray[np.int64], profile: Profile) -> list[LargestMove | None]:
    n, m = current.sum(axis=1, keepdims=True), against.sum(axis=1, keepdims=True)
    now, before = current / np.maximum(n, 1), against / np.maximum(m, 1)
    at = np.argmax(now - before, axis=1)
    rows = np.arange(len(at))
    edges = np.pad(profile.edges, ((0, 0), (1, 1)), constant_values=np.nan)
    edges[np.isinf(edges)] = np.nan
    columns = (*map(_listed, (edges[rows, at], edges[rows, at + 1], before[rows, at], now[rows, at])), ((n > 0) & (m > 0))[:, 0].tolist())
    return [
        LargestMove(low, high, was or 0.0, became or 0.0) if is_known else None
        for low, high, was, became, is_known in zip(*columns, strict=True)
    ]


def _alert_rate(current: Counts, past: Counts, effects: DesignEffects, w: int, window: Window) -> RateDrift:
    n, m = current.n_rows, past.n_rows
    rate, rate_past = (current.n_alerts / n if n else None), (past.n_alerts / m if m else None)
    found = rate_shift(*(np.array([v]) for v in (current.n_alerts, n, past.n_alerts, m)))
    effect = effects.alert_rate.at(w)
    p_value = float(chi_square.survival(found.ratio / effect.widest, found.df)[0])
    why_not = ""
    if not effects.is_enough:
        why_not = f"fewer than {MIN_DAYS} days of baseline"
    elif rate is None or rate_past is None or n * rate_past / effect.usual < LEAST_EXPECTED:
        why_not = "too few alerts expected"
    is_large = rate is not None and rate_past is not None and abs(rate - rate_past) >= LEAST_CHANGE * rate_past
    is_found = not why_not and is_large and p_value <= single_limit(len(WINDOWS_H), FALSE_DISCOVERY_RATE)
    return RateDrift(window, n, rate, rate_past, None if np.isnan(p_value) else p_value, is_found, why_not)


def _listed(values: Floats) -> list[float | None]:
    """Return NaN as None: JSON knows no NaN."""
    return [None if value != value else value for value in values.tolist()]  # noqa: PLR0124 - only NaN differs from itself
