"""How much noisier than independent rows a feature is: measured on days without an alarm, before anything may alarm.

Rows of one card or merchant come in runs, and weeks have their shape. A window of n rows then wanders as far from its
reference as n / deff independent rows would (Kish, 1965).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from monitoring import chi_square, shift
from monitoring.arrays import decode_arrays, encode_arrays
from monitoring.drift_windows import PAST_WEEKS, REFERENCES, WEEK_H, WINDOWS_H
from monitoring.packed import Counts
from monitoring.profile import Profile
from monitoring.rate_test import rate_shift
from monitoring.shift import Shift

MIN_DAYS: Final = 28
"""Days of counts that set the limits; before there are as many, nothing alarms."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Effect(NamedTuple):
    """Two readings of the same noise, of equal shape, both at least 1."""

    usual: Floats
    """By the median of the baseline's windows: what half of them stay below."""
    widest: Floats
    """At least `usual`; by the largest of the baseline's windows: what weekends, paydays and runs did at most."""

    @classmethod
    def none(cls, *shape: int) -> Self:
        """Return the effect of independent rows."""
        return cls(np.ones(shape), np.ones(shape))

    def at(self, *place: int) -> "Effect":
        """Return one part."""
        return Effect(self.usual[place], self.widest[place])


@dataclass(frozen=True, slots=True)
class DesignEffects:
    """Design effects by reference, window and row of the profile.

    Attributes:
        names: The profile's.
        n_days: Days (UTC) with a transaction that they were measured on; below MIN_DAYS they must not be used.
        values: (2, 3, len(names)): of the distribution of known values.
        missing: (2, 3, len(names)): of the share of missing values.
        alert_rate: (3,): of the share of alerts, against the past.
    """

    names: tuple[str, ...]
    n_days: int
    values: Effect
    missing: Effect
    alert_rate: Effect

    @classmethod
    def unknown(cls, profile: Profile) -> Self:
        """Return what holds before there are days to measure on: nothing may alarm."""
        shape = (len(REFERENCES), len(WINDOWS_H), len(profile.names))
        return cls(profile.names, 0, Effect.none(*shape), Effect.none(*shape), Effect.none(len(WINDOWS_H)))

    @property
    def is_enough(self) -> bool:
        """Whether they were measured on MIN_DAYS days."""
        return self.n_days >= MIN_DAYS

    def encode(self) -> bytes:
        """Return them as an npz; equal ones give equal bytes."""
        effects = {name: np.stack(getattr(self, name)) for name in _EFFECTS}
        return encode_arrays({"names": np.array(self.names), "n_days": np.array([self.n_days]), **effects})

    @classmethod
    def decode(cls, content: bytes) -> Self:
        """Return what `encode` wrote."""
        arrays = decode_arrays(content)
        return cls(tuple(arrays["names"].tolist()), int(arrays["n_days"][0]), *(Effect(*arrays[name]) for name in _EFFECTS))


_EFFECTS: Final = ("values", "missing", "alert_rate")


def estimate(hours: Mapping[int, Counts], profile: Profile, *, training_hours: range = range(0)) -> DesignEffects:
    """Return the design effects of the days in `hours`.

    Every hour ends one window of each length, and x = PSI / (1/n + 1/m) of independent rows would be chi-square. The usual
    effect is the median of x over that of a chi-square variable. The widest one is the largest x over what the largest
    of as many independent windows reaches: the 1/(k + 1) quantile, k windows that do not overlap. A reference `past`
    takes the whole weeks that are there, one at least.

    Args:
        hours: Counts by hour since the epoch, for one model.
        profile: That model's.
        training_hours: Hours that the model was trained on; they are left out, being closer to the profile than others are.
    """
    kept = {hour: counts for hour, counts in hours.items() if hour not in training_hours and counts.n_rows}
    found = DesignEffects.unknown(profile)
    if not kept:
        return found
    sums = _RollingSums(kept)
    for w, length_h in enumerate(WINDOWS_H.values()):
        current, past = sums.windows(length_h)
        for r, reference in enumerate(REFERENCES):
            is_fixed = reference == "training"
            against = profile.counts if is_fixed else past.bins
            _set(found.values, (r, w), shift.of_values(current.bins, against, profile, is_fixed=is_fixed), length_h)
            _set(found.missing, (r, w), shift.of_missing(current.bins, against, is_fixed=is_fixed), length_h)
        rates = rate_shift(current.n_alerts, current.n_rows, past.n_alerts, past.n_rows)
        _set(found.alert_rate, (w,), rates, length_h)
    return replace(found, n_days=len({hour // 24 for hour in kept}))


class _Sums(NamedTuple):
    """Counts of many windows: the first axis is the window."""

    n_rows: Ints
    n_alerts: Ints
    bins: Ints


class _RollingSums:
    """Sums over any run of hours, by differences of running totals; an hour that is not there is empty."""

    def __init__(self, hours: Mapping[int, Counts]) -> None:
        first = min(hours)
        self._n_hours = max(hours) + 1 - first
        some = hours[first]
        self._rows, self._alerts = np.zeros(self._n_hours + 1, np.int64), np.zeros(self._n_hours + 1, np.int64)
        self._bins = np.zeros((self._n_hours + 1, *some.bins.shape), np.int64)
        for hour, counts in hours.items():
            place = hour - first + 1
            self._rows[place], self._alerts[place], self._bins[place] = counts.n_rows, counts.n_alerts, counts.bins
        for sums in (self._rows, self._alerts, self._bins):
            np.cumsum(sums, axis=0, out=sums)

    def windows(self, length_h: int) -> tuple[_Sums, _Sums]:
        """Return every full window of the length, and the same hours of the earlier weeks."""
        ends = np.arange(length_h, self._n_hours + 1)
        weeks = [self._windows(ends - WEEK_H * week, length_h) for week in range(1, PAST_WEEKS + 1)]
        return self._windows(ends, length_h), _Sums(*(sum(column[1:], column[0]) for column in zip(*weeks, strict=True)))

    def _windows(self, ends: Ints, length_h: int) -> _Sums:
        # A week of which only a part is there would not hold the same hours: it counts as none.
        is_there = ends >= length_h
        first, end = np.where(is_there, ends - length_h, 0), np.where(is_there, ends, 0)
        return _Sums(*(sums[end] - sums[first] for sums in (self._rows, self._alerts, self._bins)))


def _set(effect: Effect, place: tuple[int, ...], found: Shift, length_h: int) -> None:
    """Write the effect that the windows (the first axis of `found`) show; what could not be compared stays at 1."""
    if not len(found.psi):
        return
    ratio, df = found.ratio, np.maximum(found.df[0], 1.0)
    n_windows = (~np.isnan(ratio)).sum(axis=0)
    is_measured = (n_windows > 0) & (found.df[0] > 0)
    ratio = np.where(is_measured, ratio, 0.0)
    n_apart = np.maximum(1.0, (n_windows + length_h - 1) / length_h)
    usual = np.maximum(1.0, np.nanmedian(ratio, axis=0) / chi_square.upper(0.5, df))
    effect.usual[place] = usual
    effect.widest[place] = np.maximum(usual, np.nanmax(ratio, axis=0) / chi_square.upper(1 / (n_apart + 1), df))
