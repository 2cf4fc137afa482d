"""Answers that both models of a trial scored, kept until their day has matured."""

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
import polars as pl

from domain.decision import Flag
from features.spec import FUTURE_MS
from monitoring.quality_facts import DAY_MS
from monitoring.rollout import BothScored
from service import quality_rows

SCORE_COLUMNS: Final = (
    "offset", "append_ms", "transaction_id", "card_id", "event_time_ms", "scored_at_ms", "probability", "flags", "model", "variant",
    "shadow",
)  # fmt: skip
"""Of an archived score, that are needed."""
_ROWS: Final = {
    "id": pl.UInt64(), "card": pl.UInt64(), "event_ms": pl.Int64(), "champion": pl.Float64(), "challenger": pl.Float64(),
}  # fmt: skip
_LABELS: Final = {"id": pl.UInt64(), "label_ms": pl.Int64(), "offset": pl.Int64(), "is_fraud": pl.UInt8()}


class Pair(NamedTuple):
    """The two models of a trial."""

    champion: str
    """`name@version`."""
    challenger: str
    started_ms: int
    """Wall clock: answers that were given before do not count."""


class PendingDays:
    """Rows by day of event time; 40 bytes each in memory, for as many days as labels need to mature.

    Args:
        pair: Whose scores.
        maturity_ms: Age at which a transaction without a fraud label counts as good; a label that comes later does not count.
        done_ms: Days before it are counted already: a midnight, 0 = none.
    """

    def __init__(self, pair: Pair, maturity_ms: int, done_ms: int = 0) -> None:
        self._pair = pair
        self._maturity_ms = maturity_ms
        self._done_ms = done_ms
        self._days: dict[int, list[pl.DataFrame]] = {}
        self._labels = pl.DataFrame(schema=_LABELS)
        self._event_ms = self._label_ms = 0

    def add_scores(self, rows: pl.DataFrame) -> None:
        """Take archived scores (SCORE_COLUMNS); those that another pair gave, or only one model, are left out. Twice is once."""
        found = _both(rows, self._pair)
        if found.is_empty():
            return
        self._event_ms = max(self._event_ms, _newest(found["event_ms"]))
        by_day = found.with_columns(day=pl.col("event_ms") // DAY_MS * DAY_MS).filter(pl.col("day") >= self._done_ms)
        for (day,), frame in by_day.partition_by("day", as_dict=True, include_key=False).items():
            self._days.setdefault(int(day), []).append(frame)

    def add_labels(self, rows: pl.DataFrame) -> None:
        """Take archived labels (`service.quality_rows.COLUMNS`). Twice is once."""
        if not rows.is_empty():
            new = quality_rows.labels(rows).select(list(_LABELS))
            self._labels = pl.concat([self._labels, new]).unique()
            self._label_ms = max(self._label_ms, _newest(new["label_ms"]))

    def matured(self, now_ms: int) -> Iterator[tuple[int, BothScored]]:
        """Yield each day that has matured, oldest first, with its midnight, and forget it.

        Days without an answer are none. Time is that of the events, at most `now_ms`; labels of the same time may be a day
        behind the answers, not more.
        """
        clock_ms = min(now_ms, self._event_ms, max(self._label_ms, self._event_ms - DAY_MS))
        for day_ms in sorted(self._days):
            if day_ms + DAY_MS + self._maturity_ms > clock_ms:
                return
            rows = pl.concat(self._days.pop(day_ms)).unique("id", keep="first", maintain_order=True)
            self._done_ms = day_ms + DAY_MS
            yield day_ms, self._judged(rows)

    @property
    def n_rows(self) -> int:
        """Rows that wait."""
        return sum(frame.height for frames in self._days.values() for frame in frames)

    def _judged(self, rows: pl.DataFrame) -> BothScored:
        """Return a day's rows with what was known of each when it had matured: its last label until then."""
        joined = self._labels.join(rows.select("id", "event_ms"), on="id")
        in_time = joined.filter(pl.col("label_ms") < pl.col("event_ms") + self._maturity_ms).sort("label_ms", "offset", "is_fraud")
        frauds = in_time.group_by("id").agg(pl.col("is_fraud").last()).filter(pl.col("is_fraud") == 1)
        return BothScored(
            rows["champion"].to_numpy(), rows["challenger"].to_numpy(), rows["card"].to_numpy(), rows["event_ms"].to_numpy(),
            np.asarray(rows["id"].is_in(frauds["id"].implode()).to_numpy(), np.bool_),
        )  # fmt: skip


def _both(rows: pl.DataFrame, pair: Pair) -> pl.DataFrame:
    """Return the first answers that both models scored, the one that decided and the other beside it."""
    other, is_challenger = pl.col("shadow").struct, pl.col("variant") == "challenger"
    decided = pl.when(is_challenger).then(pl.lit(pair.challenger)).otherwise(pl.lit(pair.champion))
    beside = pl.when(is_challenger).then(pl.lit(pair.champion)).otherwise(pl.lit(pair.challenger))
    again = pl.col("flags").list.contains(Flag.DUPLICATE.value) | pl.col("flags").list.contains(Flag.RESTATED.value)
    is_future = pl.col("event_time_ms") > pl.col("append_ms") + FUTURE_MS
    kept = rows.filter(
        pl.col("transaction_id").is_not_null() & ~again & (pl.col("scored_at_ms") >= pair.started_ms)
        & (pl.col("model") == decided) & (other.field("model") == beside)
    )  # fmt: skip
    own, shadow = pl.col("probability"), other.field("probability")
    return kept.select(
        id=pl.col("transaction_id").hash(seed=0),
        card=pl.col("card_id").hash(seed=0),
        event_ms=pl.when(is_future).then("append_ms").otherwise("event_time_ms"),
        champion=pl.when(is_challenger).then(shadow).otherwise(own),
        challenger=pl.when(is_challenger).then(own).otherwise(shadow),
    ).cast(dict(_ROWS))  # type: ignore[arg-type]  # polars' types are instances here


def _newest(times: pl.Series) -> int:
    found = times.max()
    assert isinstance(found, int)
    return found
