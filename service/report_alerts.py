"""What the alerts of a span of event time were, and what of it was never archived; from the archive."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import polars as pl

from domain.decision import Flag
from features.archive_files import files_of
from features.archive_reader import read_archive
from features.archive_schema import ALERTS, FEATURE_ROWS, TRANSACTIONS
from features.archive_search import hour_ms
from monitoring.figures import count, moment

_MOST_REASONS: Final = 10
_LOST_TOPICS: Final = (TRANSACTIONS, ALERTS, FEATURE_ROWS)


class ReasonCount(NamedTuple):
    """How often a reason was given."""

    code: str
    n: int
    n_strongest: int
    """Alerts of which it was the strongest reason."""
    example: str
    """One of its sentences."""


class AlertStatistics(NamedTuple):
    """Alerts of a span."""

    n_review: int
    n_decline: int
    n_by_day: dict[int, int]
    """Midnight (UTC, ms) -> alerts."""
    reasons: Sequence[ReasonCount]
    """Most frequent first."""


def alert_statistics(archive: Path, from_ms: int, to_ms: int) -> AlertStatistics:
    """Return the alerts with event times in `[from_ms, to_ms)`, each transaction once: a restated answer replaces the first.

    Raises:
        HistoryError: The archive cannot be read.
    """
    columns = ["transaction_id", "event_time_ms", "scored_at_ms", "decision", "flags", "reasons", "undecodable"]
    found = (
        read_archive(archive, ALERTS, columns)
        .filter(pl.col("undecodable").is_null() & pl.col("event_time_ms").is_between(from_ms, to_ms, closed="left"))
        .filter(~pl.col("flags").list.contains(Flag.DUPLICATE.value))
        .sort("scored_at_ms", maintain_order=True)
        .unique("transaction_id", keep="last", maintain_order=True)
    )
    by_day = found.group_by((pl.col("event_time_ms") // 86_400_000 * 86_400_000).alias("day")).len().sort("day")
    decisions = Counter(found["decision"].to_list())
    return AlertStatistics(decisions["review"], decisions["decline"], dict(by_day.iter_rows()), _reasons(found["reasons"].to_list()))


def lost_sentences(archive: Path, from_ms: int, to_ms: int) -> list[str]:
    """Return what Kafka had removed before it was archived, a sentence each, of hours in `[from_ms, to_ms)`."""
    lost = [file for topic in _LOST_TOPICS for file in files_of(archive, topic) if file.kind == "lost"]
    return [
        f"{file.partition.topic}, partition {file.partition.number}: {count(file.last - file.first + 1)} records were removed from Kafka "
        f"before they were archived (offsets {file.first} to {file.last}, found missing at {moment(hour_ms(file))})."
        for file in lost
        if from_ms <= hour_ms(file) < to_ms
    ]


def _reasons(given: list[list[dict[str, str]] | None]) -> list[ReasonCount]:
    every, strongest, example = Counter[str](), Counter[str](), dict[str, str]()
    for reasons in given:
        for place, reason in enumerate(reasons or ()):
            code = reason["code"]
            every[code] += 1
            strongest[code] += place == 0
            example.setdefault(code, reason["text"])
    return [ReasonCount(code, n, strongest[code], example[code]) for code, n in every.most_common(_MOST_REASONS)]
