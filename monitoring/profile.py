"""What the inputs and the score looked like in training: the reference that drift is measured against."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from monitoring.arrays import decode_arrays, encode_arrays

N_BINS: Final = 10
SCORE: Final = "score"
"""Name of the profile's last row: the calibrated probability."""
_MOST_ROWS: Final = 100_000
_USUAL: Final = (0.025, 0.975)


@dataclass(frozen=True, slots=True)
class Profile:
    """Quantile bins of every feature and the score.

    Attributes:
        names: Feature names in vector order, then SCORE.
        edges: float64 (len(names), N_BINS - 1), ascending, filled up with +inf where values tie: bin i holds
            edges[i - 1] < x <= edges[i].
        counts: int64 (len(names), N_BINS + 1): rows in each bin, then the missing ones.
        usual: float64 (len(names), 2): 19 of 20 known values lie from the first to the second, both included; NaN where none is
            known. None: the profile was made before it was noted.
    """

    names: tuple[str, ...]
    edges: NDArray[np.float64]
    counts: NDArray[np.int64]
    usual: NDArray[np.float64] | None = None

    @classmethod
    def of(cls, names: Sequence[str], vectors: NDArray[np.float32], score: NDArray[np.float64]) -> Self:
        """Return the profile of training rows and of scores of rows that no member was fitted on.

        At most 100,000 rows, evenly spaced, are looked at.
        """
        step = max(1, -(-len(vectors) // _MOST_ROWS))
        columns = [*np.asarray(vectors[::step], np.float64).T, score[:: max(1, -(-len(score) // _MOST_ROWS))]]
        edges = np.stack([_edges(column) for column in columns])
        counts = np.stack([count(column, row) for column, row in zip(columns, edges, strict=True)])
        return cls((*names, SCORE), edges, counts, np.stack([_usual(column) for column in columns]))

    def encode(self) -> bytes:
        """Return the profile as an npz; the same profile gives the same bytes."""
        arrays = {"names": np.array(self.names), "edges": self.edges, "counts": self.counts}
        return encode_arrays(arrays if self.usual is None else arrays | {"usual": self.usual})

    @classmethod
    def decode(cls, content: bytes) -> Self:
        """Return the profile that `encode` wrote."""
        arrays = decode_arrays(content)
        return cls(tuple(arrays["names"].tolist()), arrays["edges"], arrays["counts"], arrays.get("usual"))


def count(values: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return how many values fall into each bin, then how many are missing: int64 (N_BINS + 1,)."""
    known = values[~np.isnan(values)]
    found = np.bincount(np.searchsorted(edges, known, side="left"), minlength=N_BINS + 1)
    found[N_BINS] = len(values) - len(known)
    return found.astype(np.int64)


def _edges(values: NDArray[np.float64]) -> NDArray[np.float64]:
    edges = np.full(N_BINS - 1, np.inf)
    known = values[~np.isnan(values)]
    if len(known):
        cuts = np.unique(np.quantile(known, np.arange(1, N_BINS) / N_BINS, method="lower"))
        cuts = cuts[cuts < known.max()]
        edges[: len(cuts)] = cuts
    return edges


def _usual(values: NDArray[np.float64]) -> NDArray[np.float64]:
    known = values[~np.isnan(values)]
    return np.array(
        [np.quantile(known, _USUAL[0], method="lower"), np.quantile(known, _USUAL[1], method="higher")] if len(known) else [np.nan, np.nan]
    )
