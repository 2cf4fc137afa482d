"""What only days whose labels are in can tell: other thresholds, calibration, the control sample."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from monitoring.control_sample import control_recall
from monitoring.quality import CalibrationPoint, ControlRecall, ThresholdRow
from monitoring.quality_facts import EDGES, N_BINS, DayFacts, bins_of

_MOST_ROWS: Final = 60
_LARGEST_ALERT_SHARE: Final = 0.1
_N_POINTS: Final = 10


class Threshold(NamedTuple):
    """A threshold that gets a row of its own."""

    value: float
    n_above: Mapping[int, int]
    """Midnight of each day -> transactions with a probability >= `value`."""


def thresholds(days: Sequence[DayFacts], current: Threshold | None = None) -> list[ThresholdRow]:
    """Return exact counts for thresholds from one alert in all to a tenth of the transactions, at most 60 rows and the current one.

    Every probability counts, whatever tier gave it.
    """
    if not days:
        return []
    n_above = _from_the_right(_sum(days, "n_in_bin"))[1:]
    is_new = np.append(n_above[1:] != n_above[:-1], True)  # the highest of the thresholds with the same alerts
    kept = np.flatnonzero(is_new & (n_above > 0) & (n_above <= sum(day.n for day in days) * _LARGEST_ALERT_SHARE))
    kept = kept[np.unique(np.linspace(0, len(kept) - 1, _MOST_ROWS).round().astype(np.int64))] if len(kept) else kept
    wanted = {float(EDGES[i]): int(n_above[i]) for i in kept.tolist()}
    if current is not None:
        wanted[current.value] = sum(current.n_above[day.day_ms] for day in days)
    p = np.concatenate([day.fraud_p for day in days])
    amounts = np.maximum(np.concatenate([day.amount_minor for day in days]), 0)
    return [_row(threshold, n, len(days), p >= threshold, amounts) for threshold, n in sorted(wanted.items())]


def _row(threshold: float, n_alerts: int, n_days: int, is_caught: NDArray[np.bool_], amounts: NDArray[np.int64]) -> ThresholdRow:
    n_caught = int(is_caught.sum())
    return ThresholdRow(
        threshold=threshold,
        alerts_per_day=n_alerts / n_days,
        precision=n_caught / n_alerts if n_alerts else None,
        recall=n_caught / len(is_caught) if len(is_caught) else None,
        caught_minor=round(int(amounts[is_caught].sum()) / n_days),
        missed_minor=round(int(amounts[~is_caught].sum()) / n_days),
    )


def calibration(days: Sequence[DayFacts]) -> list[CalibrationPoint]:
    """Return ten groups of about equal predicted fraud: of equal size, nine of ten would hold next to none."""
    n, p = _sum(days, "n_in_bin"), _sum(days, "p_in_bin")
    frauds = np.zeros(N_BINS)
    for day in days:
        np.add.at(frauds, bins_of(day.fraud_p), 1)
    mass = np.cumsum(p)
    if not mass[-1] > 0.0:
        return []
    group = np.minimum(((mass - p / 2) / mass[-1] * _N_POINTS).astype(np.int64), _N_POINTS - 1)
    sums = [np.bincount(group, weights=column, minlength=_N_POINTS) for column in (n, p, frauds)]
    return [CalibrationPoint(p_sum / rows, hits / rows, int(rows)) for rows, p_sum, hits in np.stack(sums, axis=1).tolist() if rows]


def control(days: Sequence[DayFacts]) -> ControlRecall | None:
    """Return recall by the control sample; None where nothing was drawn."""
    if not any(len(day.control_pi) for day in days):
        return None
    pi = np.concatenate([day.control_pi for day in days])
    is_alert, is_fraud = (np.concatenate([getattr(day, name) for day in days]) for name in ("control_is_alert", "control_is_fraud"))
    found = control_recall(pi, is_alert, is_fraud)
    return ControlRecall(len(pi), int(is_fraud.sum()), *(found or (None, None, None)))


def _sum(days: Sequence[DayFacts], name: str) -> NDArray[np.float64]:
    total = np.zeros(N_BINS)
    for day in days:
        total += getattr(day, name)
    return total


def _from_the_right(values: NDArray[np.float64]) -> NDArray[np.float64]:
    result: NDArray[np.float64] = np.cumsum(values[::-1])[::-1]
    return result
