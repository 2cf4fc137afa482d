"""How long it takes until a fraud is known: the label-delay curve, corrected for what is not known yet."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

#: Largest weight of a known fraud: a very young one may not stand for more than three.
LARGEST_WEIGHT = 3.0
#: Frauds that must still be at risk at a delay; beyond it the product limit is noise.
SMALLEST_RISK_SET = 10


@dataclass(frozen=True, slots=True)
class LabelDelay:
    """F(age): share of the frauds that will ever be known which are known at an age.

    Attributes:
        delays_ms: Ascending delays at which the curve steps.
        shares: Its value from that delay on, in (0, 1]; the last is 1.
    """

    delays_ms: NDArray[np.int64]
    shares: NDArray[np.float64]

    @classmethod
    def fit(cls, event_time_ms: NDArray[np.int64], label_time_ms: NDArray[np.int64], *, to_ms: int) -> Self:
        """Estimate the curve by the reverse hazard (Lagakos et al. 1988) from the frauds known before `to_ms`.

        A fraud of age u is seen only if its delay is below u, so young frauds overstate quick labels. At each delay d the
        reverse hazard compares those known at exactly d with all that were known by d *and are old enough to have shown it*.

        Args:
            event_time_ms: When the frauds happened.
            label_time_ms: When they became known; those at or after `to_ms` are ignored.
            to_ms: The moment of training.

        >>> day = 86_400_000
        >>> LabelDelay.fit(np.zeros(40, np.int64), np.full(40, 2 * day), to_ms=10 * day).share(np.array([day, 3 * day])).tolist()
        [0.0, 1.0]
        """
        seen = label_time_ms < to_ms
        delay = np.sort(np.maximum(label_time_ms - event_time_ms, 0)[seen])
        limit = np.sort((to_ms - event_time_ms)[seen])
        steps, count = np.unique(delay, return_counts=True)
        at_risk = np.searchsorted(delay, steps, side="right") - np.searchsorted(limit, steps, side="left")
        kept = at_risk >= SMALLEST_RISK_SET
        steps, hazard = steps[kept], np.minimum(count[kept] / np.maximum(at_risk[kept], 1), 1.0)
        if not len(steps):
            return cls(np.zeros(1, np.int64), np.ones(1))
        factors = np.append(1.0 - hazard[1:], 1.0)
        return cls(steps.astype(np.int64), np.cumprod(factors[::-1])[::-1])

    def share(self, age_ms: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return F at each age; 0 before the shortest delay seen."""
        place = np.searchsorted(self.delays_ms, age_ms, side="right")
        return np.concatenate([[0.0], self.shares])[place]

    def weights(self, age_ms: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return what a fraud known at each age stands for: 1/F, at most LARGEST_WEIGHT."""
        return 1.0 / np.maximum(self.share(age_ms), 1.0 / LARGEST_WEIGHT)
