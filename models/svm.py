"""Support vector machine with a Gaussian kernel, approximated by random features: its graph does not grow with the rows."""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.svm import LinearSVC
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

from models.graph import Graph
from models.options import TrainingOptions
from models.sample import Sample
from models.standard import Standard

_STRENGTH: Final = 0.1
#: Kernel exp(-gamma |x - y|^2) with gamma times the number of columns = this.
_GAMMA: Final = 0.25


@dataclass(frozen=True)
class Svm:
    """A linear SVM (squared hinge loss) on random Fourier features (Rahimi and Recht, 2007).

    Its score is the distance from the margin, not log odds; calibration makes odds of it.

    Attributes:
        standard: Its columns.
        directions: float32 (columns, components): where the waves run.
        phases: float32 (components,).
        coefficients: float32 (components,).
        intercept: Of the margin.
    """

    standard: Standard
    directions: NDArray[np.float32]
    phases: NDArray[np.float32]
    coefficients: NDArray[np.float32]
    intercept: float

    @classmethod
    def fit(cls, sample: Sample, options: TrainingOptions) -> Self:
        """Fit on `sample`."""
        standard, columns = Standard.fit(sample.inputs)
        generator = np.random.default_rng(options.seed)
        n_components = -(-options.sizes.svm_components // 16) * 16  # whole registers: see Graph.log
        spread = np.sqrt(2.0 * _GAMMA / standard.n_columns)
        directions = generator.normal(0.0, spread, (standard.n_columns, n_components)).astype(np.float32)
        phases = generator.uniform(0.0, 2.0 * np.pi, n_components).astype(np.float32)
        solver = LinearSVC(C=_STRENGTH, dual=False, tol=1e-3, random_state=options.seed % 2**32)
        with threadpool_limits(1, user_api="blas"):  # one thread: one order of sums
            waves = np.cos(columns @ directions + phases)
            solver.fit(waves, sample.target, sample_weight=sample.weight)
        return cls(standard, directions, phases, solver.coef_[0].astype(np.float32), float(solver.intercept_[0]))

    def logit(self, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the distance from the margin, (n,), in float64."""
        columns = self.standard.columns(inputs).astype(np.float64)
        waves = np.cos(columns @ self.directions.astype(np.float64) + self.phases)
        margin: NDArray[np.float64] = waves @ self.coefficients.astype(np.float64) + self.intercept
        return margin

    def compile(self, graph: Graph, inputs: str) -> str:
        """Add the machine to `graph`."""
        angles = graph.op("Add", graph.product(self.standard.compile(graph, inputs), self.directions), graph.constant(self.phases[None]))
        products = graph.op("Mul", graph.op("Cos", angles), graph.constant(self.coefficients[None]))
        total = graph.row_sum(products, len(self.coefficients))
        return graph.op("Add", total, graph.constant([[self.intercept]]))
