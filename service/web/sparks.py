"""How PSI went: every hour's value over the last ones, from the hours alone, all features at once."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from monitoring import shift
from monitoring.packed import Counts
from monitoring.profile import N_BINS, Profile


class Course(NamedTuple):
    """PSI against training at the end of each hour; the first axis is the hour, ascending, the second the profile's names."""

    end_hours: NDArray[np.int64]
    """Hours since the epoch; a window is half-open `[end - length, end)`."""
    psi: NDArray[np.float64]
    """NaN where nothing was counted."""
    noise: NDArray[np.float64]
    """1/n: what chance scales with; NaN where nothing was counted."""
    n_rows: NDArray[np.int64]
    """Transactions in each window, (hours,)."""
    missing: NDArray[np.float64]
    """Share of missing values; NaN where nothing was counted."""


def course(hours: Mapping[int, Counts], profile: Profile, *, now_hour: int, length_h: int, n: int) -> Course:
    """Return the last `n` windows of `length_h` hours, the last of which ends before `now_hour`."""
    first = now_hour - length_h - n + 1
    bins = np.zeros((length_h + n, *profile.counts.shape), np.int64)
    rows = np.zeros(length_h + n, np.int64)
    for hour in range(first, now_hour):
        if (counts := hours.get(hour)) is not None:
            bins[hour - first + 1], rows[hour - first + 1] = counts.bins, counts.n_rows
    np.cumsum(bins, axis=0, out=bins)
    np.cumsum(rows, out=rows)
    windows, n_rows = bins[length_h:] - bins[:n], rows[length_h:] - rows[:n]
    found = shift.of_values(windows, profile.counts, profile, is_fixed=True)
    total = windows.sum(axis=-1)
    missing = np.divide(windows[..., N_BINS], total, out=np.full(total.shape, np.nan), where=total > 0)
    return Course(np.arange(now_hour - n + 1, now_hour + 1), found.psi, found.noise, n_rows, missing)


def known(values: NDArray[np.float64]) -> list[float | None]:
    """Return values rounded for a chart, NaN as None: JSON knows no NaN."""
    return [None if value != value else round(value, 4) for value in values.tolist()]  # noqa: PLR0124 - only NaN differs from itself
