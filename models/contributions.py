"""What each feature adds to a booster's log odds: exact tree SHAP values."""

import numpy as np
from numpy.typing import NDArray

from models.categories import CategoryTables
from models.xgboost_alone import xgboost


class Contributions:
    """A booster that explains itself, on one thread (two are slower for a few rows)."""

    def __init__(self, booster: bytes, tables: CategoryTables) -> None:
        self._booster = xgboost.Booster({"nthread": 1}, model_file=bytearray(booster))
        self._tables = tables

    def gap(self, vectors: NDArray[np.float32]) -> float:
        """Return by how much contributions and bias together miss the booster's log odds, at most, over the rows (n, N_FEATURES)."""
        matrix = xgboost.DMatrix(self._tables.encode(vectors), nthread=1)
        parts = self._booster.predict(matrix, pred_contribs=True).astype(np.float64).sum(axis=1)
        return float(np.max(np.abs(parts - self._booster.predict(matrix, output_margin=True)), initial=0.0))

    def of(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the contribution of each feature to each row, float32 (n, N_FEATURES), without the bias."""
        matrix = xgboost.DMatrix(self._tables.encode(vectors), nthread=1)
        found: NDArray[np.float32] = self._booster.predict(matrix, pred_contribs=True)[:, :-1]
        return found
