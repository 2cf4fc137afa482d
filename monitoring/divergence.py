"""How far two binned distributions lie apart. All take counts by bin, the last axis, and work on whole arrays at once."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: Added to each bin, so that an empty one keeps the index finite (Jeffreys' prior).
_PRIOR: Final = 0.5


def psi(current: Ints, reference: Ints, is_bin: Flags) -> Floats:
    """Return the population stability index: sum of (p - q) ln(p / q), with half a row added to each bin.

    Symmetric, at least 0, and 0 where both have the same shares. With B bins and no change, psi / (1/n + 1/m) of n and
    m independent rows is about chi-square with B - 1 degrees of freedom (Yurdakul and Naranjo, 2020).

    Args:
        current: int64 (..., bins).
        reference: int64 (..., bins).
        is_bin: bool (..., bins): which bins exist; the others must be empty.

    >>> bins = np.array([True, True])
    >>> round(float(psi(np.array([10, 30]), np.array([20, 20]), bins)), 3)
    0.26
    """
    p, q = _smoothed(current, is_bin), _smoothed(reference, is_bin)
    logs = np.log(np.where(is_bin, p, 1.0)) - np.log(np.where(is_bin, q, 1.0))
    found: Floats = ((p - q) * logs).sum(axis=-1)
    return found


def jensen_shannon(current: Ints, reference: Ints) -> Floats:
    """Return the Jensen-Shannon divergence in bits, in [0, 1]; NaN where a side has no row.

    >>> float(jensen_shannon(np.array([5, 0]), np.array([0, 9])))
    1.0
    """
    p, q = _shares(current), _shares(reference)
    middle = (p + q) / 2
    return (_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2


def kolmogorov_smirnov(current: Ints, reference: Ints) -> Floats:
    """Return the largest distance of the distribution functions at the bins' edges, in [0, 1]; NaN where a side has no row.

    It is at most the distance of the values themselves: what happens within a bin cannot be seen.
    """
    found: Floats = np.abs(_gap(current, reference)).max(axis=-1)
    return found


def wasserstein(current: Ints, reference: Ints) -> Floats:
    """Return how many bins a row must be moved on average to turn one into the other; NaN where a side has no row.

    Bins are of equal share in training, so that this is the distance in tenths of the training distribution.

    >>> float(wasserstein(np.array([10, 0, 0]), np.array([0, 0, 10])))
    2.0
    """
    found: Floats = np.abs(_gap(current, reference)).sum(axis=-1)
    return found


def _smoothed(counts: Ints, is_bin: Flags) -> Floats:
    padded = np.where(is_bin, counts + _PRIOR, 0.0)
    found: Floats = padded / np.maximum(padded.sum(axis=-1, keepdims=True), _PRIOR)
    return found


def _shares(counts: Ints) -> Floats:
    rows = counts.sum(axis=-1, keepdims=True, dtype=np.float64)
    shares: Floats = np.divide(counts, rows, out=np.full(counts.shape, np.nan), where=rows > 0)
    return shares


def _gap(current: Ints, reference: Ints) -> Floats:
    found: Floats = np.cumsum(_shares(current), axis=-1) - np.cumsum(_shares(reference), axis=-1)
    return found


def _relative_entropy(p: Floats, q: Floats) -> Floats:
    ratio = np.divide(p, q, out=np.ones(np.broadcast_shapes(p.shape, q.shape)), where=p > 0)
    found: Floats = (p * np.log2(ratio)).sum(axis=-1)
    return np.asarray(np.clip(found, 0.0, 1.0))
