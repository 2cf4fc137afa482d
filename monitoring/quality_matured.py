"""What only days whose labels are in can tell: other thresholds, calibration, the control sample."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from monitoring.control_sample import control_recall
from monitoring.quality import CalibrationPoint, ControlRecall, ThresholdRow
from monitoring.quality_facts import EDGES, N_BINS, DayFacts

_MOST_ROWS: Final = 60
_LARGEST_ALERT_SHARE: Final = 0.1
_N_POINTS: Final = 10


def thresholds(days: Sequence[DayFacts]) -> list[ThresholdRow]:
    """Return exact counts for thresholds from one alert in all to a tenth of the transactions, at most 60 rows.

    Every probability counts, whatever tier gave it.
    """
    n_above = _from_the_right(_sum(days, "n_in_bin"))[1:]
    if not len(days):
        return []
    frauds, amounts = np.zeros(N_BINS), np.zeros(N_BINS)
    for day in days:
        np.add.at(frauds, day.fraud_bin, 1)
        np.add.at(amounts, day.fraud_bin, np.maximum(day.amount_minor, 0))
    caught, caught_minor = _from_the_right(frauds)[1:], _from_the_right(amounts)[1:]
    is_new = np.append(n_above[1:] != n_above[:-1], True)  # the highest of the thresholds with the same alerts
    kept = np.flatnonzero(is_new & (n_above > 0) & (n_above <= sum(day.n for day in days) * _LARGEST_ALERT_SHARE))
    kept = kept[np.unique(np.linspace(0, len(kept) - 1, _MOST_ROWS).round().astype(np.int64))] if len(kept) else kept
    return [
        ThresholdRow(
            threshold=float(EDGES[i]),
            alerts_per_day=float(n_above[i]) / len(days),
            precision=float(caught[i] / n_above[i]),
            recall=float(caught[i] / frauds.sum()) if frauds.any() else None,
            caught_minor=round(float(caught_minor[i]) / len(days)),
            missed_minor=round(float(amounts.sum() - caught_minor[i]) / len(days)),
        )
        for i in kept.tolist()
    ]


def calibration(days: Sequence[DayFacts]) -> list[CalibrationPoint]:
    """Return ten groups of about equal predicted fraud: of equal size, nine of ten would hold next to none."""
    n, p = _sum(days, "n_in_bin"), _sum(days, "p_in_bin")
    frauds = np.zeros(N_BINS)
    for day in days:
        np.add.at(frauds, day.fraud_bin, 1)
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
