"""The Kafka records of a history: its transactions, and the fraud labels that became known."""

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from domain.label import SOURCES
from features.history import SCHEMA, in_range

_LABEL_COLUMNS: Final = ("is_fraud", "label_time_ms")
#: Column of the simulator and of imports that know where a label came from; else DEFAULT_SOURCE.
SOURCE_COLUMN: Final = "label_source"
DEFAULT_SOURCE: Final = "chargeback"


class HistoryRecords:
    """A history's rows as JSON records, rendered in pieces on demand.

    Attributes:
        event_times_ms: Event time of each transaction, ascending.
        label_times_ms: Time of each fraud label, ascending.
    """

    def __init__(self, history: pl.DataFrame, *, from_ms: int | None = None, to_ms: int | None = None) -> None:
        """Take the transactions with event time, and the fraud labels with label time, in [from_ms, to_ms).

        Args:
            history: As `features.history.read_history` returns it.
            from_ms: None leaves that end open.
            to_ms: None leaves that end open.
        """
        chosen = in_range(history, from_ms, to_ms).sort("event_time_ms", "transaction_id")
        columns = [name for name in SCHEMA if name not in _LABEL_COLUMNS and chosen[name].null_count() < max(1, chosen.height)]
        self._transactions = chosen.select(columns)
        self._labels = _labels(history, from_ms, to_ms)
        self.event_times_ms: NDArray[np.int64] = chosen["event_time_ms"].to_numpy()
        self.label_times_ms: NDArray[np.int64] = self._labels["label_time_ms"].to_numpy()

    def transactions(self, first: int, end: int) -> tuple[list[bytes], list[bytes]]:
        """Return keys (card_id) and values of the transactions [first, end)."""
        return _rendered(self._transactions[first:end], "card_id")

    def labels(self, first: int, end: int) -> tuple[list[bytes], list[bytes]]:
        """Return keys (transaction_id) and values of the labels [first, end)."""
        return _rendered(self._labels[first:end], "transaction_id")


def _labels(history: pl.DataFrame, from_ms: int | None, to_ms: int | None) -> pl.DataFrame:
    known = history.filter(pl.col("is_fraud") & pl.col("label_time_ms").is_not_null())
    source = pl.col(SOURCE_COLUMN) if SOURCE_COLUMN in history.columns else pl.lit(None, pl.String)
    labels = known.select(
        "transaction_id",
        "is_fraud",
        "label_time_ms",
        pl.when(source.is_in(SOURCES)).then(source).otherwise(pl.lit(DEFAULT_SOURCE)).alias("source"),
    )
    low = pl.lit(value=True) if from_ms is None else pl.col("label_time_ms") >= from_ms
    high = pl.lit(value=True) if to_ms is None else pl.col("label_time_ms") < to_ms
    return labels.filter(low & high).sort("label_time_ms", "transaction_id")


def _rendered(rows: pl.DataFrame, key: str) -> tuple[list[bytes], list[bytes]]:
    if rows.is_empty():
        return [], []
    keys = [text.encode() for text in rows[key].to_list()]
    return keys, rows.write_ndjson().encode().splitlines()
