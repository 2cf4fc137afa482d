"""The chi-square distribution. SciPy is loaded at the first call, so that importing this costs nothing."""

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

    # The inverse is slow, and many features have the same few degrees of freedom.
    pairs = np.stack(np.broadcast_arrays(np.asarray(p, np.float64), df), axis=-1)
    different, place = np.unique(pairs.reshape(-1, 2), axis=0, return_inverse=True)
    values = 2 * gammainccinv(different[:, 1] / 2, different[:, 0])
    return np.asarray(values[place.reshape(-1)].reshape(pairs.shape[:-1]), dtype=np.float64)
