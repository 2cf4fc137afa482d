"""Logistic regression on standardised raw and signed-log inputs."""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression as Solver
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

from models.graph import Graph
from models.options import TrainingOptions
from models.sample import Sample

#: Standardised inputs are bounded, so that one absurd amount does not decide alone.
_LARGEST: Final = 10.0
_STRENGTH: Final = 0.1


@dataclass(frozen=True)
class LogisticRegression:
    """A linear model; a missing value is worth its feature's mean.

    Attributes:
        mean, scale: float32, of the 2 x N_FEATURES columns [x, sign(x) log(1 + |x|)].
        coefficients: float32, of the standardised columns.
        intercept: Log odds at the mean, sampling corrected.
    """

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    coefficients: NDArray[np.float32]
    intercept: float

    @classmethod
    def fit(cls, sample: Sample, options: TrainingOptions) -> Self:
        """Fit on `sample`. A column that is missing throughout counts for nothing."""
        columns = _columns(sample.inputs)
        n_known = np.maximum((~np.isnan(columns)).sum(axis=0), 1)
        mean = (np.nansum(columns, axis=0, dtype=np.float64) / n_known).astype(np.float32)
        columns -= mean
        deviation = np.sqrt(np.nansum(np.square(columns, dtype=np.float64), axis=0) / n_known)
        scale = np.where(deviation > 0, 1.0 / np.maximum(deviation, 1e-30), 0.0).astype(np.float32)
        columns *= scale
        np.clip(np.nan_to_num(columns, copy=False, nan=0.0), -_LARGEST, _LARGEST, out=columns)
        solver = Solver(C=_STRENGTH, max_iter=200, tol=1e-3, random_state=options.seed % 2**32)
        with threadpool_limits(1, user_api="blas"):  # as many threads as the machine has would give as many sums
            solver.fit(columns, sample.target, sample_weight=sample.weight)
        return cls(mean, scale, solver.coef_[0].astype(np.float32), float(solver.intercept_[0] + np.log(sample.good_share)))

    def logit(self, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the log odds, (n,)."""
        with np.errstate(over="ignore"):
            standard = (_columns(inputs) - self.mean) * self.scale
        standard = np.clip(np.nan_to_num(standard, nan=0.0), -_LARGEST, _LARGEST)
        logit: NDArray[np.float64] = standard.astype(np.float64) @ self.coefficients.astype(np.float64) + self.intercept
        return logit

    def compile(self, graph: Graph, inputs: str) -> str:
        """Add the regression to `graph`, as sums along each row: their rounding does not depend on the batch."""
        size = graph.op("Add", graph.op("Abs", inputs), graph.constant(1.0))
        logs = graph.op("Mul", graph.op("Sign", inputs), graph.log(size, len(self.mean) // 2))
        columns = graph.op("Concat", inputs, logs, axis=1)
        standard = graph.op("Mul", graph.op("Sub", columns, graph.constant(self.mean[None])), graph.constant(self.scale[None]))
        bounded = graph.op("Clip", standard, graph.constant(-_LARGEST), graph.constant(_LARGEST))
        known = graph.op("Where", graph.op("IsNaN", bounded), graph.constant(0.0), bounded)
        products = graph.op("Mul", known, graph.constant(self.coefficients[None]))
        total = graph.op("ReduceSum", products, graph.constant([1], np.int64), keepdims=1)
        return graph.op("Add", total, graph.constant([[self.intercept]]))


def _columns(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.concatenate([inputs, np.sign(inputs) * np.log(np.abs(inputs) + np.float32(1))], axis=1)
