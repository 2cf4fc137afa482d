"""Counters of a span of event time: what drift is measured on, and how they are written down."""

import zlib
from struct import Struct, error
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 3_600_000

_VERSION: Final = 1
_HEAD: Final = Struct("<BBHHqq")
"""Version, bytes of a count, shape of the bins, rows, alerts; then the bins, deflated."""
_TYPES: Final = {size: np.dtype(f"<u{size}") for size in (1, 2, 4, 8)}


class Counts(NamedTuple):
    """Scored transactions of one minute or hour of event time, by the bins of the model's profile."""

    n_rows: int
    n_alerts: int
    bins: NDArray[np.int64]
    """int64 (len(profile.names), N_BINS + 1): rows in each bin, then the missing ones; one row for each feature and the score."""

    def __add__(self, other: "Counts") -> "Counts":  # type: ignore[override] # sums, where a tuple would be concatenated
        return Counts(self.n_rows + other.n_rows, self.n_alerts + other.n_alerts, self.bins + other.bins)


def pack(counts: Counts) -> bytes:
    """Return counts as bytes that `unpack` reads; equal counts give equal bytes.

    The bins are written with as few bytes each as the largest needs, and deflated: 0.5 KB for a minute of 16 rows of 100
    features, 1 KB for 300, 2 KB for an hour of 60,000.
    """
    bins = counts.bins
    largest = int(bins.max(initial=0))
    size = next(size for size in _TYPES if largest < 1 << 8 * size)
    head = _HEAD.pack(_VERSION, size, *bins.shape, counts.n_rows, counts.n_alerts)
    return head + zlib.compress(bins.astype(_TYPES[size]).tobytes(), 1)


def n_rows_of(content: bytes) -> int:
    """Return the rows of what `pack` wrote, without unpacking it; 0 if it is not whole."""
    return int(_HEAD.unpack_from(content)[4]) if len(content) >= _HEAD.size else 0


def unpack(content: bytes) -> Counts:
    """Return the counts that `pack` wrote.

    Raises:
        ValueError: It is not whole, or of another version.
    """
    try:
        version, size, n_names, n_bins, n_rows, n_alerts = _HEAD.unpack_from(content)
        if version != _VERSION:
            raise ValueError(f"packed counters of version {version}; this process reads version {_VERSION}")
        bins = np.frombuffer(zlib.decompress(content[_HEAD.size :]), _TYPES[size]).reshape(n_names, n_bins)
    except (error, zlib.error, KeyError) as problem:
        raise ValueError(f"these are not packed counters: {problem!r}") from problem
    return Counts(n_rows, n_alerts, bins.astype(np.int64))
