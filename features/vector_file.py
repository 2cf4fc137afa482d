"""Feature vectors as a Parquet file, written in row groups: beside the vectors it takes the memory of a few of them."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from polars.io.plugins import register_io_source

from features.spec import FEATURES

_GROUP_ROWS: Final = 50_000
SCHEMA: Final[dict[str, pl.DataType]] = {
    "transaction_id": pl.String(),
    "event_time_ms": pl.Int64(),
    **{feature.name: pl.Float32() for feature in FEATURES},
}


def write_vectors(path: Path, transaction_id: pl.Series, event_time_ms: pl.Series, vectors: NDArray[np.float32]) -> None:
    """Write the columns of SCHEMA to `path`, replacing what was there. The file appears whole or not at all.

    Args:
        path: Parquet file.
        transaction_id: (n,).
        event_time_ms: (n,).
        vectors: float32 (n, N_FEATURES), NaN = missing.
    """

    def groups(_columns: object, _predicate: object, _n_rows: object, _batch_size: object) -> Iterator[pl.DataFrame]:
        for a in range(0, max(len(vectors), 1), _GROUP_ROWS):
            b = a + _GROUP_ROWS
            features = {feature.name: np.ascontiguousarray(vectors[a:b, i]) for i, feature in enumerate(FEATURES)}
            yield pl.DataFrame({"transaction_id": transaction_id[a:b], "event_time_ms": event_time_ms[a:b], **features}, schema=SCHEMA)

    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    try:
        register_io_source(groups, schema=SCHEMA).sink_parquet(
            unfinished, compression="zstd", compression_level=1, row_group_size=_GROUP_ROWS, maintain_order=True
        )
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
