"""Which rows of a history may train a model as of a moment, and what they are worth."""

from dataclasses import dataclass
from math import ceil
from typing import Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from domain.errors import TrainingRefused
from models.label_delay import delay_weights
from models.options import DAY_MS, TrainingOptions
from monitoring.label_delay import DelayCurve

FEWEST_DAYS = 2


@dataclass(frozen=True, slots=True)
class Window:
    """Event times that train, half-open `[from_ms, to_ms - maturity_ms)`, as of `to_ms`."""

    from_ms: int
    to_ms: int
    maturity_ms: int

    @classmethod
    def ending(cls, history: pl.DataFrame, *, from_ms: int | None, to_ms: int | None, maturity_days: int, days: int) -> Self:
        """Return the window of a training: by default `days` days that have matured by the end of the history.

        Raises:
            TrainingRefused: The history is empty or the window holds no time at all.
        """
        if history.is_empty():
            raise TrainingRefused("the history holds no transactions; give a longer one")
        newest = history["event_time_ms"].max()
        assert isinstance(newest, int)
        to = newest + 1 if to_ms is None else to_ms
        maturity_ms = maturity_days * DAY_MS
        start = to - maturity_ms - days * DAY_MS if from_ms is None else from_ms
        if start >= to - maturity_ms:
            raise TrainingRefused(
                f"no time is left to train on: the window starts at {start} ms and its rows must be {maturity_days} days old at {to} ms; "
                "give an earlier --from or a later --to"
            )
        return cls(start, to, maturity_ms)

    def eligible(self, history: pl.DataFrame) -> NDArray[np.bool_]:
        """Tell which rows may train: inside the window, matured, and with a truth that is known or will be.

        A row that has not matured never trains, known frauds among them included: else the fraud share lies.
        """
        time = history["event_time_ms"].to_numpy()
        known = history["is_fraud"].is_not_null() & (~history["is_fraud"].fill_null(value=False) | history["label_time_ms"].is_not_null())
        inside: NDArray[np.bool_] = (time >= self.from_ms) & (time + self.maturity_ms < self.to_ms) & known.to_numpy()
        return inside

    def newest(self, history: pl.DataFrame, days: int) -> NDArray[np.bool_]:
        """Tell which rows lie in the last `days` days before the moment of training; their labels are not used."""
        time = history["event_time_ms"].to_numpy()
        found: NDArray[np.bool_] = (time >= self.to_ms - days * DAY_MS) & (time < self.to_ms)
        return found


def targets(history: pl.DataFrame, to_ms: int) -> NDArray[np.bool_]:
    """Tell which rows were known as fraud before `to_ms`; a label at or after it is not used."""
    is_fraud = history["is_fraud"].fill_null(value=False)
    found: NDArray[np.bool_] = (is_fraud & (history["label_time_ms"] < to_ms).fill_null(value=False)).to_numpy()
    return found


@dataclass(frozen=True, slots=True)
class Dataset:
    """Rows that train, in history order.

    Attributes:
        vectors: float32, shape (n, N_FEATURES); NaN is missing; categories as codes.
        target: Known as fraud before T.
        weight: 1, for a fraud 1/F of its age at T.
        day: UTC day number of the event.
    """

    vectors: NDArray[np.float32]
    target: NDArray[np.bool_]
    weight: NDArray[np.float64]
    day: NDArray[np.int64]

    def take(self, rows: NDArray[np.bool_]) -> Self:
        """Return the rows where `rows` is true."""
        return type(self)(self.vectors[rows], self.target[rows], self.weight[rows], self.day[rows])


def build(history: pl.DataFrame, vectors: NDArray[np.float32], window: Window) -> Dataset:
    """Return the dataset of the eligible rows.

    Args:
        history: All rows before T, for the label-delay curve.
        vectors: Of the eligible rows, in history order.
        window: What is eligible.
    """
    eligible = window.eligible(history)
    target = targets(history, window.to_ms)
    time = history["event_time_ms"].to_numpy()
    label_time = history["label_time_ms"].fill_null(0).to_numpy()
    delay = DelayCurve.fit(time[target], label_time[target], to_ms=window.to_ms)
    weight = np.where(target[eligible], delay_weights(delay, window.to_ms - time[eligible]), 1.0)
    return Dataset(vectors, target[eligible], weight, time[eligible] // DAY_MS)


def calibration_start(dataset: Dataset, options: TrainingOptions) -> int:
    """Return the first day of the calibration slice.

    The slice is the last `calibration_share` of the eligible days (rounded up), extended back until it holds
    `min_calibration_frauds` frauds, and never more than half of the days.

    Raises:
        TrainingRefused: Too few days or too few frauds; the sentence says how many were found.
    """
    days, place = np.unique(dataset.day, return_inverse=True)
    if len(days) < FEWEST_DAYS:
        raise TrainingRefused(f"only {len(days)} eligible day(s) with transactions were found; train on at least {FEWEST_DAYS}, better 28")
    frauds = np.bincount(place, weights=dataset.target, minlength=len(days))
    from_end = np.cumsum(frauds[::-1])
    least = min(ceil(options.calibration_share * len(days)), len(days) // 2)
    enough = np.flatnonzero(from_end >= options.min_calibration_frauds)
    n_days = max(least, int(enough[0]) + 1) if len(enough) else len(days)
    if n_days > len(days) // 2:
        half = int(from_end[len(days) // 2 - 1])
        raise TrainingRefused(
            f"too few known frauds: {half} in the newer half of the {len(days)} eligible days ({int(frauds.sum())} in all), "
            f"calibration needs {options.min_calibration_frauds}; "
            "give a longer history or an earlier --from, or wait until more frauds are reported"
        )
    if not frauds[: len(days) - n_days].any():
        raise TrainingRefused(f"no known fraud before the last {n_days} days, which calibrate; give an earlier --from")
    start = int(days[len(days) - n_days])
    for rows, name in ((dataset.day < start, "before the calibration days"), (dataset.day >= start, "in the calibration days")):
        if dataset.target[rows].all():
            raise TrainingRefused(
                f"all {int(rows.sum())} transactions {name} are known frauds: there is nothing to tell them from; "
                "give a history with good transactions, too"
            )
    return start


def late_frauds(history: pl.DataFrame, window: Window) -> int:
    """Return how many frauds of the window became known only at or after the moment of training: they count as good."""
    is_late = (history["is_fraud"] & (history["label_time_ms"] >= window.to_ms)).fill_null(value=False)
    return int((is_late.to_numpy() & window.eligible(history)).sum())


def require_eligible(history: pl.DataFrame, window: Window) -> None:
    """Return if at least one row may train.

    Raises:
        TrainingRefused: None may; the sentence says whether time or labels are missing.
    """
    if window.eligible(history).any():
        return
    time = history["event_time_ms"]
    inside = history.filter((time >= window.from_ms) & (time + window.maturity_ms < window.to_ms))
    days = window.maturity_ms // DAY_MS
    if inside.is_empty():
        raise TrainingRefused(
            f"of the {len(history)} transactions before the moment of training none inside the window is at least {days} days old; "
            "give a longer history or an earlier --from"
        )
    raise TrainingRefused(
        f"none of the {len(inside)} transactions inside the window has a label: is_fraud is empty; "
        "say which were frauds (true) and which were not (false), see weir import --help"
    )
