"""What a fraud that is known already stands for in training: itself and those of its age that are not known yet."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from monitoring.label_delay import DelayCurve

#: Largest weight of a known fraud: a very young one may not stand for more than three.
LARGEST_WEIGHT: Final = 3.0


def delay_weights(curve: DelayCurve, age_ms: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return what a fraud known at each age stands for: 1/F, at most LARGEST_WEIGHT."""
    return 1.0 / np.maximum(curve.share(age_ms), 1.0 / LARGEST_WEIGHT)
