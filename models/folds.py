"""Prequential folds: train on a window, wait until its labels are known, test on what comes after; then move on."""

from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from domain.errors import HistoryError
from models.dataset import Window
from models.options import DAY_MS


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How an evaluation goes; every number that is a choice."""

    train_days: int = 28
    delay_days: int = 7
    """Age at which a transaction without a fraud label counts as good, for targets and features."""
    test_days: int = 7
    starts_ms: tuple[int, ...] = ()
    """First training instants; empty = the newest `n_folds` test windows that do not overlap."""
    n_folds: int = 4
    warm_up_days: int = 30
    """History wanted before an automatic start."""
    known_days: int | None = 30
    """A card whose fraud of so many days before a day is known by then is known for that day; None = since the first training day."""
    is_known_dropped: bool = False
    """Known cards leave the whole test set, not only card precision."""
    min_frauds: int = 50
    """A fold with fewer frauds in its test window is skipped."""
    k: int = 100
    """Cards that a team looks at each day."""
    alert_price: float = 5.0
    """Of looking at one alert, major units of the base currency."""
    loss_share: float = 1.0
    """Share of a fraud's amount that is lost if it is not alerted."""
    n_resamples: int = 1000
    seed: int = 20_260_101
    is_delay_fixed: bool = False
    """Every fraud becomes known exactly `delay_days` after it happened, whatever its label's time."""


@dataclass(frozen=True, slots=True)
class Fold:
    """One train window and the test window after it; times in ms, half-open.

    Attributes:
        from_ms: First training instant.
        as_of_ms: T, the first test instant: labels at or after it do not train.
        test_to_ms: End of the test window.
        delay_ms: Age at which a row may train.
    """

    from_ms: int
    as_of_ms: int
    test_to_ms: int
    delay_ms: int

    @property
    def name(self) -> str:
        """Return the first test day, as a date (UTC)."""
        return datetime.fromtimestamp(self.as_of_ms / 1000, UTC).strftime("%Y-%m-%d")

    @property
    def window(self) -> Window:
        """Return what may train."""
        return Window(self.from_ms, self.as_of_ms, self.delay_ms)

    def tests(self, time_ms: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell which event times lie in the test window."""
        found: NDArray[np.bool_] = (time_ms >= self.as_of_ms) & (time_ms < self.test_to_ms)
        return found


def folds_of(plan: Plan, history: pl.DataFrame) -> list[Fold]:
    """Return the folds of a history, in time order.

    Raises:
        HistoryError: The history is empty or too short, or a start leaves no test window inside it; the sentence says by how much.
    """
    if history.is_empty():
        raise HistoryError("the history holds no transactions; give a longer one")
    times = history["event_time_ms"]
    first_ms, newest_ms = times.min(), times.max()
    assert isinstance(first_ms, int)
    assert isinstance(newest_ms, int)
    starts = plan.starts_ms or _automatic(plan, first_ms, newest_ms)
    found = [fold_at(plan, start) for start in sorted(starts)]
    for fold in found:
        if fold.as_of_ms > newest_ms or fold.as_of_ms - fold.delay_ms <= first_ms:
            last = _day(newest_ms - (plan.train_days + plan.delay_days) * DAY_MS)
            raise HistoryError(
                f"a fold that starts {_day(fold.from_ms)} trains and tests outside the history, which goes from {_day(first_ms)} "
                f"to {_day(newest_ms)}; give --starts from {_day(first_ms)} to {last}"
            )
    return found


def fold_at(plan: Plan, from_ms: int) -> Fold:
    """Return the fold whose first training instant is `from_ms`."""
    delay_ms = plan.delay_days * DAY_MS
    as_of_ms = from_ms + plan.train_days * DAY_MS + delay_ms
    return Fold(from_ms, as_of_ms, as_of_ms + plan.test_days * DAY_MS, delay_ms)


def with_fixed_delay(history: pl.DataFrame, delay_days: int) -> pl.DataFrame:
    """Return the history as if every fraud had become known exactly `delay_days` after it happened."""
    is_fraud = pl.col("is_fraud").fill_null(value=False)
    known_ms = pl.when(is_fraud).then(pl.col("event_time_ms") + delay_days * DAY_MS).otherwise("label_time_ms")
    return history.with_columns(label_time_ms=known_ms)


def known_cards(
    history: pl.DataFrame, card: NDArray[np.int64], fold: Fold, rows: NDArray[np.int64], known_days: int | None
) -> NDArray[np.bool_]:
    """Tell for each of `rows` whether its card was known on its day: a fraud of it was known before that day began.

    Args:
        history: All rows; their labels as the bank had them, whatever the truth.
        card: Number of the card of every row of the history.
        fold: With the first training day, from which on frauds count if `known_days` is None.
        rows: Places in the history.
        known_days: Only frauds of so many days before the day count.
    """
    time = history["event_time_ms"].to_numpy()
    fraud = np.flatnonzero((history["is_fraud"].fill_null(value=False) & history["label_time_ms"].is_not_null()).to_numpy())
    label_ms = history["label_time_ms"].gather(fraud).to_numpy()
    day = time[rows] // DAY_MS
    found = np.zeros(len(rows), np.bool_)
    for number in np.unique(day).tolist():
        midnight_ms = number * DAY_MS
        from_ms = fold.from_ms if known_days is None else midnight_ms - known_days * DAY_MS
        is_known = (label_ms < midnight_ms) & (time[fraud] >= from_ms) & (time[fraud] < midnight_ms)
        of_day = np.flatnonzero(day == number)
        found[of_day] = np.isin(card[rows[of_day]], card[fraud[is_known]])
    return found


def _automatic(plan: Plan, first_ms: int, newest_ms: int) -> list[int]:
    """Return the starts of the newest test windows, one behind the other, that leave the warm-up; at least one."""
    first_day, end_day = first_ms // DAY_MS, newest_ms // DAY_MS + 1
    length = plan.train_days + plan.delay_days + plan.test_days
    newest_start = end_day - length
    if newest_start < first_day:
        raise HistoryError(
            f"the history has {end_day - first_day} days; training, delay and test need {length}: "
            "give a longer one, or fewer --train-days, --delay-days or --test-days"
        )
    starts = [newest_start - number * plan.test_days for number in range(plan.n_folds)]
    warm = [start for start in starts if start >= first_day + plan.warm_up_days]
    return [start * DAY_MS for start in warm or starts[:1]]


def _day(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d")
