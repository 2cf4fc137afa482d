"""From evaluations to incidents: one cause is one incident, and one incident is one alarm.

A pure state machine: the same reports in the same order give the same incidents, wherever the state was kept between.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from monitoring.concept import ConceptChange
from monitoring.drift_report import DriftReport
from monitoring.drift_windows import WINDOWS_H
from monitoring.incident_words import Kind, Severity, Words
from monitoring.packed import HOUR_MS
from monitoring.profile import SCORE

NEEDED_WINDOWS: Final = 2
"""Of the last 3 windows that do not overlap, so many must show the change."""
OF_WINDOWS: Final = 3
COOLDOWN_H: Final = 72
"""An incident ends, and its features may alarm anew, when all of them have been quiet for so long."""
JOIN_H: Final = 168
"""Another feature that alarms so soon after an incident's last one joins it: slow windows see the same cause later."""
RUNBOOK: Final[Mapping[Kind, str]] = {
    "feature_drift": "docs/drift.md#a-feature-has-drifted",
    "missing": "docs/drift.md#a-field-is-missing",
    "score_drift": "docs/drift.md#the-score-has-drifted",
    "alert_rate": "docs/drift.md#the-alert-rate-has-changed",
    "concept": "docs/drift.md#alerts-are-right-less-often",
}


class Mark(msgspec.Struct, frozen=True):
    """One test that is being watched, and when it was significant."""

    kind: Kind
    feature: str
    length_h: int
    reference: str
    hours: tuple[int, ...]
    """Hours whose evaluation was significant, ascending; the last OF_WINDOWS windows only."""


class OpenIncident(msgspec.Struct, frozen=True):
    """An incident that has not ended."""

    id: str
    kind: Kind
    started_hour: int
    joined_hour: int
    """When the last feature joined."""
    last_seen: Mapping[str, int]
    """Last alarming hour of each feature."""
    severity: Severity
    sentence: str
    advice: str


class Incidents(msgspec.Struct, frozen=True):
    """The whole state, as JSON or MessagePack as you like; begin with `Incidents()` for each model."""

    last_hour: int = -1
    marks: tuple[Mark, ...] = ()
    is_open: tuple[OpenIncident, ...] = ()
    concept_ms: int = -1
    """Event time of the newest change of concept that has alarmed."""


class IncidentEvent(msgspec.Struct, frozen=True):
    """An incident began, grew, or ended; `id` says which, and the newest event of an id tells all of it."""

    id: str
    kind: Kind
    features: tuple[str, ...]
    """By importance."""
    started_ms: int
    """Event time of the evaluation that raised the alarm."""
    ended_ms: int | None
    severity: Severity
    sentence: str
    advice: str
    runbook: str


def fold(
    state: Incidents, report: DriftReport, now_hour: int, *, concept: ConceptChange | None = None
) -> tuple[Incidents, list[IncidentEvent]]:
    """Return the state after one evaluation, and what happened to incidents.

    An alarm needs a significant difference in NEEDED_WINDOWS of the last OF_WINDOWS windows that do not overlap, so a
    day's window alarms a day after its first sign. Fold the evaluation of every hour, in order: an hour that was not
    evaluated counts as not significant. An hour folded already changes nothing.

    Args:
        state: What the last fold returned; `Incidents()` at the beginning of each model.
        report: The evaluation at `now_hour`.
        now_hour: Hours since the epoch.
        concept: The newest change of concept by now, if any; each alarms once.
    """
    if now_hour <= state.last_hour:
        return state, []
    marks = _marked(state.marks, report, now_hour)
    alarming = {(mark.kind, mark.feature) for mark in marks if _is_alarming(mark, now_hour)}
    concept_ms = state.concept_ms
    if concept is not None and concept.time_ms > concept_ms:
        concept_ms = concept.time_ms
        alarming.add(("concept", ""))
    words = Words(report, concept)
    still_open, events = _continued(state.is_open, alarming, now_hour)
    for kind in RUNBOOK:
        known = {feature for incident in still_open if incident.kind == kind for feature in incident.last_seen}
        features = {feature for its_kind, feature in alarming if its_kind == kind} - known
        if features:
            incident = _joined(still_open, kind, features, now_hour) or _begun(kind, features, now_hour)
            incident = msgspec.structs.replace(incident, **words.tell(kind, tuple(incident.last_seen)))
            still_open = [*(other for other in still_open if other.id != incident.id), incident]
            events.append(_event(incident, words.by_importance(incident.last_seen), None))
    return Incidents(now_hour, marks, tuple(still_open), concept_ms), events


def _marked(marks: Sequence[Mark], report: DriftReport, now_hour: int) -> tuple[Mark, ...]:
    """Return the marks with those of this report, without what is too old to count."""
    found = {(mark.kind, mark.feature, mark.length_h, mark.reference): mark.hours for mark in marks}
    for key in _significant(report):
        found[key] = (*found.get(key, ()), now_hour)
    kept = {key: tuple(hour for hour in hours if hour > now_hour - OF_WINDOWS * key[2]) for key, hours in found.items()}
    return tuple(Mark(*key, hours) for key, hours in kept.items() if hours)


def _significant(report: DriftReport) -> list[tuple[Kind, str, int, str]]:
    found: list[tuple[Kind, str, int, str]] = []
    for row in report.features:
        length_h = WINDOWS_H[row.window]
        if row.is_significant:
            found.append(("score_drift" if row.feature == SCORE else "feature_drift", row.feature, length_h, row.reference))
        if row.is_missing_significant:
            found.append(("missing", row.feature, length_h, row.reference))
    found += [("alert_rate", "", WINDOWS_H[rate.window], "past") for rate in report.alert_rate if rate.is_significant]
    return found


def _is_alarming(mark: Mark, now_hour: int) -> bool:
    return sum(now_hour - k * mark.length_h in mark.hours for k in range(OF_WINDOWS)) >= NEEDED_WINDOWS


def _continued(
    incidents: Sequence[OpenIncident], alarming: set[tuple[Kind, str]], now_hour: int
) -> tuple[list[OpenIncident], list[IncidentEvent]]:
    """Return the incidents that go on, and the events of those that end."""
    still_open, events = [], []
    for before in incidents:
        seen = {feature: now_hour if (before.kind, feature) in alarming else hour for feature, hour in before.last_seen.items()}
        incident = msgspec.structs.replace(before, last_seen=seen)
        if max(seen.values()) > now_hour - COOLDOWN_H:
            still_open.append(incident)
        else:
            events.append(_event(incident, tuple(name for name in seen if name), max(seen.values()) * HOUR_MS))
    return still_open, events


def _joined(incidents: Sequence[OpenIncident], kind: Kind, features: set[str], now_hour: int) -> OpenIncident | None:
    """Return the newest incident of the kind with the features, if it is not too old for them."""
    for incident in sorted(incidents, key=lambda one: -one.started_hour):
        if incident.kind == kind and now_hour - incident.joined_hour <= JOIN_H:
            seen = {**incident.last_seen, **dict.fromkeys(sorted(features), now_hour)}
            return msgspec.structs.replace(incident, joined_hour=now_hour, last_seen=seen)
    return None


def _begun(kind: Kind, features: set[str], now_hour: int) -> OpenIncident:
    # The same hour and kind give the same id: a record of it that is written twice is one.
    seen = dict.fromkeys(sorted(features), now_hour)
    return OpenIncident(f"{kind}-{now_hour}", kind, now_hour, now_hour, seen, "attention", "", "")


def _event(incident: OpenIncident, features: tuple[str, ...], ended_ms: int | None) -> IncidentEvent:
    return IncidentEvent(
        incident.id, incident.kind, features, incident.started_hour * HOUR_MS, ended_ms, incident.severity, incident.sentence,
        incident.advice, RUNBOOK[incident.kind],
    )  # fmt: skip
