"""Compiled: which bin each value of a chunk falls into. Calls no other compiled function, so that numba's own cache of this file holds."""

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from features.compiled import compiled
from monitoring.profile import N_BINS


class Cuts(NamedTuple):
    """A profile's edges as the kernel reads them: a value is in the bin of as many cuts as it is greater than."""

    features: NDArray[np.float32]
    """float32 (N_BINS - 1, n_features), C-contiguous: for float32 values the same as the edges, which are rounded down."""
    score: NDArray[np.float64]
    """float64 (N_BINS - 1,)."""

    @classmethod
    def of(cls, edges: NDArray[np.float64]) -> Self:
        """Return the cuts of `Profile.edges`."""
        with np.errstate(over="ignore"):
            near = edges[:-1].astype(np.float32)
            below = np.where(near > edges[:-1], np.nextafter(near, np.float32(-np.inf)), near)
        return cls(np.ascontiguousarray(below.T), np.ascontiguousarray(edges[-1]))


@compiled
def count_rows(
    vectors: NDArray[np.float32], probabilities: NDArray[np.float64], is_alert: NDArray[np.bool_], blocks: NDArray[np.int64],
    cuts: Cuts, places: NDArray[np.int32], bins: NDArray[np.int32], totals: NDArray[np.int32],
) -> int:  # fmt: skip
    """Add each row's bins to its block; return how many rows were added.

    A row is compared with one cut of all features after the other: so the comparisons are done eight at a time.

    Args:
        vectors: float32 (n, n_features), C-contiguous; NaN = missing.
        probabilities: float64 (n,).
        is_alert: (n,).
        blocks: int64 (n,): which block each row belongs to; below 0: it is left out.
        cuts: Of the profile.
        places: int32 (n_features,): to work in.
        bins: int32 (n_blocks, n_features + 1, N_BINS + 1), added to: the features, the score.
        totals: int32 (n_blocks, 2), added to: rows, alerts.
    """
    n_features, n_added = vectors.shape[1], 0
    for row in range(vectors.shape[0]):
        block = blocks[row]
        if block < 0:
            continue
        n_added += 1
        totals[block, 0] += 1
        totals[block, 1] += is_alert[row]
        values = vectors[row]
        for feature in range(n_features):
            places[feature] = np.int32(0) if values[feature] == values[feature] else np.int32(N_BINS)
        for i in range(N_BINS - 1):
            cut = cuts.features[i]
            for feature in range(n_features):
                places[feature] += np.int32(values[feature] > cut[feature])
        for feature in range(n_features):
            bins[block, feature, places[feature]] += 1
        score = probabilities[row]
        place = 0 if score == score else N_BINS  # noqa: PLR0124 - not NaN
        for i in range(N_BINS - 1):
            place += score > cuts.score[i]
        bins[block, n_features, place] += 1
    return n_added
