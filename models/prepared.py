"""A history made ready for folds: its truth, and the vectors of every row that some fold trains or tests on, replayed once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.currency import Rates
from features.offline import replay
from features.spec import COLUMN, FeatureSettings
from models.dataset import Dataset, build
from models.folds import Fold, Plan, with_fixed_delay
from models.judged import Judged, Truth, judged_rows, with_amounts
from models.options import DAY_MS


@dataclass(frozen=True)
class Material:
    """What one fold works with.

    Attributes:
        dataset: The rows that may train.
        newest: Vectors of the newest days before T.
        judged: The test rows that count.
        tests: Their vectors.
        n_known_card_rows: Test rows of known cards, dropped or not.
    """

    dataset: Dataset
    newest: NDArray[np.float32]
    judged: Judged
    tests: NDArray[np.float32]
    n_known_card_rows: int


@dataclass(frozen=True)
class Prepared:
    """A history with everything that does not depend on the fold.

    Attributes:
        plan: How the evaluation goes.
        history: Normalised, labels as the plan wants them.
        truth: Of every row.
        place: Of each row of the history in `vectors`; -1 = not kept.
        vectors: Of the rows that some fold needs.
    """

    plan: Plan
    history: pl.DataFrame
    truth: Truth
    place: NDArray[np.int64]
    vectors: NDArray[np.float32]

    def judged(self, fold: Fold) -> tuple[Judged, int]:
        """Return the test rows of a fold, and how many of all are of known cards."""
        plan = self.plan
        found = judged_rows(self.history, self.truth, fold, plan.known_days)
        n_known = int(found.is_known.sum())
        if plan.is_known_dropped:
            found = found.take(~found.is_known)
        return with_amounts(found, self.vectors[self.place[found.row], COLUMN["event_log_amount"]]), n_known

    def material(self, fold: Fold, newest_days: int) -> Material:
        """Return what a fold works with; the vectors are copies.

        Raises:
            TrainingRefused: No row may train.
        """
        past = self.history.filter(pl.Series(self.truth.time_ms < fold.as_of_ms))  # sorted by time: the first rows
        eligible, newest = fold.window.eligible(past), fold.window.newest(past, newest_days)
        place = self.place[: len(past)]
        judged, n_known = self.judged(fold)
        return Material(
            build(past, self.vectors[place[eligible]], fold.window),
            self.vectors[place[newest]],
            judged,
            self.vectors[self.place[judged.row]],
            n_known,
        )


def prepare(
    history: pl.DataFrame,
    features: FeatureSettings,
    rates: Rates,
    plan: Plan,
    folds: Sequence[Fold],
    *,
    newest_days: int,
    progress: Callable[[float], None] | None = None,
) -> Prepared:
    """Replay the history as of the plan's delay and keep what the folds need.

    Args:
        history: Normalised.
        features: What the features depend on, the plan's delay being their maturity.
        rates: Of the base currency.
        plan: How the evaluation goes.
        folds: Which rows are needed.
        newest_days: Days before T that set the thresholds.
        progress: Told the finished share.
    """
    labelled = with_fixed_delay(history, plan.delay_days) if plan.is_delay_fixed else history
    truth = Truth.of(labelled)
    keep = np.zeros(len(labelled), np.bool_)
    for fold in folds:
        keep |= fold.tests(truth.time_ms) | fold.window.eligible(labelled)
        keep |= (truth.time_ms >= fold.as_of_ms - newest_days * DAY_MS) & (truth.time_ms < fold.as_of_ms)
    vectors = replay(labelled, features, rates, keep=keep, progress=progress)
    return Prepared(plan, labelled, truth, np.where(keep, np.cumsum(keep) - 1, -1), vectors)
