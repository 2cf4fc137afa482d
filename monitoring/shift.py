"""A window against its reference: the index, and how large chance alone would make it."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from monitoring.divergence import psi
from monitoring.profile import N_BINS, Profile

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Shift(NamedTuple):
    """One comparison of each feature; arrays of the shape of the counts without their last axis."""

    psi: Floats
    """NaN where a side has no row."""
    n_rows: Ints
    """Of the window: those that were compared."""
    noise: Floats
    """1/n + 1/m: psi / noise of independent rows is about chi-square; NaN where psi is."""
    df: Floats
    """Degrees of freedom, bins - 1; 0 where there is but one bin."""

    @property
    def ratio(self) -> Floats:
        """Return what is about chi-square with `df` degrees of freedom times the design effect."""
        return self.psi / self.noise


def is_bin(profile: Profile) -> NDArray[np.bool_]:
    """Return which bins of known values exist, (len(profile.names), N_BINS): fewer where values tie."""
    n_bins = np.isfinite(profile.edges).sum(axis=1) + 1
    found: NDArray[np.bool_] = np.arange(N_BINS) < n_bins[:, None]
    return found


def of_values(current: Ints, reference: Ints, profile: Profile, *, is_fixed: bool) -> Shift:
    """Return the shift of the known values.

    Args:
        current: int64 (..., len(profile.names), N_BINS + 1), the last bin the missing ones.
        reference: Likewise.
        profile: Says which bins exist.
        is_fixed: The reference is given, not a sample: its own chance is in the design effect.
    """
    return _shift(current[..., :N_BINS], reference[..., :N_BINS], is_bin(profile), is_fixed=is_fixed)


def of_missing(current: Ints, reference: Ints, *, is_fixed: bool) -> Shift:
    """Return the shift of the share of missing values, likewise."""
    return _shift(_known_and_missing(current), _known_and_missing(reference), np.ones(2, dtype=np.bool_), is_fixed=is_fixed)


def _known_and_missing(counts: Ints) -> Ints:
    return np.stack([counts[..., :N_BINS].sum(axis=-1), counts[..., N_BINS]], axis=-1)


def _shift(current: Ints, reference: Ints, bins: NDArray[np.bool_], *, is_fixed: bool) -> Shift:
    n, m = np.broadcast_arrays(current.sum(axis=-1), reference.sum(axis=-1))
    with np.errstate(divide="ignore"):
        noise = 1 / n + (0.0 if is_fixed else 1 / m)
    is_known = (n > 0) & (m > 0)
    found = np.where(is_known, psi(current, reference, bins), np.nan)
    df = np.broadcast_to(bins.sum(axis=-1) - 1.0, n.shape)
    return Shift(found, n, np.where(is_known, noise, np.nan), df)
