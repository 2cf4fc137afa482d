"""The small model: one short booster that has learnt the ensemble's scores. It sheds load and gives quick reasons."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from models.categories import CategoryTables
from models.graph import Graph
from models.options import TrainingOptions
from models.trees import from_booster
from models.xgboost_alone import xgboost

_PARAMETERS = {
    "objective": "binary:logistic",
    "max_bin": 512,
    "max_depth": 5,
    "eta": 0.15,
    "subsample": 0.8,
    "colsample_bytree": 0.5,
    "min_child_weight": 0.5,
    "lambda": 1,
    "tree_method": "hist",
    "nthread": 1,
}


@dataclass(frozen=True)
class SmallModel:
    """A distilled booster with the category worths it was fitted with."""

    tables: CategoryTables
    booster: Any

    @classmethod
    def fit(cls, inputs: NDArray[np.float32], probability: NDArray[np.float64], tables: CategoryTables, options: TrainingOptions) -> Self:
        """Learn the ensemble's `probability` of encoded rows; the rows must lie outside the calibration slice."""
        parameters = _PARAMETERS | {
            "base_score": float(np.clip(probability.mean(), 1e-6, 0.5)),
            "seed": options.seed,
        }
        matrix = xgboost.QuantileDMatrix(inputs, probability, max_bin=_PARAMETERS["max_bin"], nthread=1)
        return cls(tables, xgboost.train(parameters, matrix, options.sizes.small_rounds))

    def logit(self, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the uncalibrated logit of raw vectors, (n,), computed by the library."""
        return np.asarray(self.booster.inplace_predict(self.tables.encode(vectors), predict_type="margin"), np.float64)

    def compile(self) -> bytes:
        """Return the model as a graph from raw vectors to `logit`, float32 (n, 1)."""
        graph = Graph()
        return graph.finish(logit=graph.trees(from_booster(self.booster), graph.categories(self.tables)))
