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
from models.standard import Standard

_STRENGTH: Final = 0.1


@dataclass(frozen=True)
class LogisticRegression:
    """A linear model; a missing value is worth its feature's mean.

    Attributes:
        standard: Its columns.
        coefficients: float32, of the columns.
        intercept: Log odds at the mean, sampling corrected.
    """

    standard: Standard
    coefficients: NDArray[np.float32]
    intercept: float

    @classmethod
    def fit(cls, sample: Sample, options: TrainingOptions) -> Self:
        """Fit on `sample`. A column that is missing throughout counts for nothing."""
        standard, columns = Standard.fit(sample.inputs)
        solver = Solver(C=_STRENGTH, max_iter=200, tol=1e-3, random_state=options.seed % 2**32)
        with threadpool_limits(1, user_api="blas"):  # as many threads as the machine has would give as many sums
            solver.fit(columns, sample.target, sample_weight=sample.weight)
        return cls(standard, solver.coef_[0].astype(np.float32), float(solver.intercept_[0] + np.log(sample.good_share)))

    def logit(self, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the log odds, (n,)."""
        columns = self.standard.columns(inputs)
        logit: NDArray[np.float64] = columns.astype(np.float64) @ self.coefficients.astype(np.float64) + self.intercept
        return logit

    def compile(self, graph: Graph, inputs: str) -> str:
        """Add the regression to `graph`."""
        products = graph.op("Mul", self.standard.compile(graph, inputs), graph.constant(self.coefficients[None]))
        return graph.op("Add", graph.row_sum(products, self.standard.n_columns), graph.constant([[self.intercept]]))
