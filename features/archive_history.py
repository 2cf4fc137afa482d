"""An archive as a history, so that whatever takes a history takes an archive."""

from pathlib import Path
from typing import Final

import polars as pl

from domain.decision import Flag
from features.archive_reader import read_archive
from features.archive_schema import FEATURE_ROWS, LABELS, TRANSACTIONS
from features.history import SCHEMA, normalised
from features.spec import FUTURE_MS, FeatureSettings

_DAY_MS: Final = 86_400_000
#: Columns beside those of a history: where the record and its label stood.
_FURTHER: Final = (
    "extra", "topic_uuid", "partition", "offset", "append_ms", "label_source", "label_topic_uuid", "label_partition", "label_offset",
)  # fmt: skip


def archive_history(directory: Path, *, maturity_days: int = FeatureSettings().maturity_days) -> pl.DataFrame:
    """Return the archived transactions with what became known about them, normalised as `features.history.read_history` does.

    * Of the records with one transaction_id the one that was applied counts: not one whose feature row is flagged
      `duplicate`, else the first by append time.
    * Event times more than 5 minutes ahead of the append time are the append time, as in serving.
    * The label is the last one by (label_time_ms, offset); labels not later than their event do not count.
    * Without a label a transaction is good (`is_fraud` false, no time) once `maturity_days` lie between it and the newest time
      in the archive, and unknown (null) before.

    Raises:
        HistoryError: It is no archive, or a file cannot be read.
    """
    transactions = _first_of_each(_transactions(directory), directory)
    labelled = transactions.join(_last_labels(directory, transactions), on="transaction_id", how="left", maintain_order="left")
    newest_ms = pl.max_horizontal(pl.col("event_time_ms").max(), pl.col("label_time_ms").max())
    is_matured = pl.col("event_time_ms") <= newest_ms - maturity_days * _DAY_MS
    is_fraud = pl.when(pl.col("is_fraud").is_null() & is_matured).then(statement=False).otherwise("is_fraud").alias("is_fraud")
    return normalised(labelled.with_columns(is_fraud).select(*SCHEMA, *_FURTHER), str(directory))


def _transactions(directory: Path) -> pl.DataFrame:
    found = read_archive(directory, TRANSACTIONS).filter(pl.col("undecodable").is_null())
    is_future = pl.col("event_time_ms") > pl.col("append_ms") + FUTURE_MS
    return found.with_columns(pl.when(is_future).then("append_ms").otherwise("event_time_ms").alias("event_time_ms"))


def _first_of_each(transactions: pl.DataFrame, directory: Path) -> pl.DataFrame:
    """Return one row for each transaction_id."""
    is_repeated = transactions["transaction_id"].is_duplicated()
    if not is_repeated.any():
        return transactions
    place = ["transaction_id", "partition", "offset"]
    flagged = (
        read_archive(directory, FEATURE_ROWS, ["transaction_id", "kind", "flags", "source_partition", "source_offset"])
        .filter((pl.col("kind") == "transaction") & pl.col("flags").list.contains(Flag.DUPLICATE.value))
        .select("transaction_id", pl.col("source_partition").alias("partition"), pl.col("source_offset").alias("offset"))
        .unique()
        .with_columns(is_duplicate=pl.lit(value=True))
    )
    chosen = (
        transactions.filter(is_repeated)
        .join(flagged, on=place, how="left")
        .sort(pl.col("is_duplicate").fill_null(value=False), "append_ms", "partition", "offset")
        .unique("transaction_id", keep="first", maintain_order=True)
        .drop("is_duplicate")
    )
    return pl.concat([transactions.filter(~is_repeated), chosen])


def _last_labels(directory: Path, transactions: pl.DataFrame) -> pl.DataFrame:
    """Return the label in force of each transaction that has one."""
    labels = read_archive(directory, LABELS).filter(pl.col("undecodable").is_null())
    return (
        labels.select(
            "transaction_id",
            "is_fraud",
            "label_time_ms",
            pl.col("source").alias("label_source"),
            pl.col("topic_uuid").alias("label_topic_uuid"),
            pl.col("partition").alias("label_partition"),
            pl.col("offset").alias("label_offset"),
        )
        .join(transactions.select("transaction_id", "event_time_ms"), on="transaction_id", how="inner")
        .filter(pl.col("label_time_ms") > pl.col("event_time_ms"))
        .drop("event_time_ms")
        .sort("label_time_ms", "label_offset")
        .unique("transaction_id", keep="last", maintain_order=True)
    )
