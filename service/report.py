"""Gather what a report tells of a span of event time: drift, incidents, quality, models, alerts, gaps.

Each source that is missing is a sentence in its place; the others are told all the same.
"""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from domain.errors import WeirError
from features.archive_files import is_archive
from models.registry_history import CHAMPION
from monitoring.drift_evaluation import evaluate
from monitoring.drift_windows import Window
from monitoring.figures import moment, plural
from monitoring.packed import HOUR_MS
from monitoring.quality import QualityDay
from service.policies import known_policies
from service.quality_log import QualityLog
from service.report_alerts import AlertStatistics, alert_statistics, lost_sentences
from service.settings import Settings
from service.web.drift import DriftView
from service.web.drift_answers import DriftAnswer, Incident, ModelSpan
from service.web.evaluation import ModelDrift
from service.web.hours import FILE, HourLog
from service.web.model_answers import ModelAnswer, ModelsAnswer
from service.web.models import ModelViews
from service.web.shelf import Shelf
from service.wiring import rates_of, registry_of, verifying_key_of

DAY_MS: Final = 24 * HOUR_MS
T = TypeVar("T")
OnProgress = Callable[[float], None]


class Traffic(NamedTuple):
    """What workers counted on one UTC day."""

    day_ms: int
    n_rows: int
    n_alerts: int


class DriftPart(NamedTuple):
    """What changed."""

    answer: DriftAnswer | None
    """Of the model that counted most in the span, at its end."""
    incidents: Sequence[Incident]
    """Of all models, that were open in the span; newest first."""
    traffic: Sequence[Traffic]
    """Days of the span, oldest first."""
    silent: Sequence[str]
    """Hours in which nothing was counted, a sentence for each stretch."""
    problem: str


class QualityPart(NamedTuple):
    """How good the answers were."""

    days: Sequence[QualityDay]
    """Oldest first."""
    sentence: str
    notes: Sequence[str]
    threshold: float | None
    problem: str


class AlertPart(NamedTuple):
    """What the alerts were."""

    statistics: AlertStatistics | None
    lost: Sequence[str]
    problem: str


class ModelPart(NamedTuple):
    """What answered."""

    models: ModelsAnswer
    champion: ModelAnswer | None


class Report(NamedTuple):
    """Everything on the page. Event times in `[from_ms, to_ms)`."""

    from_ms: int
    to_ms: int
    made_ms: int
    """Wall clock."""
    currency: str
    """Base currency, ISO 4217."""
    drift: DriftPart
    quality: QualityPart
    alerts: AlertPart
    models: ModelPart


def gather(settings: Settings, from_ms: int, to_ms: int, *, made_ms: int, on_progress: OnProgress = lambda _: None) -> Report:
    """Return the report of the event times in `[from_ms, to_ms)`; nothing is written but in a temporary folder."""
    registry = registry_of(settings)
    shelf = Shelf(registry, verifying_key_of(settings))
    views = ModelViews(registry, shelf, known_policies(settings), str(registry))
    models = views.all([], made_ms)
    champion = _or_none(lambda: views.one(CHAMPION, [])) if models.champion else None
    on_progress(0.1)
    drift = _drift(settings, shelf, from_ms, to_ms, made_ms)
    on_progress(0.3)
    archive = Path(settings.archive.directory)
    alerts = _alerts(archive, from_ms, to_ms)
    on_progress(0.5)
    threshold = champion.thresholds["full"].review if champion is not None and "full" in champion.thresholds else None
    quality = _quality(settings, archive, from_ms, to_ms, made_ms=made_ms, threshold=threshold)
    on_progress(1.0)
    return Report(from_ms, to_ms, made_ms, settings.features.base_currency, drift, quality, alerts, ModelPart(models, champion))


def _drift(settings: Settings, shelf: Shelf, from_ms: int, to_ms: int, made_ms: int) -> DriftPart:
    path = Path(settings.monitoring.directory) / FILE
    if not path.is_file():
        return DriftPart(None, [], [], [], f"Drift is not known: {path.parent} holds no counters; weir web keeps them while it runs.")
    log = HourLog(path)
    try:
        opened = [_or_none(partial(_opened, model, shelf, log)) for model in log.models()]
        found = [drift for drift in opened if drift is not None]
        known = _in_span(found, from_ms, to_ms)
        unknown = sorted(set(log.models()) - {drift.shelved.reference for drift in found})
    finally:
        log.close()
    incidents = [one for drift in found for one in drift.incidents if one.started_ms < to_ms and (one.ended_ms or to_ms) >= from_ms]
    incidents.sort(key=lambda incident: -incident.started_ms)
    problem = f"What {', '.join(unknown)} counted cannot be judged: the registry does not have it." if unknown else ""
    if not known:
        return DriftPart(None, incidents, [], [], problem or "Nothing was counted in this span: no worker scored, or weir web did not run.")
    by_hour = _by_hour(found, from_ms, to_ms)
    main = max(known, key=lambda drift: sum(n for n, _ in _by_hour([drift], from_ms, to_ms).values()))
    answer = _answer(main, from_ms, to_ms, made_ms=made_ms, currency=settings.features.base_currency)
    return DriftPart(answer, incidents, _traffic(by_hour, from_ms, to_ms), _silent(by_hour), problem)


def _opened(model: str, shelf: Shelf, log: HourLog) -> ModelDrift:
    return ModelDrift(shelf.get(model), log)


def _in_span(found: Sequence[ModelDrift], from_ms: int, to_ms: int) -> list[ModelDrift]:
    return [drift for drift in found if _by_hour([drift], from_ms, to_ms)]


def _answer(drift: ModelDrift, from_ms: int, to_ms: int, *, made_ms: int, currency: str) -> DriftAnswer:
    """Return the drift at the end of the span, over the longest window that lies in it."""
    now_hour = min(-(-to_ms // HOUR_MS), max(drift.hours) + 1)
    shelved = drift.shelved
    drift.report = evaluate(drift.hours, shelved.profile, drift.effects, now_hour=now_hour, importance=shelved.importance)
    n_hours = (to_ms - from_ms) // HOUR_MS
    window: Window = "7d" if n_hours >= 7 * 24 else "24h" if n_hours >= 24 else "1h"
    spans = [ModelSpan(model=shelved.reference, from_ms=min(drift.hours) * HOUR_MS)]
    return DriftView(drift, currency).answer(window, now_ms=made_ms, notices=[], models=spans)


def _by_hour(found: Sequence[ModelDrift], from_ms: int, to_ms: int) -> dict[int, tuple[int, int]]:
    """Return hour -> transactions and alerts, of all models."""
    total: dict[int, tuple[int, int]] = {}
    for drift in found:
        for hour, counts in drift.hours.items():
            if from_ms <= hour * HOUR_MS < to_ms and counts.n_rows:
                n_rows, n_alerts = total.get(hour, (0, 0))
                total[hour] = (n_rows + counts.n_rows, n_alerts + counts.n_alerts)
    return total


def _traffic(by_hour: dict[int, tuple[int, int]], from_ms: int, to_ms: int) -> list[Traffic]:
    days = range(from_ms // DAY_MS * DAY_MS, to_ms, DAY_MS)
    found = []
    for day_ms in days:
        hours = [counts for hour, counts in by_hour.items() if day_ms <= hour * HOUR_MS < day_ms + DAY_MS]
        found.append(Traffic(day_ms, sum(n for n, _ in hours), sum(n for _, n in hours)))
    return found


def _silent(by_hour: dict[int, tuple[int, int]]) -> list[str]:
    """Return the stretches without a transaction between the first and the last hour with one."""
    hours, found = sorted(by_hour), []
    for before, after in pairwise(hours):
        if after - before > 1:
            found.append(
                f"No transaction was counted from {moment((before + 1) * HOUR_MS)} to {moment(after * HOUR_MS)} "
                f"({plural(after - before - 1, 'hour')})."
            )
    return found


def _alerts(archive: Path, from_ms: int, to_ms: int) -> AlertPart:
    if not is_archive(archive):
        return AlertPart(None, [], f"What the alerts said is not known: there is no archive at {archive}; weir archive writes one.")
    try:
        return AlertPart(alert_statistics(archive, from_ms, to_ms), lost_sentences(archive, from_ms, to_ms), "")
    except WeirError as error:
        return AlertPart(None, [], f"What the alerts said is not known: {error}.")


def _quality(settings: Settings, archive: Path, from_ms: int, to_ms: int, *, made_ms: int, threshold: float | None) -> QualityPart:
    if not is_archive(archive):
        problem = f"How good the answers were is not known: there is no archive at {archive}; weir archive writes one."
        return QualityPart([], "", [], threshold, problem)
    # A folder of its own: the one in monitoring.directory belongs to weir web while it runs.
    folder = Path(tempfile.mkdtemp(prefix="weir-report-"))
    try:
        log = QualityLog(archive, folder, rates=rates_of(settings))
        try:
            found = log.refresh(made_ms, threshold=threshold)
        finally:
            log.close()
    except WeirError as error:
        return QualityPart([], "", [], threshold, f"How good the answers were is not known: {error}.")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    days = [day for day in found.days if from_ms // DAY_MS * DAY_MS <= day.day_ms < to_ms]
    problem = "" if days else "The archive holds no answer with an event time in this span."
    return QualityPart(days, found.sentence, found.notes, threshold, problem)


def _or_none(work: Callable[[], T]) -> T | None:
    """Return what `work` returns, None if weir has a reason why not."""
    try:
        return work()
    except WeirError:
        return None
