"""Everything that is measured of one model on one test window, as the documentation defines it."""

from collections.abc import Mapping
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.calibration import Platt
from models.card_precision import CardRanking
from models.judged import Judged
from models.metrics import measure, precision_and_recall

#: Metrics of which less is better.
LOWER_IS_BETTER: Final = frozenset({"brier", "calibration_error", "cost_per_1000", "alert_rate"})
_SMALLEST: Final = 1e-12


class Prices(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What decisions cost, in major units of the base currency."""

    alert: float = 5.0
    """Of looking at one alert."""
    loss_share: float = 1.0
    """Share of the amount of a fraud without an alert that is lost."""


def fold_metrics(
    probability: NDArray[np.float64], judged: Judged, threshold: float, prices: Prices, *, k: int = 100
) -> Mapping[str, float | None]:
    """Return every metric of one model; None where the rows do not allow one.

    Those of `models.metrics.measure`, and: `card_precision_at_<k>` (mean over days of hit cards / k), `card_reach_at_<k>`
    (hit cards / min(k, fraud cards)), `observed_over_expected` (frauds over the sum of probabilities), `slope` (of the logistic
    regression of the truth on the predicted logit; 1 is right, below 1 too extreme), and at the threshold, which was set before the
    test: `precision`, `recall`, `alert_rate`, `cost_per_1000` (per 1,000 transactions, major units of the base currency).

    Args:
        probability: Of fraud, (n,).
        judged: The rows.
        threshold: Alerts are the rows with a probability >= it.
        prices: For the cost.
        k: Cards that a team looks at each day.
    """
    is_alert = probability >= threshold
    precision, recall = precision_and_recall(is_alert, judged.target)
    new = ~judged.is_known
    ranking = CardRanking(probability[new], judged.target[new], judged.card[new], judged.day[new], k) if new.any() else None
    expected, observed = float(probability.sum()), float(judged.target.sum())
    return {
        **measure(probability, judged.target),
        f"card_precision_at_{k}": None if ranking is None else ranking.value,
        f"card_reach_at_{k}": None if ranking is None else ranking.reach,
        "observed_over_expected": observed / expected if expected > 0 else None,
        "slope": _slope(probability, judged.target),
        "precision": precision,
        "recall": recall,
        "alert_rate": float(is_alert.mean()) if len(is_alert) else None,
        "cost_per_1000": 1000.0 * cost(is_alert, judged, prices) / len(is_alert) if len(is_alert) else None,
    }


def cost(is_alert: NDArray[np.bool_], judged: Judged, prices: Prices) -> float:
    """Return what the decisions cost: looking at every alert, and the frauds without one; major units of the base currency."""
    missed = float(judged.amount[judged.target & ~is_alert].sum())
    return prices.alert * float(is_alert.sum()) + prices.loss_share * missed


def _slope(probability: NDArray[np.float64], target: NDArray[np.bool_]) -> float | None:
    if not target.any() or target.all():
        return None
    p = np.clip(probability, _SMALLEST, 1 - _SMALLEST)
    return Platt.fit(np.log(p / (1 - p)), target, np.ones(len(p))).slope
