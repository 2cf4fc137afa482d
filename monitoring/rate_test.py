"""Whether the share of alerts has changed: a two-proportion z-test of a window against the same hours of earlier weeks."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from monitoring.shift import Shift

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEAST_CHANGE: Final = 0.2
"""A smaller relative change of the rate alarms nobody."""
LEAST_EXPECTED: Final = 10.0
"""Alerts, after the design effect, that the window must lead one to expect: below, the normal law does not hold."""


def rate_shift(n_alerts: Ints, n_rows: Ints, past_alerts: Ints, past_rows: Ints) -> Shift:
    """Return z squared of each window as a shift with one degree of freedom (`ratio` is z squared).

    z = (r - s) / sqrt(p (1 - p) (1/n + 1/m)), with the rates r of n rows and s of m rows, and p that of all of them.
    """
    n, m, a, b = (np.asarray(values, np.float64) for values in (n_rows, past_rows, n_alerts, past_alerts))
    with np.errstate(divide="ignore", invalid="ignore"):
        pooled, noise = (a + b) / (n + m), 1 / n + 1 / m
        squared = (a / n - b / m) ** 2 / (pooled * (1 - pooled))
    is_known = (n > 0) & (m > 0) & (pooled > 0) & (pooled < 1)
    return Shift(np.where(is_known, squared, np.nan), np.asarray(n_rows), np.where(is_known, noise, np.nan), np.ones_like(n))


def rate_sentence(window: str, rate: float, past: float) -> str:
    """Return in words how the rate has changed.

    >>> rate_sentence("24h", 0.013, 0.01)
    'over the last 24h 1.3 % of the transactions raised an alert, 1.0 % in the same hours of the last 4 weeks'
    """
    return (
        f"over the last {window} {rate:.1%} of the transactions raised an alert, {past:.1%} in the same hours of the last 4 weeks".replace(
            "%", " %"
        )
    )
