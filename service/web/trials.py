"""Trials as the Models page shows them: what was compared, day by day, and what followed from it."""

from collections.abc import Iterable

from domain.errors import ModelError
from models.registry import Registry
from monitoring.rollout import COMPARED_DAYS, evidence_of
from monitoring.rollout_windows import found_harm
from monitoring.sequential import ENOUGH
from service.rollout_record import TrialRecord, read_trials
from service.web.model_answers import EvidencePoint, TrialAnswer


def trials_of(registry: Registry, models: Iterable[str], trouble: str) -> list[TrialAnswer]:
    """Return the trials of some models, newest first.

    Args:
        registry: Beside whose bundles they stand.
        models: `name@version` of challengers.
        trouble: Why the one in force needs somebody; empty: it does not.
    """
    records: list[TrialRecord] = []
    for model in models:
        try:
            records += read_trials(registry.beside(model))
        except ModelError:  # collected in the meantime
            continue
    newest_first = sorted(records, key=lambda record: record.started_ms, reverse=True)
    return [trial_answer(record, trouble if record.outcome == "running" else "") for record in newest_first]


def trial_answer(record: TrialRecord, trouble: str) -> TrialAnswer:
    """Return one trial."""
    course = []
    for n_days, day in enumerate(record.days, start=1):
        found = evidence_of(record.days[:n_days])
        course.append(EvidencePoint(day.day_ms, found.e_promote, found.e_roll_back))
    return TrialAnswer(
        champion=record.champion, model=record.model, mode=record.mode, percent=record.percent, outcome=record.outcome,
        started_ms=record.started_ms, updated_ms=record.updated_ms, ended_ms=record.ended_ms, sentence=record.sentence, trouble=trouble,
        enough=ENOUGH, most_days=COMPARED_DAYS, n_waiting=record.n_waiting, evidence=record.evidence, days=record.days, course=course,
        windows=record.windows, harms=[found_harm(window) for window in record.windows],
    )  # fmt: skip
