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

    def of(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the contribution of each feature to each row, float32 (n, N_FEATURES), without the bias."""
        matrix = xgboost.DMatrix(self._tables.encode(vectors), nthread=1)
        found: NDArray[np.float32] = self._booster.predict(matrix, pred_contribs=True)[:, :-1]
        return found
