"""A small neural network: two hidden layers of rectified linear units on standardised inputs."""

import warnings
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

from models.graph import Graph
from models.options import TrainingOptions
from models.sample import Sample
from models.standard import Standard

_LAYERS: Final = (64, 32)
_DECAY: Final = 1e-3
_BATCH_ROWS: Final = 256


@dataclass(frozen=True)
class Mlp:
    """A multilayer perceptron trained by Adam for a fixed number of epochs.

    Attributes:
        standard: Its columns.
        weights, biases: float32, by layer.
        shift: Added to the log odds: the log of the share of good rows kept.
    """

    standard: Standard
    weights: tuple[NDArray[np.float32], ...]
    biases: tuple[NDArray[np.float32], ...]
    shift: float

    @classmethod
    def fit(cls, sample: Sample, options: TrainingOptions) -> Self:
        """Fit on `sample`."""
        standard, columns = Standard.fit(sample.inputs)
        model = MLPClassifier(
            _LAYERS,
            alpha=_DECAY,
            batch_size=min(_BATCH_ROWS, len(columns)),
            max_iter=options.sizes.mlp_epochs,
            n_iter_no_change=options.sizes.mlp_epochs,
            random_state=options.seed % 2**32,
        )
        with threadpool_limits(1, user_api="blas"), warnings.catch_warnings():  # one thread: one order of sums
            # The number of epochs is the choice; that the loss could fall further is known.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(columns, sample.target, sample_weight=sample.weight)
        layers = [tuple(one.astype(np.float32) for one in part) for part in (model.coefs_, model.intercepts_)]
        return cls(standard, layers[0], layers[1], float(np.log(sample.good_share)))

    def logit(self, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the log odds, (n,), in float64."""
        values = self.standard.columns(inputs).astype(np.float64)
        for place, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            values = values @ weight.astype(np.float64) + bias
            if place < len(self.weights) - 1:
                values = np.maximum(values, 0.0)
        logit: NDArray[np.float64] = values[:, 0] + self.shift
        return logit

    def compile(self, graph: Graph, inputs: str) -> str:
        """Add the network to `graph`; its last layer as a sum along each row."""
        values = self.standard.compile(graph, inputs)
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            values = graph.op("Relu", graph.op("Add", graph.product(values, weight), graph.constant(bias[None])))
        products = graph.op("Mul", values, graph.constant(self.weights[-1].T))
        total = graph.row_sum(products, len(self.weights[-1]))
        return graph.op("Add", total, graph.constant([[float(self.biases[-1][0]) + self.shift]]))
