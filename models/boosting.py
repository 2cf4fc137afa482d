"""Gradient boosted trees."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from models.graph import Graph
from models.options import TrainingOptions
from models.sample import Sample
from models.trees import Nodes, booster_leaves, from_booster
from models.xgboost_alone import xgboost

#: The library's newer defaults of `base_score` and `max_bin` lose much average precision on rare frauds.
_PARAMETERS = {
    "objective": "binary:logistic",
    "base_score": 0.5,
    "max_bin": 1024,
    "tree_method": "hist",
    # Members are fitted beside each other, each on one thread: threads that wait for one another at every node stand still
    # when the machine is shared, and sums of floats would depend on their number.
    "nthread": 1,
}


@dataclass(frozen=True)
class Boosting:
    """XGBoost."""

    is_average: ClassVar = False
    booster: Any
    shift: float
    """Added to its margin: the log of the share of good rows kept."""

    @classmethod
    def fit(cls, sample: Sample, options: TrainingOptions) -> Self:
        """Fit on `sample`."""
        matrix = xgboost.QuantileDMatrix(sample.inputs, sample.target, weight=sample.weight, max_bin=_PARAMETERS["max_bin"], nthread=1)
        shape = options.boosting
        parameters = _PARAMETERS | {
            "seed": options.seed,
            "max_depth": shape.depth,
            "eta": shape.learning_rate,
            "subsample": shape.row_share,
            "colsample_bytree": shape.feature_share,
            "min_child_weight": shape.min_child_weight,
            "lambda": shape.l2,
        }
        return cls(xgboost.train(parameters, matrix, options.sizes.boosting_rounds), float(np.log(sample.good_share)))

    def logit(self, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the log odds, (n,)."""
        margin = self.booster.inplace_predict(inputs, predict_type="margin")
        return np.asarray(margin, np.float64) + self.shift

    def compile(self, graph: Graph, inputs: str) -> str:
        """Add the booster to `graph`."""
        return self.compile_link(graph, graph.trees(self.nodes(), inputs))

    def nodes(self) -> Nodes:
        """Return its trees."""
        return from_booster(self.booster)

    def leaves(self, inputs: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return where each row ends in each tree."""
        return booster_leaves(self.booster, inputs)

    def link(self, total: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the log odds of a sum of leaves."""
        return total + self.shift

    def compile_link(self, graph: Graph, total: str) -> str:
        """Add `link` to `graph`."""
        return graph.op("Add", total, graph.constant([[self.shift]]))
