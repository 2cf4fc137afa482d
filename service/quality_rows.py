"""Archived records as the rows that quality keeps of them."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import polars as pl

from domain.decision import Flag
from features.archive_files import ArchiveFile
from features.archive_news import read_rows
from features.archive_schema import LABELS, SCORES, TRANSACTIONS
from features.columns import factors
from features.currency import Rates, to_base
from features.layout import LARGEST_AMOUNT
from features.spec import FUTURE_MS

_PLACE: Final = ("offset", "append_ms", "transaction_id")
COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    SCORES: (*_PLACE, "event_time_ms", "probability", "decision", "flags", "control_p", "source_partition", "source_offset"),
    TRANSACTIONS: (*_PLACE, "event_time_ms", "amount_minor", "currency"),
    LABELS: (*_PLACE, "label_time_ms", "is_fraud"),
}
"""Topic -> columns that are read of it."""
TIME: Final[Mapping[str, str]] = {SCORES: "event_time_ms", LABELS: "label_time_ms"}
"""Topic -> its records' own time."""
FILE: Final = "file"
"""Column that names the file of a row."""


class Read(NamedTuple):
    """What could be read of some files."""

    rows: pl.DataFrame
    files: list[ArchiveFile]
    """Those whose rows are there."""
    problems: list[str]
    """A sentence for each file that is damaged; one that was merged away in the meantime is no problem, look again."""


def read(topic: str, files: Sequence[ArchiveFile], columns: Sequence[str] = ()) -> Read:
    """Return the decoded records of some files, with the column FILE, and say which could not be read.

    Args:
        topic: Theirs, without the installation's prefix.
        files: To be read.
        columns: `transaction_id` among them; none: those of COLUMNS.
    """
    wanted = columns or COLUMNS[topic]
    try:
        return Read(_rows(topic, files, wanted), list(files), [])
    except (OSError, pl.exceptions.PolarsError):
        pass  # one of them is not there or damaged: each by itself tells which
    frames, readable, problems = [_rows(topic, [], wanted)], [], []
    for file in files:
        try:
            frames.append(_rows(topic, [file], wanted))
            readable.append(file)
        except FileNotFoundError:
            continue
        except (OSError, pl.exceptions.PolarsError):
            problems.append(f"{file.path} cannot be read and is left out; remove it: weir archive fetches it again while Kafka has it.")
    return Read(pl.concat(frames), readable, problems)


def answers(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows for `QualityDays.add_answers`; answers to transactions that were sent again are left out."""
    is_alert = pl.col("decision") != "approve"
    return rows.filter(~pl.col("flags").list.contains(Flag.DUPLICATE.value)).select(
        id=_id(),
        event_ms="event_time_ms",
        probability="probability",
        is_alert=is_alert.cast(pl.UInt8),
        control_pi=pl.col("control_p").fill_null(0.0),
        is_restated=pl.col("flags").list.contains(Flag.RESTATED.value).cast(pl.UInt8),
        append_ms="append_ms",
        source_partition="source_partition",
        source_offset="source_offset",
    )


def amounts(rows: pl.DataFrame, rates: Rates) -> pl.DataFrame:
    """Return id and amount in the base currency, UNKNOWN without a rate, by append time; the rate is that of the event's day."""
    is_future = pl.col("event_time_ms") > pl.col("append_ms") + FUTURE_MS
    placed = rows.with_columns(pl.when(is_future).then("append_ms").otherwise("event_time_ms").alias("event_time_ms"))
    converted = to_base(placed["amount_minor"].to_numpy(), factors(placed, rates), LARGEST_AMOUNT)
    kept = placed.select("append_ms", "offset", id=_id())
    return kept.with_columns(pl.Series("amount_minor", converted, pl.Int64)).sort("append_ms", "offset").select("id", "amount_minor")


def labels(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows for `QualityLabels.new`; a label time later than its arrival is its arrival."""
    return rows.select(
        id=_id(), label_ms=pl.min_horizontal("label_time_ms", "append_ms"), offset="offset", is_fraud=pl.col("is_fraud").cast(pl.UInt8)
    )


def _id() -> pl.Expr:
    # 64 bits: among 100 million transactions a label meets a stranger's hash once in 200 billion.
    return pl.col("transaction_id").hash(seed=0)


def _rows(topic: str, files: Sequence[ArchiveFile], columns: Sequence[str]) -> pl.DataFrame:
    # A record that could not be decoded has no fields.
    return read_rows(files, topic, columns, file=FILE).filter(pl.col("transaction_id").is_not_null())
