"""Calibrate what a tier answers on days that its members have not seen."""

import numpy as np
from numpy.typing import NDArray

from domain.errors import TrainingRefused
from models.calibration import Platt
from models.dataset import Dataset


def calibrated_tier(logit: NDArray[np.float64], rows: Dataset, name: str) -> Platt:
    """Calibrate; a degraded score that says nothing becomes the base rate, a full one that says nothing is refused.

    Args:
        logit: Uncalibrated, of the rows.
        rows: The calibration slice.
        name: Of the model; `degraded` may say nothing.

    Raises:
        TrainingRefused: The scores do not rise with fraud.
    """
    found = Platt.fit(logit, rows.target, rows.weight)
    if found.slope > 0:
        return found
    if name != "degraded":
        raise TrainingRefused(
            f"the {name} model's scores do not rise with fraud in the calibration days: it learnt nothing that holds; "
            "check the labels, or give more days"
        )
    rate = float(np.average(rows.target, weights=rows.weight))
    return Platt(1e-3, float(np.log(rate / (1 - rate))))
