"""All features at once, on the page of drift: how well the last day's transactions can be told from those of earlier days."""

from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

from domain.errors import HistoryError
from features.spec import FEATURES
from monitoring.drift_windows import PAST_WEEKS, WEEK_H
from monitoring.packed import HOUR_MS
from monitoring.together import LEAST_ROWS, Together, compare
from service.vector_sample import sample_vectors
from service.web.answers import State
from service.web.drift_answers import TogetherAnswer

MOST_ROWS: Final = 3_000
"""Of each day: the AUC is certain to 0.015 then, and the comparison takes seconds of one core."""
_MOST_READ: Final = 1_000_000
"""Rows of a day that are read for its sample."""
_DAY_H: Final = 24
_UNWRITTEN_H: Final = 1
"""Hours that are over, but perhaps not in the archive yet: it closes the files of an hour some time after its end."""
_SEED: Final = 1
_AGAIN_MS: Final = 60_000
"""What was missing is looked for again after this long."""
_PAUSE_MS: Final = 300_000
"""Between two comparisons, however fast the hours of a stream pass: each takes seconds of one core."""
_NAMES: Final = [feature.name for feature in FEATURES]
_CANNOT: Final = "All features at once cannot be looked at: "
_FILLS: Final = "The archive fills while `weir archive` runs beside the workers; these log the share features.vector_share of the vectors."


class TogetherView:
    """Keeps the last comparison. `refresh` is called from one thread at a time."""

    def __init__(self, archive: Path) -> None:
        """Prepare; nothing is read yet.

        Args:
            archive: Folder of `weir archive`, which may not exist.
        """
        self._archive = archive
        self._seen: tuple[str, int] | None = None
        self._again_ms = 0
        self.answer = _lacking("All features at once have not been looked at yet: that is done when an hour of event time is over.", "")

    def refresh(self, spec: str, now_hour: int, now_ms: int) -> None:
        """Compare once for each hour of event time, and every five minutes at most; it takes seconds.

        Args:
            spec: Fingerprint of the features of the model that serves.
            now_hour: The first hour that is not over; the 24 hours that ended an hour before it are looked at.
            now_ms: Wall clock.
        """
        is_compared = self.answer.auc is not None
        if now_ms < self._again_ms or (is_compared and self._seen == (spec, now_hour)):
            return
        if not self._archive.is_dir():
            how = "Start `weir archive`, which keeps the vectors that workers log."
            self.answer = _lacking(f"{_CANNOT}there is no archive at {self._archive}.", how)
            return
        try:
            self.answer = self._compared(spec, now_hour - _UNWRITTEN_H)
        except (HistoryError, OSError, pl.exceptions.PolarsError) as error:
            self.answer = _lacking(f"{_CANNOT}{error}.", "Mend what the sentence names; it is tried again.")
        self._seen = spec, now_hour
        self._again_ms = now_ms + (_AGAIN_MS if self.answer.auc is None else _PAUSE_MS)

    def _compared(self, spec: str, end_hour: int) -> TogetherAnswer:
        recent = self._day(spec, end_hour)
        earlier, against = [], "those of the same hours of earlier weeks"
        if len(recent) >= LEAST_ROWS:
            earlier = self._days(spec, [end_hour - week * WEEK_H for week in range(1, PAST_WEEKS + 1)])
            if not earlier:  # an archive younger than a week
                against = "those of the days before"
                earlier = self._days(spec, [end_hour - day * _DAY_H for day in range(1, PAST_WEEKS + 1)])
        with threadpool_limits(1, user_api="blas"):  # matrices this small take ten times the processor on two threads
            found = _answer(compare(recent, earlier, _NAMES, seed=_SEED), against) if earlier else _too_few(len(recent))
        n_earlier = sum(len(day) for day in earlier)
        return msgspec.structs.replace(found, event_ms=end_hour * HOUR_MS, n_recent=len(recent), n_earlier=n_earlier)

    def _days(self, spec: str, ends: list[int]) -> list[NDArray[np.float32]]:
        """Return the samples of the days that have rows enough."""
        return [day for end in ends if len(day := self._day(spec, end)) >= LEAST_ROWS]

    def _day(self, spec: str, end_hour: int) -> NDArray[np.float32]:
        span = ((end_hour - _DAY_H) * HOUR_MS, end_hour * HOUR_MS)
        return sample_vectors(self._archive, spec, span, most_rows=MOST_ROWS, most_read=_MOST_READ)


def _lacking(sentence: str, advice: str) -> TogetherAnswer:
    return TogetherAnswer(
        state="empty", sentence=sentence, advice=advice, event_ms=None, n_recent=0, n_earlier=0, auc=None, auc_low=None, auc_high=None,
        auc_usual=None, told_by=[], error_now=None, error_before=None, error_ratio_low=None, error_ratio_high=None, error_ratio_usual=None,
    )  # fmt: skip


def _too_few(n_recent: int) -> TogetherAnswer:
    what = f"the archive holds {n_recent:,} vectors of the last 24 archived hours of event time; {LEAST_ROWS} are needed"
    if n_recent >= LEAST_ROWS:
        what = f"the archive holds no earlier day with {LEAST_ROWS} vectors to compare with"
    return _lacking(f"All features at once cannot be judged yet: {what}.", _FILLS)


def _answer(found: Together, against: str) -> TogetherAnswer:
    told, error = found.told, found.error
    state: State = "empty" if found.usual_auc is None else "attention" if found.is_told or found.is_looser else "well"
    advice = "" if found.usual_auc is not None else f"What is usual is known when the archive holds another earlier day. {_FILLS}"
    return TogetherAnswer(
        state=state, sentence=f"{_told(found, against)} {_held_together(found)}", advice=advice, event_ms=None, n_recent=0, n_earlier=0,
        auc=round(told.auc, 4), auc_low=round(told.low, 4), auc_high=round(told.high, 4), auc_usual=_short(found.usual_auc),
        told_by=found.told_by, error_now=_digits(error.now), error_before=_digits(error.before), error_ratio_low=round(error.low, 4),
        error_ratio_high=round(error.high, 4), error_ratio_usual=_short(found.usual_times),
    )  # fmt: skip


def _told(found: Together, against: str) -> str:
    auc, low, high = found.told.auc, found.told.low, found.told.high
    figures = f"AUC {auc:.2f} ({low:.2f} to {high:.2f}; 0.5 is not at all"
    what = "Transactions of the last 24 archived hours"
    if found.usual_auc is None:
        return f"{what} are told from {against} with {figures})."
    figures += f", {found.usual_auc:.2f} is usual)"
    if not found.is_told:
        return f"{what} cannot be told from {against} better than is usual: {figures}."
    return f"{what} can be told from {against} better than is usual, most by {_listed(found.told_by[:3])}: {figures}."


def _held_together(found: Together) -> str:
    error = found.error
    figures = f"the reconstruction error is {error.times:.2f} times the earlier one ({error.low:.2f} to {error.high:.2f}"
    figures += ")" if found.usual_times is None else f"; {found.usual_times:.2f} is usual)"
    if found.usual_times is None:
        return f"{figures[0].upper()}{figures[1:]}."
    how = "less closely than is usual" if found.is_looser else "as usual"
    return f"Features go together {how}: {figures}."


def _listed(names: tuple[str, ...]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _digits(value: float) -> float:
    return float(f"{value:.4g}")


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
