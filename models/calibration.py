"""From a logit to a probability that means what it says: Platt scaling in float64."""

from typing import Self

import msgspec
import numpy as np
from numpy.typing import NDArray

_STEPS = 50
_TOLERANCE = 1e-10
#: Added to the curvature of the slope, so that separable data still give a finite one.
_RIDGE = 1e-3


class Platt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """probability = sigmoid(slope * logit + intercept)."""

    slope: float
    intercept: float

    @classmethod
    def fit(cls, logit: NDArray[np.float64], target: NDArray[np.bool_], weight: NDArray[np.float64]) -> Self:
        """Fit slope and intercept by weighted maximum likelihood (Newton's method, a slight pull of the slope to 1).

        >>> x = np.linspace(-4, 4, 9); Platt.fit(x, x > 0.5, np.ones(9)).slope > 0
        True
        """
        centre, scale = float(np.mean(logit)), float(np.std(logit)) or 1.0
        x = (logit - centre) / scale
        a, b = 1.0, float(np.log(np.average(target, weights=weight).clip(1e-9, 1 - 1e-9)))
        for _ in range(_STEPS):
            p = sigmoid(a * x + b)
            error, curve = weight * (p - target), weight * p * (1.0 - p)
            gradient = np.array([(error * x).sum() + _RIDGE * (a - 1.0), error.sum()])
            cross = (curve * x).sum()
            hessian = np.array([[(curve * x * x).sum() + _RIDGE, cross], [cross, curve.sum() + 1e-12]])
            step = np.clip(np.linalg.solve(hessian, gradient), -2.0, 2.0)
            a, b = a - float(step[0]), b - float(step[1])
            if np.abs(step).max() < _TOLERANCE:
                break
        return cls(a / scale, b - a * centre / scale)

    def logit(self, logit: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the calibrated logit."""
        return self.slope * logit + self.intercept

    def probability(self, logit: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the calibrated probability, in [0, 1]."""
        return sigmoid(self.slope * logit + self.intercept)


def sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 / (1 + exp(-x)) without overflow."""
    result: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-np.clip(x, -700.0, 700.0)))
    return result


def log_loss(logit: NDArray[np.float64], target: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return each row's log loss, from logits, without overflow."""
    result: NDArray[np.float64] = np.logaddexp(0.0, np.where(target, -logit, logit))
    return result
