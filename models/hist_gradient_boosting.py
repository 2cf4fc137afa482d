"""scikit-learn's histogram gradient boosting: boosting without XGBoost."""

from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

from models.graph import Graph
from models.options import TrainingOptions
from models.sample import Sample
from models.trees import Nodes, round_down

_MAX_LEAVES: Final = 16
_MIN_LEAF: Final = 20


@dataclass(frozen=True)
class HistGradientBoosting:
    """Boosted trees grown leaf by leaf."""

    is_average: ClassVar = False
    model: HistGradientBoostingClassifier
    shift: float

    @classmethod
    def fit(cls, sample: Sample, options: TrainingOptions) -> Self:
        """Fit on `sample`. A row of weight w counts floor(w) times, and once more with the chance of the rest.

        Given weights the library sorts every column once for each of 254 bin edges: a minute instead of a second.
        """
        shape = options.boosting
        model = HistGradientBoostingClassifier(
            learning_rate=shape.learning_rate,
            max_iter=options.sizes.boosting_rounds,
            max_leaf_nodes=_MAX_LEAVES,
            min_samples_leaf=_MIN_LEAF,
            l2_regularization=shape.l2,
            max_features=shape.feature_share,
            early_stopping=False,
            random_state=options.seed % 2**32,
        )
        times = np.floor(sample.weight + np.random.default_rng(options.seed).random(len(sample.weight))).astype(np.int64)
        rows = np.repeat(np.arange(len(times)), times)
        inputs = sample.inputs[rows]
        # The library refuses a column that is missing throughout; a constant one is never split on either.
        inputs[:, np.isnan(inputs).all(axis=0)] = 0.0
        with threadpool_limits(1):  # as many threads as the machine has would give as many sums
            model.fit(inputs, sample.target[rows])
        return cls(model, float(np.log(sample.good_share)))

    def logit(self, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the log odds, (n,)."""
        with threadpool_limits(1):
            return self.link(np.asarray(self.model.decision_function(inputs), np.float64))

    def compile(self, graph: Graph, inputs: str) -> str:
        """Add the trees to `graph`."""
        return self.compile_link(graph, graph.trees(self.nodes(), inputs))

    def nodes(self) -> Nodes:
        """Return its trees; a threshold of infinity parts missing values from all others."""
        start = float(self.model._baseline_prediction[0, 0])  # noqa: SLF001 - there is no public way to it
        return Nodes.join([_nodes(tree) for tree in self._trees()], start)

    def leaves(self, inputs: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return where each row ends in each tree: the library does not tell, so its tables are walked."""
        return np.column_stack([_walk(tree, inputs) for tree in self._trees()])

    def link(self, total: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the log odds of a sum of leaves."""
        return total + self.shift

    def compile_link(self, graph: Graph, total: str) -> str:
        """Add `link` to `graph`."""
        return graph.op("Add", total, graph.constant([[self.shift]]))

    def _trees(self) -> list[NDArray[Any]]:
        return [one.nodes for (one,) in self.model._predictors]  # noqa: SLF001 - there is no public way to them


def _nodes(tree: NDArray[Any]) -> Nodes:
    is_leaf = tree["is_leaf"].astype(np.bool_)
    return Nodes(
        tree=np.zeros(len(tree), np.int64),
        node=np.arange(len(tree)),
        feature=np.where(is_leaf, -1, tree["feature_idx"]).astype(np.int64),
        threshold=np.where(is_leaf, np.float32(0), round_down(tree["num_threshold"])).astype(np.float32),
        left=tree["left"].astype(np.int64),
        right=tree["right"].astype(np.int64),
        missing_left=tree["missing_go_to_left"].astype(np.bool_),
        leaf=np.where(is_leaf, tree["value"], 0.0).astype(np.float32),
    )


def _walk(tree: NDArray[Any], inputs: NDArray[np.float32]) -> NDArray[np.int64]:
    place, row = np.zeros(len(inputs), np.int64), np.arange(len(inputs))
    while not (is_leaf := tree["is_leaf"][place].astype(np.bool_)).all():
        value = inputs[row, np.where(is_leaf, 0, tree["feature_idx"][place])].astype(np.float64)
        goes_left = np.where(np.isnan(value), tree["missing_go_to_left"][place], value <= tree["num_threshold"][place])
        place = np.where(is_leaf, place, np.where(goes_left, tree["left"][place], tree["right"][place])).astype(np.int64)
    return place
