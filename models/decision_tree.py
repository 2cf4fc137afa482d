"""One decision tree: the member that a person can read from root to leaf."""

from dataclasses import dataclass
from typing import ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.tree import DecisionTreeClassifier

from models.forests import compile_share_logit, share_logit
from models.graph import Graph
from models.options import TrainingOptions
from models.sample import Sample
from models.trees import Nodes, from_classifiers

_MAX_DEPTH: Final = 6
_MIN_LEAF: Final = 20


@dataclass(frozen=True)
class DecisionTree:
    """A classification tree (Breiman and others, 1984) of at most 64 leaves, none of fewer than 20 rows."""

    is_average: ClassVar = True
    tree: DecisionTreeClassifier
    shift: float

    @classmethod
    def fit(cls, sample: Sample, options: TrainingOptions) -> Self:
        """Fit on `sample`."""
        tree = DecisionTreeClassifier(max_depth=_MAX_DEPTH, min_samples_leaf=_MIN_LEAF, random_state=options.seed % 2**32)
        return cls(tree.fit(sample.inputs, sample.target, sample_weight=sample.weight), float(np.log(sample.good_share)))

    def logit(self, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the log odds, (n,)."""
        return self.link(self.tree.predict_proba(inputs)[:, 1])

    def compile(self, graph: Graph, inputs: str) -> str:
        """Add the tree to `graph`."""
        return self.compile_link(graph, graph.trees(self.nodes(), inputs))

    def nodes(self) -> Nodes:
        """Return the tree."""
        return from_classifiers([self.tree])

    def leaves(self, inputs: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return where each row ends, (n, 1)."""
        return np.asarray(self.tree.apply(inputs), np.int64)[:, None]

    def link(self, total: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the log odds of a share of frauds."""
        return share_logit(total) + self.shift

    def compile_link(self, graph: Graph, total: str) -> str:
        """Add `link` to `graph`."""
        return compile_share_logit(graph, total, self.shift)
