"""What a category is worth: code -> log odds of fraud, learnt from earlier days only."""

from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from features.spec import CATEGORY_FEATURES, COLUMN

CATEGORY_COLUMNS: Final = tuple(COLUMN[name] for name in CATEGORY_FEATURES)
#: Transactions' worth of the base rate in every category.
PRIOR_WEIGHT: Final = 20.0


@dataclass(frozen=True, slots=True)
class CategoryTables:
    """One table per category feature.

    Attributes:
        tables: float32; place 0 is "missing", place code + 1 the code, the last place every code above.
            A category that was never seen is worth the base rate.
    """

    tables: tuple[NDArray[np.float32], ...]

    @classmethod
    def fit(cls, vectors: NDArray[np.float32], target: NDArray[np.bool_]) -> Self:
        """Learn the tables from all rows given: what serving uses from then on."""
        rate = base_rate(target)
        found = []
        for column in CATEGORY_COLUMNS:
            place = _places(vectors[:, column])
            size = int(place.max(initial=0)) + 2
            n = np.bincount(place, minlength=size)
            k = np.bincount(place, weights=target, minlength=size)
            found.append(_log_odds(k, n, rate).astype(np.float32))
        return cls(tuple(found))

    def encode(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return a copy of `vectors` with codes replaced by log odds; the same as the compiled graph's first nodes."""
        inputs = vectors.copy()
        for column, table in zip(CATEGORY_COLUMNS, self.tables, strict=True):
            inputs[:, column] = table[np.minimum(_places(vectors[:, column]), len(table) - 1)]
        return inputs


def encode_by_day(codes: NDArray[np.float32], target: NDArray[np.bool_], day: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return each code's worth by what the days before the row's own say: the training form.

    A row never sees its own day, so its target cannot leak into its input.

    Args:
        codes: Shape (n, number of category features).
        target: Fraud or not, (n,).
        day: Day number, (n,).
    """
    worth = np.empty_like(codes)
    rate = base_rate(target)
    days, day_place = np.unique(day, return_inverse=True)
    for column in range(codes.shape[1]):
        found, place = np.unique(_places(codes[:, column]), return_inverse=True)
        cell = day_place * len(found) + place
        n = np.bincount(cell, minlength=len(days) * len(found)).reshape(len(days), -1)
        k = np.bincount(cell, weights=target, minlength=len(days) * len(found)).reshape(len(days), -1)
        earlier = _log_odds(np.cumsum(k, axis=0) - k, np.cumsum(n, axis=0) - n, rate)
        worth[:, column] = earlier[day_place, place].astype(np.float32)
    return worth


def base_rate(target: NDArray[np.bool_]) -> float:
    """Return the share of frauds, kept off 0 and 1."""
    return (float(target.sum()) + 0.5) / (len(target) + 1.0)


def _places(codes: NDArray[np.float32]) -> NDArray[np.int64]:
    return np.nan_to_num(codes, nan=-1.0).astype(np.int64) + 1


def _log_odds(k: NDArray[Any], n: NDArray[Any], rate: float) -> NDArray[np.float64]:
    odds: NDArray[np.float64] = np.log((k + PRIOR_WEIGHT * rate) / (n - k + PRIOR_WEIGHT * (1.0 - rate)))
    return odds
