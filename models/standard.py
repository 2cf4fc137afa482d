"""Standardised inputs for members that are not trees: every feature raw and as signed logarithm, bounded, never missing."""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from models.graph import Graph

#: Standardised inputs are bounded, so that one absurd amount does not decide alone.
LARGEST: Final = 10.0


@dataclass(frozen=True)
class Standard:
    """How inputs become columns of mean 0 and variance 1; a missing value is worth its feature's mean.

    Attributes:
        mean, scale: float32, of the 2 x N_FEATURES columns [x, sign(x) log(1 + |x|)]. A column that was missing
            throughout, or constant, has scale 0: it counts for nothing.
    """

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]

    @classmethod
    def fit(cls, inputs: NDArray[np.float32]) -> tuple[Self, NDArray[np.float32]]:
        """Return it and the standardised `inputs`, float32 (n, 2 x N_FEATURES): one array of that size, no second."""
        columns = _columns(inputs)
        n_known = np.maximum((~np.isnan(columns)).sum(axis=0), 1)
        mean = (np.nansum(columns, axis=0, dtype=np.float64) / n_known).astype(np.float32)
        columns -= mean
        deviation = np.sqrt(np.nansum(np.square(columns, dtype=np.float64), axis=0) / n_known)
        scale = np.where(deviation > 0, 1.0 / np.maximum(deviation, 1e-30), 0.0).astype(np.float32)
        columns *= scale
        np.clip(np.nan_to_num(columns, copy=False, nan=0.0), -LARGEST, LARGEST, out=columns)
        return cls(mean, scale), columns

    @property
    def n_columns(self) -> int:
        """Number of columns."""
        return len(self.mean)

    def columns(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the standardised columns of `inputs`."""
        with np.errstate(over="ignore", invalid="ignore"):
            standard = (_columns(inputs) - self.mean) * self.scale
        found: NDArray[np.float32] = np.clip(np.nan_to_num(standard, nan=0.0), -LARGEST, LARGEST)
        return found

    def compile(self, graph: Graph, inputs: str) -> str:
        """Add the columns to `graph`, float32 (n, n_columns)."""
        size = graph.op("Add", graph.op("Abs", inputs), graph.constant(1.0))
        logs = graph.op("Mul", graph.op("Sign", inputs), graph.log(size, self.n_columns // 2))
        columns = graph.op("Concat", inputs, logs, axis=1)
        standard = graph.op("Mul", graph.op("Sub", columns, graph.constant(self.mean[None])), graph.constant(self.scale[None]))
        bounded = graph.op("Clip", standard, graph.constant(-LARGEST), graph.constant(LARGEST))
        return graph.op("Where", graph.op("IsNaN", bounded), graph.constant(0.0), bounded)


def _columns(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.concatenate([inputs, np.sign(inputs) * np.log(np.abs(inputs) + np.float32(1))], axis=1)
