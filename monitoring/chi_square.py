"""The chi-square distribution. SciPy is loaded at the first call, so that a worker never loads it."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def survival(x: Floats, df: Floats) -> Floats:
    """Return the probability that a chi-square variable with `df` degrees of freedom exceeds `x`; NaN where x is.

    >>> round(float(survival(np.array(3.841), np.array(1.0))), 3)
    0.05
    """
    from scipy.special import gammaincc

    return np.asarray(gammaincc(df / 2, x / 2), dtype=np.float64)


def upper(p: float | Floats, df: Floats) -> Floats:
    """Return the value that is exceeded with probability `p`.

    >>> round(float(upper(0.5, np.array(9.0))), 2)
    8.34
    """
    from scipy.special import gammainccinv

    return np.asarray(2 * gammainccinv(df / 2, p), dtype=np.float64)
