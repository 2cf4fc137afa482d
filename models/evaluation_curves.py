"""Points to plot and the table of thresholds, from the test rows of all folds together."""

from collections.abc import Mapping
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve

from models.evaluation_result import Bin, Curves, DayGain, ThresholdRow
from models.fold_metrics import Prices, cost
from models.judged import Judged
from models.metrics import precision_and_recall
from models.options import DAY_MS

_ALERT_RATES: Final = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05)
_N_POINTS: Final = 101
_N_BINS: Final = 10
_DECADES: Final = 6
_BINS_A_DECADE: Final = 4


def curves(
    judged: Judged, probabilities: Mapping[str, NDArray[np.float64]], is_alert: Mapping[str, NDArray[np.bool_]], *, rival: str
) -> Curves:
    """Return the points.

    Args:
        judged: Test rows of all folds.
        probabilities: By model, the ensemble among them.
        is_alert: At the thresholds set before the test, of the ensemble and the rival.
        rival: What the ensemble is compared with, day by day.
    """
    return Curves(
        precision_recall={name: _precision_recall(p, judged.target) for name, p in probabilities.items()},
        calibration=_calibration(probabilities["ensemble"], judged.target),
        histogram=_histogram(probabilities["ensemble"], judged.target),
        days=_days(judged, is_alert["ensemble"], is_alert[rival]),
        rival=rival,
    )


def threshold_table(probability: NDArray[np.float64], judged: Judged, prices: Prices) -> list[ThresholdRow]:
    """Return what thresholds from 0.05 % to 5 % of alerts would have meant; the cheapest is marked.

    Chosen with the truth at hand: a table to think with, not a promise.
    """
    n, n_days = len(probability), len(np.unique(judged.day))
    ordered = np.sort(probability)[::-1]
    rows = []
    for rate in _ALERT_RATES:
        threshold = float(ordered[max(round(rate * n), 1) - 1])
        is_alert = probability >= threshold
        precision, recall = precision_and_recall(is_alert, judged.target)
        rows.append(
            ThresholdRow(
                threshold=threshold, alert_rate=float(is_alert.mean()), alerts_per_day=float(is_alert.sum()) / n_days,
                precision=precision, recall=recall,
                caught_per_day=float(judged.amount[judged.target & is_alert].sum()) / n_days,
                missed_per_day=float(judged.amount[judged.target & ~is_alert].sum()) / n_days,
                cost_per_1000=1000 * cost(is_alert, judged, prices) / n,
            )
        )  # fmt: skip
    cheapest = min(range(len(rows)), key=lambda place: rows[place].cost_per_1000)
    return [msgspec.structs.replace(row, is_cheapest=place == cheapest) for place, row in enumerate(rows)]


def _precision_recall(probability: NDArray[np.float64], target: NDArray[np.bool_]) -> list[tuple[float, float]]:
    precision, recall, _ = precision_recall_curve(target, probability)
    precision, recall = precision[::-1], recall[::-1]
    wanted = np.linspace(0, 1, _N_POINTS)
    # At each recall the precision of the highest threshold that reaches it: steps, no interpolation.
    place = np.minimum(np.searchsorted(recall, wanted, side="left"), len(recall) - 1)
    return [(float(r), float(p)) for r, p in zip(wanted, precision[place], strict=True)]


def _calibration(probability: NDArray[np.float64], target: NDArray[np.bool_]) -> list[Bin]:
    order = np.argsort(probability, kind="stable")
    p, y = probability[order], target[order]
    mass = np.cumsum(p)
    place = np.minimum((mass / mass[-1] * _N_BINS).astype(np.int64), _N_BINS - 1)
    n, predicted, observed = (np.bincount(place, weights=w, minlength=_N_BINS) for w in (np.ones(len(p)), p, y))
    return [Bin(float(a / c), float(b / c), int(c)) for c, a, b in zip(n, predicted, observed, strict=True) if c]


def _histogram(probability: NDArray[np.float64], target: NDArray[np.bool_]) -> list[tuple[float, int, int]]:
    edges = 10.0 ** (np.arange(_DECADES * _BINS_A_DECADE + 1) / _BINS_A_DECADE - _DECADES)
    place = np.clip(np.searchsorted(edges, probability, side="right") - 1, 0, len(edges) - 2)
    good, frauds = (np.bincount(place[rows], minlength=len(edges) - 1) for rows in (~target, target))
    return [(float(edge), int(a), int(b)) for edge, a, b in zip(edges[:-1], good, frauds, strict=True)]


def _days(judged: Judged, is_alert: NDArray[np.bool_], by_rival: NDArray[np.bool_]) -> list[DayGain]:
    found = []
    for day in np.unique(judged.day).tolist():
        fraud = (judged.day == day) & judged.target
        amount, caught, rival = (float(judged.amount[rows].sum()) for rows in (fraud, fraud & is_alert, fraud & by_rival))
        found.append(DayGain(day_ms=day * DAY_MS, n_frauds=int(fraud.sum()), amount=amount, caught=caught, caught_by_rival=rival))
    return found
