"""Many tests at once: which of them may be believed (Benjamini and Yekutieli, 2001)."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def discoveries(p_values: Floats, q: float) -> NDArray[np.bool_]:
    """Tell which hypotheses are rejected so that at most the share `q` of the rejections is wrong on average.

    Holds whatever the dependence between the tests (features of one entity move together). NaN = not tested: neither
    rejected nor counted.

    Args:
        p_values: float64 (n,), in [0, 1].
        q: Bound of the false discovery rate, in (0, 1).

    >>> discoveries(np.array([1e-9, 0.4, np.nan, 2e-4]), 0.001).tolist()
    [True, False, False, True]
    """
    found = np.zeros(len(p_values), dtype=np.bool_)
    tested = np.flatnonzero(~np.isnan(p_values))
    if not len(tested):
        return found
    order = tested[np.argsort(p_values[tested], kind="stable")]
    passes = p_values[order] <= np.arange(1, len(order) + 1) * single_limit(len(order), q)
    if passes.any():
        found[order[: np.flatnonzero(passes)[-1] + 1]] = True
    return found


def single_limit(n_tests: int, q: float) -> float:
    """Return the p-value at which one hypothesis is rejected though no other is.

    >>> single_limit(1, 0.001)
    0.001
    """
    return q / (n_tests * float((1 / np.arange(1, n_tests + 1)).sum()))
