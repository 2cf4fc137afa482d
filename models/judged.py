"""The rows of a test window with their truth: what every metric of a fold is counted on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.folds import Fold, known_cards
from models.options import DAY_MS


@dataclass(frozen=True, slots=True)
class Truth:
    """What a history says in the end.

    Attributes:
        is_fraud: Of every row: the column `story` where there is one (simulated histories; not null = fraud), else the last label.
        is_counted: Whether the truth of a row is known at all; rows without never count.
        card: Number of each row's card, in the order of the ids.
        time_ms: Event times.
    """

    is_fraud: NDArray[np.bool_]
    is_counted: NDArray[np.bool_]
    card: NDArray[np.int64]
    time_ms: NDArray[np.int64]

    @classmethod
    def of(cls, history: pl.DataFrame) -> Self:
        """Return the truth of a normalised history."""
        has_story = "story" in history.columns
        fraud = history["story"].is_not_null() if has_story else history["is_fraud"].fill_null(value=False)
        counted = pl.repeat(value=True, n=history.height, eager=True) if has_story else history["is_fraud"].is_not_null()
        return cls(
            fraud.to_numpy().astype(np.bool_),
            counted.to_numpy().astype(np.bool_),
            history["card_id"].rank("dense").cast(pl.Int64).to_numpy(),
            history["event_time_ms"].to_numpy(),
        )


@dataclass(frozen=True, slots=True)
class Judged:
    """Rows of one test window; all arrays have the shape (n,).

    Attributes:
        row: Place in the history.
        target: Fraud or not.
        card: Number of the card; numbers go like the ids.
        day: UTC day number.
        is_known: The card had a known fraud before that day; it leaves card precision.
        amount: Major units of the base currency; 0 where it is unknown.
    """

    row: NDArray[np.int64]
    target: NDArray[np.bool_]
    card: NDArray[np.int64]
    day: NDArray[np.int64]
    is_known: NDArray[np.bool_]
    amount: NDArray[np.float64]

    def take(self, rows: NDArray[np.bool_]) -> Self:
        """Return the rows where `rows` is true."""
        return type(self)(*(part[rows] for part in self._parts()))

    @classmethod
    def joined(cls, found: Sequence[Self]) -> Self:
        """Return the rows of several windows, one after the other."""
        return cls(*(np.concatenate(parts) for parts in zip(*(one._parts() for one in found), strict=True)))  # noqa: SLF001 - of this class

    def _parts(self) -> tuple[NDArray[Any], ...]:
        return self.row, self.target, self.card, self.day, self.is_known, self.amount


def judged_rows(history: pl.DataFrame, truth: Truth, fold: Fold, known_days: int | None) -> Judged:
    """Return the rows that a fold is tested on, in history order; amounts are filled in by `with_amounts`."""
    row = np.flatnonzero(fold.tests(truth.time_ms) & truth.is_counted)
    known = known_cards(history, truth.card, fold, row, known_days)
    return Judged(row, truth.is_fraud[row], truth.card[row], truth.time_ms[row] // DAY_MS, known, np.zeros(len(row)))


def with_amounts(judged: Judged, log_amount: NDArray[np.float32]) -> Judged:
    """Return the rows with their amounts, from the feature `event_log_amount` = ln(1 + major units)."""
    amount = np.nan_to_num(np.expm1(log_amount.astype(np.float64)))
    return Judged(judged.row, judged.target, judged.card, judged.day, judged.is_known, amount)
