"""What precision and recall are expected from calibrated scores alone, before any label is there.

The idea of confidence-based performance estimation (CBPE): if a probability means what it says, the alerts hold sum(p)
frauds. It holds **if the concept is unchanged**: a new kind of fraud to which the model gives low scores changes nothing here.
"""

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray


class LabelFree(NamedTuple):
    """Expected values, if the concept is unchanged."""

    frauds: float
    """Expected number of frauds."""
    frauds_alerted: float
    """Of them among the alerts."""
    n_alerts: int

    @classmethod
    def of(cls, probabilities: NDArray[np.float64], is_alert: NDArray[np.bool_]) -> Self:
        """Return what calibrated probabilities, float64 (n,), in [0, 1], promise.

        >>> expected = LabelFree.of(np.array([0.5, 0.25, 0.25]), np.array([True, False, False]))
        >>> expected.precision, expected.recall
        (0.5, 0.5)
        """
        return cls(float(probabilities.sum()), float(probabilities[is_alert].sum()), int(is_alert.sum()))

    @property
    def precision(self) -> float | None:
        """Expected share of frauds among the alerts; None without an alert."""
        return self.frauds_alerted / self.n_alerts if self.n_alerts else None

    @property
    def recall(self) -> float | None:
        """Expected share of the frauds that are alerts; None where no fraud is expected."""
        return self.frauds_alerted / self.frauds if self.frauds > 0.0 else None
