"""Archived feature vectors as an Evidently report: drift by that library's own tests, beside our own. Evidently is an extra.

It reads vectors and scores, never the live stream: a report of all features takes minutes and 17 MB.
"""

from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from domain.errors import ConfigError, HistoryError
from features.archive_reader import read_archive
from features.archive_schema import FEATURE_ROWS, SCORES
from features.spec import CATEGORY_FEATURES, FEATURES

#: Rows of each side at most, evenly spaced: its tests look at each row, and see no more in a hundred thousand.
MOST_ROWS: Final = 20_000
PROBABILITY: Final = "probability"


def archived_vectors(archive: Path, spec: str, from_ms: int, to_ms: int) -> pl.DataFrame:
    """Return the logged vectors with event times in `[from_ms, to_ms)`, by time: a column for each feature, and the probability.

    At most MOST_ROWS rows, evenly spaced. NaN is missing, and null here. Each transaction is there once.

    Args:
        archive: Folder of `weir archive`.
        spec: Fingerprint of the features; vectors of others are left out.
        from_ms: First event time.
        to_ms: End of them.

    Raises:
        HistoryError: The archive cannot be read, or holds no such vector.
    """
    columns = ["transaction_id", "kind", "time_ms", "spec", "vector"]
    is_wanted = (pl.col("kind") == "transaction") & (pl.col("spec") == spec) & pl.col("vector").is_not_null()
    rows = (
        read_archive(archive, FEATURE_ROWS, columns)
        .filter(is_wanted & pl.col("time_ms").is_between(from_ms, to_ms, closed="left"))
        .unique("transaction_id", keep="first", maintain_order=True)
        .sort("time_ms", maintain_order=True)
    )
    if rows.is_empty():
        raise HistoryError(f"{archive} holds no vector of feature spec {spec} with an event time in this span; choose another one")
    rows = rows.gather_every(-(-rows.height // MOST_ROWS))
    scores = read_archive(archive, SCORES, ["transaction_id", PROBABILITY]).unique("transaction_id", keep="first", maintain_order=True)
    probability = rows.select("transaction_id").join(scores, on="transaction_id", how="left", maintain_order="left")[PROBABILITY]
    values = np.stack([np.frombuffer(vector, np.dtype("<f4")) for vector in rows["vector"]])
    frame = pl.DataFrame({feature.name: values[:, place] for place, feature in enumerate(FEATURES)}).fill_nan(None)
    codes = [pl.col(name).cast(pl.Int32).cast(pl.String) for name in CATEGORY_FEATURES]
    return frame.with_columns(*codes, probability)


def write_evidently(reference: pl.DataFrame, current: pl.DataFrame, path: Path) -> None:
    """Write Evidently's drift report of `current` against `reference`, an HTML page; columns that are always missing are left out.

    Raises:
        ConfigError: Evidently is not installed, or the file cannot be written.
    """
    try:  # by name: the extra is not there where types are checked
        evidently: Any = import_module("evidently")
        presets: Any = import_module("evidently.presets")
    except ImportError as error:
        raise ConfigError(
            f"Evidently cannot be imported ({error}); install it: pip install --require-hashes --no-deps -r requirements/evidently.txt"
        ) from error
    known = [
        name
        for name in reference.columns
        if reference[name].null_count() < reference.height and current[name].null_count() < current.height
    ]
    codes = [name for name in known if name in CATEGORY_FEATURES]
    definition = evidently.DataDefinition(numerical_columns=[name for name in known if name not in codes], categorical_columns=codes)
    sides: list[Any] = [
        evidently.Dataset.from_pandas(frame.select(known).to_pandas(), data_definition=definition) for frame in (current, reference)
    ]
    try:
        evidently.Report([presets.DataDriftPreset()]).run(*sides).save_html(str(path))
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from error
