"""One model's drift: its hours, what they are measured against, the last report and the incidents."""

from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import msgspec
import numpy as np
import structlog

from monitoring.concept import ConceptChange
from monitoring.design_effect import DesignEffects, estimate
from monitoring.drift_evaluation import compare, evaluate
from monitoring.drift_report import DriftReport, FeatureDrift
from monitoring.drift_windows import past_hours, total
from monitoring.incidents import IncidentEvent, Incidents, fold
from monitoring.packed import HOUR_MS, MINUTE_MS, Counts
from service.web.drift_answers import Incident
from service.web.hours import FILE, KEPT_H, HourLog
from service.web.minutes import MINUTES, Minutes
from service.web.shelf import Shelved

_MOST_CAUGHT_UP_H = 168
"""Hours that are evaluated one by one after a pause; earlier ones are too old to alarm anybody."""
_EFFECTS, _INCIDENTS = "effects", "incidents"
_MOST_INCIDENTS = 200
_log = structlog.get_logger()


class _Folded(msgspec.Struct, frozen=True):
    """What is kept between two runs."""

    state: Incidents
    incidents: list[Incident]
    """Newest word of each, oldest first."""


class LastHour(NamedTuple):
    """The sixty minutes before `end_minute`, looked at while their hour still runs: shown, and never folded into incidents."""

    end_minute: int
    """Since the epoch; the window is half-open."""
    current: Counts
    past: Counts
    """The hours that it touches, of the last weeks."""
    features: list[FeatureDrift]

    @property
    def end_ms(self) -> int:
        """Return the end of the window in event time."""
        return self.end_minute * MINUTE_MS


class ModelDrift:
    """Kept in an `HourLog`: a restart goes on where the last run was. Used from one thread at a time."""

    def __init__(self, shelved: Shelved, log: HourLog) -> None:
        self.shelved = shelved
        self._log = log
        shape = shelved.profile.counts.shape
        self.hours = {hour: counts for hour, counts in log.read(shelved.reference).items() if counts.bins.shape == shape}
        self.effects = _kept_effects(log, shelved)
        self._folded = _kept_incidents(log, shelved.reference)
        self._measured_day = -1
        self.concept: ConceptChange | None = None
        """The newest change of the share of right alerts; it alarms with the next evaluation."""
        self.report: DriftReport | None = None
        self._is_outdated = False
        """An hour that the report looked at has grown since."""
        self.last_hour: LastHour | None = None
        """None: the report's own hour is as new, or minutes were not counted."""
        self._minutes = Minutes(shape)

    @property
    def incidents(self) -> list[Incident]:
        """The newest word of each incident, newest first."""
        return sorted(self._folded.incidents, key=lambda incident: (incident.started_ms, incident.id), reverse=True)

    def put(self, worker: str, hours: dict[int, bytes]) -> None:
        """Take a worker's hours."""
        reference, shape = self.shelved.reference, self.shelved.profile.counts.shape
        self._log.put(reference, worker, hours)
        self.hours |= {h: counts for h, counts in self._log.read(reference, hours).items() if counts.bins.shape == shape}
        self._is_outdated |= self.report is not None and any(hour < self.report.now_hour for hour in hours)

    def put_minutes(self, worker: str, minutes: dict[int, bytes]) -> None:
        """Take a worker's minutes; its hours first, which tell whether the minutes are whole."""
        self._minutes.put(worker, minutes)

    def look(self, end_minute: int) -> bool:
        """Look at the sixty minutes before `end_minute`; return whether there is anything new. Not before the first report."""
        if self.report is None or (self.last_hour is not None and self.last_hour.end_minute >= end_minute):
            return False
        before, self.last_hour = self.last_hour, None
        if end_minute <= self.report.now_hour * MINUTES:
            return before is not None
        current = self._minutes.last_hour(end_minute, lambda hour: self.hours[hour].n_rows if hour in self.hours else 0)
        if current is None:
            return before is not None
        profile = self.shelved.profile
        end_hour = -(-end_minute // MINUTES)
        past = total(self.hours, past_hours(end_hour, 1 + (end_minute % MINUTES > 0))) or Counts(0, 0, np.zeros_like(profile.counts))
        rows = compare("1h", current, past, profile, self.effects, importance=self.shelved.importance)
        self.last_hour = LastHour(end_minute, current, past, rows)
        return True

    def next_hour(self, now_hour: int) -> int | None:
        """Return the hour that is to be evaluated next, None if all before `now_hour` have been; `now_hour` is the last one."""
        last = self._folded.state.last_hour
        if self.report is not None and self.report.now_hour >= now_hour:
            return None
        return now_hour if last >= now_hour else max(last + 1, now_hour - _MOST_CAUGHT_UP_H) if last >= 0 else now_hour

    def advance(self, now_hour: int) -> list[Incident]:
        """Evaluate the windows that end before `now_hour`; return the incidents that began, grew or ended."""
        self._measure(now_hour)
        self.report = self._evaluated(now_hour)
        state, events = fold(self._folded.state, self.report, now_hour, concept=self.concept)
        news = [self._incident(event) for event in events]
        by_id = {incident.id: incident for incident in [*self._folded.incidents, *news]}
        self._folded = _Folded(state, list(by_id.values())[-_MOST_INCIDENTS:])
        self._log.keep(self.shelved.reference, _INCIDENTS, msgspec.json.encode(self._folded))
        self._forget(now_hour)
        return news

    def renew(self) -> bool:
        """Evaluate the report's hour again if something was counted late, as partitions that lag behind do; return whether it was.

        Incidents keep to what was known when the hour was over.
        """
        if self.report is None or not self._is_outdated:
            return False
        self.report = self._evaluated(self.report.now_hour)
        return True

    def _evaluated(self, now_hour: int) -> DriftReport:
        self._is_outdated = False
        return evaluate(self.hours, self.shelved.profile, self.effects, now_hour=now_hour, importance=self.shelved.importance)

    def _measure(self, now_hour: int) -> None:
        """Measure the design effects at the end of each day until there are days enough; then they hold."""
        if self.effects.is_enough or now_hour // 24 == self._measured_day:
            return
        self._measured_day = now_hour // 24
        window = self.shelved.manifest.window
        complete = {hour: counts for hour, counts in self.hours.items() if hour < now_hour // 24 * 24}
        self.effects = estimate(
            complete, self.shelved.profile, training_hours=range(window.from_ms // HOUR_MS, -(-window.to_ms // HOUR_MS))
        )  # fmt: skip
        if self.effects.is_enough:
            self._log.keep(self.shelved.reference, _EFFECTS, self.effects.encode())

    def _forget(self, now_hour: int) -> None:
        if now_hour % 24 == 0:
            oldest = now_hour - KEPT_H
            self._log.forget(self.shelved.reference, oldest)
            self.hours = {hour: counts for hour, counts in self.hours.items() if hour >= oldest}

    def _incident(self, event: IncidentEvent) -> Incident:
        model = self.shelved.reference
        return Incident(
            id=f"{model}:{event.id}", kind=event.kind, state=event.severity if event.ended_ms is None else "well", features=event.features,
            model=model, started_ms=event.started_ms, ended_ms=event.ended_ms, severity=event.severity, sentence=event.sentence,
            advice=event.advice, runbook=event.runbook,
        )  # fmt: skip


def _kept_effects(log: HourLog, shelved: Shelved) -> DesignEffects:
    """Return the design effects that were kept; unknown ones, to be measured again, if an older version kept them otherwise."""
    content = log.kept(shelved.reference, _EFFECTS)
    if content is not None:
        found = decoded_effects(content)
        if found is not None and found.names == shelved.profile.names:
            return found
        _log.warning("effects_unreadable", model=shelved.reference)
    return DesignEffects.unknown(shelved.profile)


def _kept_incidents(log: HourLog, model: str) -> _Folded:
    """Return the incidents that were kept; none if an older version kept them otherwise."""
    content = log.kept(model, _INCIDENTS)
    if content is not None:
        try:
            return msgspec.json.decode(content, type=_Folded)
        except msgspec.DecodeError as error:
            _log.warning("incidents_unreadable", model=model, error=str(error))
    return _Folded(Incidents(), [])


def keep_effects(directory: Path, model: str, effects: DesignEffects) -> None:
    """Keep what sets a model's noise limits from now on, in the folder `monitoring.directory` of a dashboard that does not run."""
    log = HourLog(directory / FILE)
    log.keep(model, _EFFECTS, effects.encode())
    log.close()


def decoded_effects(content: bytes) -> DesignEffects | None:
    """Return the design effects that were encoded; None if another version did or it is nothing of the kind."""
    try:
        return DesignEffects.decode(content)
    except (ValueError, KeyError, TypeError, OSError, BadZipFile):
        return None


def n_days(drift: ModelDrift) -> int:
    """Return the number of days (UTC) of which something was counted."""
    return len({hour // 24 for hour in drift.hours})


def newest_hour(drift: ModelDrift) -> int | None:
    """Return the newest hour of which something was counted."""
    return max(drift.hours, default=None)
