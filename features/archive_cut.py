"""An archived history cut where a consumer group goes on: what is folded into states and what is still to come, each record once."""

from collections.abc import Mapping
from typing import Final, NamedTuple

import polars as pl

Partition = tuple[str, int]
"""UUID of the topic, and number."""
COLUMNS: Final = ("topic_uuid", "partition", "offset", "label_topic_uuid", "label_partition", "label_offset")
"""Columns of an archive's history that say where records stood."""


class Cut(NamedTuple):
    """A history up to some places."""

    history: pl.DataFrame
    """Without the transactions, and without the labels, that the group has not committed."""
    next_offsets: dict[Partition, int]
    """First offset of each partition that the history lacks."""


def has_places(history: pl.DataFrame) -> bool:
    """Tell whether a history says where its records stood."""
    return set(COLUMNS) <= set(history.columns)


def cut_at(history: pl.DataFrame, committed: Mapping[Partition, int]) -> Cut:
    """Return what of an archived history lies before the committed offsets, and where its partitions go on.

    Records of topics that are not named, as of one that was deleted, are all kept. An archive that lags behind goes on where
    it ends.

    Args:
        history: With the columns of COLUMNS.
        committed: Of every partition of the topics of transactions and labels.
    """
    kept, transactions = _before(history, committed, "")
    known, labels = _before(kept.filter(pl.col("label_offset").is_not_null()), committed, "label_")
    is_known = pl.col("transaction_id").is_in(known["transaction_id"].implode())
    told = kept.with_columns(
        pl.when(pl.col("label_offset").is_null() | is_known).then(name).alias(name) for name in ("is_fraud", "label_time_ms")
    )
    ends = transactions | labels
    return Cut(told, {partition: min(offset, ends.get(partition, 0)) for partition, offset in committed.items()})


def _before(history: pl.DataFrame, committed: Mapping[Partition, int], prefix: str) -> tuple[pl.DataFrame, dict[Partition, int]]:
    """Return the rows whose record is committed, and the end of each partition's records."""
    names = [f"{prefix}{name}" for name in ("topic_uuid", "partition", "offset")]
    ends = history.group_by(names[:2]).agg(pl.col(names[2]).max() + 1)
    schema: dict[str, pl.DataType] = {names[0]: pl.String(), names[1]: history.schema[names[1]], "committed": pl.Int64()}
    limits = pl.DataFrame([(uuid, partition, offset) for (uuid, partition), offset in committed.items()], schema=schema, orient="row")
    joined = history.join(limits, on=names[:2], how="left", maintain_order="left")
    is_committed = pl.col("committed").is_null() | (pl.col(names[2]) < pl.col("committed"))
    return joined.filter(is_committed).drop("committed"), {(uuid, partition): end for uuid, partition, end in ends.iter_rows()}
