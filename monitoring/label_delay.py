"""How long it takes until a fraud is known: the label-delay curve, corrected for what is not known yet."""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

#: Frauds that must still be at risk at a delay; beyond it the product limit is noise.
SMALLEST_RISK_SET: Final = 10


@dataclass(frozen=True, slots=True)
class DelayCurve:
    """F(age): share of the frauds that will ever be known which are known at an age.

    It knows nothing of delays longer than the oldest fraud's age: a history must be longer than the longest delay.

    Attributes:
        delays_ms: int64, ascending delays at which the curve steps.
        shares: float64, its value from that delay on, in (0, 1]; the last is 1.
        log_variances: float64, variance of log F from that delay on (Greenwood's formula for the reverse hazard); the last is 0.
        n_known: Frauds that it was estimated from.
    """

    delays_ms: NDArray[np.int64]
    shares: NDArray[np.float64]
    log_variances: NDArray[np.float64]
    n_known: int

    @classmethod
    def fit(cls, event_time_ms: NDArray[np.int64], label_time_ms: NDArray[np.int64], *, to_ms: int) -> Self:
        """Estimate the curve by the reverse hazard (Lagakos et al. 1988) from the frauds known before `to_ms`.

        A fraud of age u is seen only if its delay is below u, so young frauds overstate quick labels. At each delay d the
        reverse hazard compares those known at exactly d with all that were known by d *and are old enough to have shown it*.

        Args:
            event_time_ms: int64 (n,): when the frauds happened.
            label_time_ms: int64 (n,): when they became known; those at or after `to_ms` are ignored.
            to_ms: The moment of the estimate.

        >>> day = 86_400_000
        >>> DelayCurve.fit(np.zeros(40, np.int64), np.full(40, 2 * day), to_ms=10 * day).share(np.array([day, 3 * day])).tolist()
        [0.0, 1.0]
        """
        seen = label_time_ms < to_ms
        delay = np.sort(np.maximum(label_time_ms - event_time_ms, 0)[seen])
        limit = np.sort((to_ms - event_time_ms)[seen])
        steps, count = np.unique(delay, return_counts=True)
        at_risk = np.searchsorted(delay, steps, side="right") - np.searchsorted(limit, steps, side="left")
        kept = at_risk >= SMALLEST_RISK_SET
        steps, count, at_risk = steps[kept], count[kept], np.maximum(at_risk[kept], 1)
        if not len(steps):
            return cls(np.zeros(1, np.int64), np.ones(1), np.zeros(1), len(delay))
        hazard = np.minimum(count / at_risk, 1.0)
        spread = count / (at_risk * np.maximum(at_risk - count, 1.0))
        return cls(steps.astype(np.int64), _from_the_right(np.multiply, 1.0 - hazard), _from_the_right(np.add, spread), len(delay))

    def share(self, age_ms: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return F at each age; 0 before the shortest delay seen."""
        return np.concatenate([[0.0], self.shares])[self._place(age_ms)]

    def log_variance(self, age_ms: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the variance of log F at each age; before the shortest delay seen, that of the shortest."""
        return np.concatenate([self.log_variances[:1], self.log_variances])[self._place(age_ms)]

    def _place(self, age_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.searchsorted(self.delays_ms, age_ms, side="right")


def _from_the_right(accumulate: np.ufunc, terms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the product, or sum, of all terms *after* each place."""
    later = np.append(terms[1:], accumulate.identity)
    result: NDArray[np.float64] = accumulate.accumulate(later[::-1])[::-1]
    return result
