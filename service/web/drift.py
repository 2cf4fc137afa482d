"""The second view: what has changed in the inputs and the score, and what it weighs."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from features.spec import FEATURES
from monitoring.design_effect import MIN_DAYS
from monitoring.drift_report import DriftReport, FeatureDrift
from monitoring.drift_windows import WEEK_H, WINDOWS_H, Window, past_hours, total, window_hours
from monitoring.figures import share
from monitoring.packed import HOUR_MS, Counts
from monitoring.profile import N_BINS, SCORE
from service.web.answers import Notice, State
from service.web.drift_answers import DriftAnswer, DriftFeatureAnswer, DriftPoint, DriftRow, Histogram, Incident, ModelSpan
from service.web.evaluation import LastHour, ModelDrift, n_days
from service.web.sparks import Course, course, known
from service.web.states import rank, sorted_notices

_N_SPARK: Final = 24
_SPAN: Final[Mapping[Window, str]] = {"1h": "hour", "24h": "24 hours", "7d": "7 days"}
_SCORE_WORDS: Final = ("calibrated probability of fraud", "probability")
_WORDS: Final = {f.name: (f.meaning, f.unit) for f in FEATURES} | {SCORE: _SCORE_WORDS}


class DriftView:
    """Makes answers of one model's drift; what costs time is kept until the next evaluation. Used from one thread at a time."""

    def __init__(self, drift: ModelDrift, base_currency: str) -> None:
        self._drift = drift
        self._base_currency = base_currency
        self._courses: dict[tuple[str, int], tuple[DriftReport, Course]] = {}

    def answer(self, window: Window, *, now_ms: int, notices: Sequence[Notice], models: Sequence[ModelSpan]) -> DriftAnswer:
        """Return the whole view."""
        drift, report = self._drift, self._drift.report
        rows = self._rows(window)
        features = sorted((row for row in rows if row.feature != SCORE), key=_place)
        score = next((row for row in rows if row.feature == SCORE), None)
        has_baseline, days = drift.effects.is_enough, max(drift.effects.n_days, n_days(drift))
        last_hour = self._last_hour(window)
        n_rows = last_hour.current.n_rows if last_hour else report.n_rows[window] if report else 0
        end_ms = last_hour.end_ms if last_hour else report.now_hour * HOUR_MS if report else None
        state = _state(features, score, drift.incidents, has_baseline=has_baseline, n_rows=n_rows)
        return DriftAnswer(
            at_ms=now_ms, event_ms=end_ms, window=window, model=drift.shelved.reference,
            base_currency=self._base_currency, state=state,
            sentence=_sentence(features, score, window, n_rows, days, has_baseline=has_baseline), notices=sorted_notices(notices),
            has_baseline=has_baseline, baseline_days=min(days, MIN_DAYS), baseline_days_needed=MIN_DAYS, n_rows=n_rows, score=score,
            together=None, features=features, incidents=drift.incidents, models=models,
        )  # fmt: skip

    def feature(self, name: str, window: Window, *, now_ms: int) -> DriftFeatureAnswer | None:
        """Return one feature opened, None if the model has none of that name."""
        drift, report = self._drift, self._drift.report
        if report is None or name not in drift.shelved.profile.names:
            return None
        row = next(row for row in self._rows(window) if row.feature == name)
        place = drift.shelved.profile.names.index(name)
        return DriftFeatureAnswer(
            at_ms=now_ms, window=window, model=drift.shelved.reference, base_currency=self._base_currency, row=row,
            histogram=self._histogram(place, window, report.now_hour), history=self._history(place, window, row),
            incidents=[incident for incident in drift.incidents if name in incident.features],
        )  # fmt: skip

    def _rows(self, window: Window) -> list[DriftRow]:
        drift, report = self._drift, self._drift.report
        if report is None:
            return []
        last_hour = self._last_hour(window)
        found = {(row.feature, row.reference): row for row in (last_hour or report).features if row.window == window}
        sparks = self._course(window, _N_SPARK).psi
        alarms = {name: incident for incident in drift.incidents if incident.ended_ms is None for name in incident.features}
        return [
            _row(found[name, "training"], found[name, "past"], sparks[:, place], alarms.get(name))
            for place, name in enumerate(drift.shelved.profile.names)
        ]  # fmt: skip

    def _last_hour(self, window: Window) -> LastHour | None:
        """Return the last sixty minutes if the window is shown by them."""
        return self._drift.last_hour if window == "1h" else None

    def _course(self, window: Window, n: int) -> Course:
        drift, report = self._drift, self._drift.report
        assert report is not None
        kept = self._courses.get((window, n))
        if kept is None or kept[0] is not report:
            found = course(drift.hours, drift.shelved.profile, now_hour=report.now_hour, length_h=WINDOWS_H[window], n=n)
            kept = self._courses[window, n] = (report, found)
        return kept[1]

    def _histogram(self, place: int, window: Window, now_hour: int) -> Histogram:
        drift, length_h = self._drift, WINDOWS_H[window]
        profile = drift.shelved.profile
        edges = [edge for edge in profile.edges[place].tolist() if np.isfinite(edge)]
        n_bins = len(edges) + 1
        reference, missing = _shares(profile.counts[place], n_bins)
        counted, earlier = total(drift.hours, window_hours(now_hour, length_h)), total(drift.hours, past_hours(now_hour, length_h))
        if (last_hour := self._last_hour(window)) is not None:
            counted, earlier = last_hour.current, last_hour.past
        current, current_missing = _counted(counted, place, n_bins)
        past, past_missing = _counted(earlier, place, n_bins)
        return Histogram(
            edges=edges, reference=reference or [0.0] * n_bins, current=current, past=past, reference_missing=missing or 0.0,
            current_missing=current_missing, past_missing=past_missing,
        )  # fmt: skip

    def _history(self, place: int, window: Window, row: DriftRow) -> list[DriftPoint]:
        """Return the last week's hours, and the last sixty minutes; limits scale with the number of rows, as noise does."""
        found = self._course(window, WEEK_H)
        last_hour = self._last_hour(window)
        noise = found.noise[:, place]
        newest = 1 / max(row.n_rows * (1 - (row.missing or 0)), 1) if last_hour else noise[-1]
        limits = noise * (row.psi_limit / newest) if row.psi_limit is not None and np.isfinite(newest) else np.full(len(noise), np.nan)
        points = zip(
            found.end_hours.tolist(), found.n_rows.tolist(), known(found.psi[:, place]), known(limits), known(found.missing[:, place]),
            strict=True,
        )  # fmt: skip
        course = [
            DriftPoint(at_ms=hour * HOUR_MS, n_rows=n, psi=psi, psi_limit=limit, missing=missing)
            for hour, n, psi, limit, missing in points if n
        ]  # fmt: skip
        if last_hour:
            now = DriftPoint(at_ms=last_hour.end_ms, n_rows=row.n_rows, psi=row.psi, psi_limit=row.psi_limit, missing=row.missing)
            course.append(now)
        return course


def _place(row: DriftRow) -> tuple[bool, int, float]:
    """Return the place of a feature in the table: the worst first, by importance, those that are not judged at the end."""
    return row.state == "empty", rank(row.state), -(row.importance or 0.0)


def _row(training: FeatureDrift, past: FeatureDrift, spark: NDArray[np.float64], alarm: Incident | None) -> DriftRow:
    name = training.feature
    description, unit = _WORDS.get(name, (name, ""))
    is_judged = training.is_alarmable or past.is_alarmable
    state: State = "well" if is_judged else "empty"
    if training.is_significant or past.is_significant or training.is_missing_significant or past.is_missing_significant:
        state = "attention"
    if alarm is not None:
        state = alarm.state
    return DriftRow(
        feature=name, description=description, unit=unit, importance=None if name == SCORE else training.importance, state=state,
        sentence=_row_sentence(training, past), why_not="" if is_judged else training.why_not or past.why_not, n_rows=training.n_rows,
        psi=_short(training.psi), psi_limit=_short(training.psi_limit), psi_past=_short(past.psi), psi_past_limit=_short(past.psi_limit),
        missing=_short(training.missing_rate), missing_reference=_short(training.missing_rate_reference), js=_short(training.js),
        ks=_short(training.ks), w1=_short(training.w1), spark=known(spark),
    )  # fmt: skip


def _row_sentence(training: FeatureDrift, past: FeatureDrift) -> str:
    if not training.n_rows:
        return "Nothing was counted in this window."
    compared = ((training, "training"), (past, "the same hours of earlier weeks"))
    for row, what in compared:
        now, before = row.missing_rate, row.missing_rate_reference
        if row.is_missing_significant and now is not None and before is not None:
            return f"Missing in {share(now)} of transactions, in {what} in {share(before)}."
    for row, what in compared:
        if row.is_significant and row.psi is not None and row.psi_limit is not None:
            return f"Differs from {what}: PSI {row.psi:.3f}, noise alone reaches {row.psi_limit:.3f}."
    if training.psi is None:
        return "No known value in this window."
    if training.psi_limit is not None:
        return f"As in training, up to noise: PSI {training.psi:.3f}, noise alone reaches {training.psi_limit:.3f}."
    return f"PSI {training.psi:.3f} against training; not judged: {training.why_not or past.why_not or 'no limit yet'}."


def _state(
    features: Sequence[DriftRow], score: DriftRow | None, incidents: Sequence[Incident], *, has_baseline: bool, n_rows: int
) -> State:
    if not n_rows or not has_baseline:
        return "empty"
    open_states = [incident.state for incident in incidents if incident.ended_ms is None]
    states: list[State] = [*open_states, *(row.state for row in features if row.state in {"attention", "alarm"})]
    if score is not None and score.state != "empty":
        states.append(score.state)
    return min(states, key=rank, default="well")


def _sentence(features: Sequence[DriftRow], score: DriftRow | None, window: Window, n_rows: int, days: int, *, has_baseline: bool) -> str:
    span = _SPAN[window]
    if not n_rows:
        return (
            f"Nothing was counted in the last {span} of event time: workers count what they score; "
            "a minute is looked at, and an hour is judged, when it is over."
        )
    counted = f"({n_rows:,} transactions in the last {span} of event time)"
    if not has_baseline:
        served = f"{min(days, MIN_DAYS)} of the {MIN_DAYS} days that set the limits have been served"
        return f"Nothing is judged yet: {served}. What was counted is compared with training {counted}."
    changed = [row.feature for row in features if row.state in {"attention", "alarm"}]
    has_score_changed = score is not None and score.state in {"attention", "alarm"}
    if not changed:
        what = (
            "The score's distribution has changed, no single feature has"
            if has_score_changed
            else "No feature has changed by more than noise"
        )
        return f"{what} {counted}."
    named = ", ".join(changed[:3]) + (f" and {len(changed) - 3} more" if len(changed) > 3 else "")
    have = "has" if len(changed) == 1 else "have"
    too = " The score has changed too." if has_score_changed else ""
    return f"{len(changed)} of {len(features)} features {have} changed: {named} {counted}.{too}"


def _counted(counts: Counts | None, place: int, n_bins: int) -> tuple[list[float] | None, float | None]:
    return (None, None) if counts is None else _shares(counts.bins[place], n_bins)


def _shares(counts: NDArray[np.int64], n_bins: int) -> tuple[list[float] | None, float | None]:
    """Return the share of each bin and of the missing ones among all rows; None where there is none."""
    n = int(counts.sum())
    if not n:
        return None, None
    return [round(share, 5) for share in (counts[:n_bins] / n).tolist()], round(float(counts[N_BINS]) / n, 5)


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 5)
