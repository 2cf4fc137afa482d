"""What serving needs beside the graphs: category worths, and golden rows that prove a loaded model."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from domain.decision import Tier
from models.categories import CATEGORY_COLUMNS, CategoryTables
from monitoring.arrays import decode_arrays, encode_arrays


@dataclass(frozen=True, slots=True)
class Serving:
    """Category worths of both models, and rows with the probabilities that each tier gave them in training."""

    tables: CategoryTables
    small_tables: CategoryTables
    vectors: NDArray[np.float32]
    probabilities: Mapping[Tier, NDArray[np.float64]]

    def encode(self) -> bytes:
        """Return it as an npz; the same content gives the same bytes."""
        arrays = {f"full_{place}": table for place, table in enumerate(self.tables.tables)}
        arrays |= {f"small_{place}": table for place, table in enumerate(self.small_tables.tables)}
        golden = {f"golden_{tier}": values for tier, values in self.probabilities.items()}
        return encode_arrays(arrays | golden | {"vectors": self.vectors})


def decode_serving(content: bytes) -> Serving:
    """Return what `Serving.encode` wrote."""
    arrays = decode_arrays(content)

    def tables(prefix: str) -> CategoryTables:
        return CategoryTables(tuple(arrays[f"{prefix}_{place}"] for place in range(len(CATEGORY_COLUMNS))))

    probabilities = {Tier(name.removeprefix("golden_")): values for name, values in arrays.items() if name.startswith("golden_")}
    return Serving(tables("full"), tables("small"), arrays["vectors"], probabilities)
