"""A sample of archived feature vectors, spread over a span of event time, in bounded memory."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from domain.errors import HistoryError
from features.archive_files import ArchiveFile, current, files_of
from features.archive_reader import read_file
from features.archive_schema import FEATURE_ROWS
from features.spec import N_FEATURES
from service.archive_file import HOUR_MS, hour_of

Span = tuple[int, int]
"""Event times, ms, half-open `[from, to)`."""

_COLUMNS: Final = ("transaction_id", "vector")
_RANK: Final = "rank"
_ATTEMPTS: Final = 3
_EARLY_MS: Final = 24 * HOUR_MS
"""A record may be appended this long before the event time that it states."""


def sample_vectors(archive: Path, spec: str, span: Span, *, most_rows: int, most_read: int) -> NDArray[np.float32]:
    """Return vectors of transactions in a span, float32 (n, N_FEATURES), NaN = missing, in no particular order.

    Each transaction is there once, and chosen by a hash of its id: the same archive gives the same sample. A damaged file is left
    out; the view of quality names it.

    Args:
        archive: Folder of `weir archive`.
        spec: Fingerprint of the features; vectors of others are left out.
        span: Which event times.
        most_rows: So many at most.
        most_read: When so many rows of the span have been read, no further file is. Files are taken by partition and hour of the
            day, in an order that is the same for all days, so that the samples of two days that are cut short are of like hours.

    Raises:
        HistoryError: The archive contradicts itself, or its files vanish while they are read.
    """
    first_day = hour_of(span[0] - _EARLY_MS)[0]
    for _ in range(_ATTEMPTS):
        listed = current(files_of(archive, FEATURE_ROWS))[0]
        files = sorted((file for file in listed if file.kind == "records" and file.day >= first_day), key=_place)
        try:
            return _matrix(_chosen(files, _wanted(spec, span), most_rows, most_read))
        except FileNotFoundError:
            continue  # a compaction merged it since
    raise HistoryError(f"files of {archive} vanish while they are read; let only one `weir archive` write there")


def _chosen(files: Sequence[ArchiveFile], where: pl.Expr, most_rows: int, most_read: int) -> pl.DataFrame:
    """Return the rows with the lowest hashes."""
    found, n_read = pl.DataFrame(schema={"transaction_id": pl.String(), "vector": pl.Binary(), _RANK: pl.UInt64()}), 0
    for file in files:
        try:
            rows = read_file(file, FEATURE_ROWS, _COLUMNS, where)
        except HistoryError:
            continue
        n_read += rows.height
        ranked = rows.with_columns(pl.col("transaction_id").hash(seed=0).alias(_RANK))
        found = pl.concat([found, ranked]).unique("transaction_id", keep="first").bottom_k(most_rows, by=_RANK)
        if n_read >= most_read:
            break
    return found.sort(_RANK)


def _wanted(spec: str, span: Span) -> pl.Expr:
    is_in_span = pl.col("time_ms").is_between(*span, closed="left")
    is_whole = pl.col("vector").bin.size() == 4 * N_FEATURES
    return is_in_span & (pl.col("kind") == "transaction") & (pl.col("spec") == spec) & is_whole


def _place(file: ArchiveFile) -> tuple[int, int, str, int]:
    """Return the place in the order of reading: hours of the day far from each other first (7 has no common factor with 24)."""
    return file.partition.number, int(file.hour[1]) * 7 % 24, file.day, file.first


def _matrix(rows: pl.DataFrame) -> NDArray[np.float32]:
    return np.frombuffer(b"".join(rows["vector"]), np.dtype("<f4")).reshape(-1, N_FEATURES)
