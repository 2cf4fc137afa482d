"""How good probabilities are, as scikit-learn counts where it does, and as the documentation defines where not."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

#: A recall at a false-positive rate needs at least this many false positives allowed.
_FEWEST_FALSE_POSITIVES: Final = 20
_CALIBRATION_BINS: Final = 10


def measure(probability: NDArray[np.float64], target: NDArray[np.bool_]) -> dict[str, float | None]:
    """Return every metric that needs only probabilities and the truth; None where the rows do not allow one.

    Keys: average_precision, roc_auc, recall_at_fpr_0.001, recall_at_fpr_0.01, brier, calibration_error.
    """
    if not target.any() or target.all():
        return dict.fromkeys(("average_precision", "roc_auc", "recall_at_fpr_0.001", "recall_at_fpr_0.01", "brier", "calibration_error"))
    return {
        "average_precision": float(average_precision_score(target, probability)),
        "roc_auc": float(roc_auc_score(target, probability)),
        "recall_at_fpr_0.001": recall_at(probability, target, false_positive_rate=0.001),
        "recall_at_fpr_0.01": recall_at(probability, target, false_positive_rate=0.01),
        "brier": float(np.mean((probability - target) ** 2)),
        "calibration_error": calibration_error(probability, target),
    }


def recall_at(probability: NDArray[np.float64], target: NDArray[np.bool_], *, false_positive_rate: float) -> float | None:
    """Return the largest recall at a threshold with FP/N <= `false_positive_rate`, no interpolation.

    None if fewer than 20 false positives are allowed: the number would be luck.
    """
    if (~target).sum() * false_positive_rate < _FEWEST_FALSE_POSITIVES:
        return None
    rate, recall, _ = roc_curve(target, probability, drop_intermediate=False)
    return float(recall[rate <= false_positive_rate].max(initial=0.0))


def calibration_error(probability: NDArray[np.float64], target: NDArray[np.bool_]) -> float | None:
    """Return the sum over 10 bins of equal predicted mass of (n_b/n) |mean p - mean y|, over the base rate."""
    order = np.argsort(probability, kind="stable")
    p, y = probability[order], target[order].astype(np.float64)
    mass = np.cumsum(p)
    if not mass[-1] > 0 or not y.any():
        return None
    place = np.minimum((mass / mass[-1] * _CALIBRATION_BINS).astype(np.int64), _CALIBRATION_BINS - 1)
    gaps = np.abs(np.bincount(place, weights=p - y, minlength=_CALIBRATION_BINS))
    return float(gaps.sum() / len(p) / y.mean())


def precision_and_recall(is_alert: NDArray[np.bool_], target: NDArray[np.bool_]) -> tuple[float | None, float | None]:
    """Return precision and recall of alerts; None where there is no alert, or no fraud."""
    hits = float((is_alert & target).sum())
    n_alerts, n_frauds = int(is_alert.sum()), int(target.sum())
    return hits / n_alerts if n_alerts else None, hits / n_frauds if n_frauds else None
