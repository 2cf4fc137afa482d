"""Isolation forest: how soon random splits part a transaction from the others, without any label."""

from dataclasses import dataclass
from typing import ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest as Library

from models.graph import Graph
from models.options import TrainingOptions
from models.sample import Sample
from models.trees import Nodes, from_sklearn

#: Rows that a tree sees; the paper's.
_TREE_ROWS: Final = 256


@dataclass(frozen=True)
class IsolationForest:
    """Liu, Ting and Zhou (2008). Its score says how unusual a row is, on a scale of its own; calibration makes odds of it.

    New is not the same as fraudulent: it earns a weight only where labels say so.
    """

    is_average: ClassVar = True
    model: Library

    @classmethod
    def fit(cls, sample: Sample, options: TrainingOptions) -> Self:
        """Fit on the good rows of `sample`."""
        seed = options.seed % 2**32
        model = Library(n_estimators=options.sizes.isolation_trees, max_samples=_TREE_ROWS, random_state=seed)
        good = sample.inputs[~sample.target]
        return cls(model.set_params(max_samples=min(_TREE_ROWS, len(good))).fit(good))

    def logit(self, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return minus the mean depth over its expectation, (n,): the base-2 logarithm of the library's score."""
        return np.log2(-np.asarray(self.model.score_samples(inputs), np.float64))

    def compile(self, graph: Graph, inputs: str) -> str:
        """Add the forest to `graph`."""
        return graph.trees(self.nodes(), inputs)

    def nodes(self) -> Nodes:
        """Return its trees; a leaf is worth the depth at which a row would be alone."""
        trees = [one.tree_ for one in self.model.estimators_]
        rows = np.array([self.model.max_samples_], np.float64)
        expected = len(trees) * float(expected_depth(rows)[0])
        # The library counts a root as depth 1.
        depths = [tree.compute_node_depths() - 1.0 + expected_depth(tree.n_node_samples) for tree in trees]
        return from_sklearn(trees, [-depth / expected for depth in depths])

    def leaves(self, inputs: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return where each row ends in each tree."""
        return np.column_stack([tree.apply(inputs) for tree in self.model.estimators_]).astype(np.int64)

    def link(self, total: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sum as it is."""
        return total

    def compile_link(self, graph: Graph, total: str) -> str:  # noqa: ARG002 - the signature of all tree members
        """Add nothing."""
        return total


def expected_depth(n: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean depth of an unsuccessful search in a random tree of `n` rows (equation 1 of the paper).

    >>> expected_depth(np.array([1, 2])).tolist()
    [0.0, 1.0]
    """
    n = np.asarray(n, np.float64)
    many = np.maximum(n, 3.0)
    found = 2.0 * (np.log(many - 1.0) + np.euler_gamma) - 2.0 * (many - 1.0) / many
    return np.where(n > 2, found, np.where(n == 2, 1.0, 0.0))
