"""What the view Models answers: what exists, what is on trial, and what is known of one."""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from monitoring.explanation import Threshold
from monitoring.rollout import ComparedDay, Evidence
from monitoring.rollout_windows import TrialWindow
from service.rollout_record import TrialOutcome
from service.web.answers import Answer, BaseCurrency, Sentence, State, TimeMs


class ModelRow(Answer, frozen=True):
    """One model of the registry."""

    model: Annotated[str, Meta(description="name@version")]
    aliases: Sequence[str]
    registered_ms: TimeMs
    trained_from_ms: TimeMs
    trained_to_ms: TimeMs
    n_rows: int
    n_frauds: int
    average_precision: Annotated[float | None, Meta(description="of the ensemble, on the calibration slice")]
    roc_auc: Annotated[float | None, Meta(description="of the ensemble, on the calibration slice")]
    n_workers: Annotated[int, Meta(description="live workers that serve it")]


class ModelEvent(Answer, frozen=True):
    """One line of the registry's history."""

    time_ms: TimeMs
    event: str
    what: Annotated[str, Meta(description="what happened to the model, to stand behind its name")]
    model: Annotated[str, Meta(description="empty: an event of all models")]
    who: Annotated[str, Meta(description="empty: not recorded")]
    why: Annotated[str, Meta(description="empty: not recorded")]


class EvidencePoint(msgspec.Struct, frozen=True, array_like=True):
    """`[day_ms, e_promote, e_roll_back]`: the evidence after a day of event time."""

    day_ms: TimeMs
    e_promote: float
    e_roll_back: float


class TrialAnswer(Answer, frozen=True):
    """A challenger beside the champion, and how they compare."""

    champion: Annotated[str, Meta(description="name@version that it is compared with")]
    model: Annotated[str, Meta(description="name@version of the challenger")]
    mode: Literal["shadow", "canary"]
    percent: Annotated[float, Meta(description="cards that the challenger decides for; 0 in shadow")]
    outcome: Annotated[TrialOutcome, Meta(description="`ended`: by a person, or with another model's promotion")]
    started_ms: TimeMs
    updated_ms: TimeMs
    ended_ms: TimeMs | None
    sentence: Annotated[str, Meta(description="the evidence in words; of one that is over: why it ended")]
    trouble: Annotated[str, Meta(description="why it cannot be compared, or not be ended by itself; empty: nothing")]
    enough: Annotated[float, Meta(description="evidence that decides, for either")]
    most_days: Annotated[int, Meta(description="matured days after which an undecided trial ends")]
    n_waiting: Annotated[int, Meta(description="transactions scored by both whose day has not matured")]
    evidence: Evidence
    days: Annotated[Sequence[ComparedDay], Meta(description="matured days of event time, oldest first")]
    course: Annotated[Sequence[EvidencePoint], Meta(description="one a matured day, oldest first")]
    windows: Annotated[Sequence[TrialWindow], Meta(description="the last five-minute windows, oldest first")]
    harms: Annotated[Sequence[str], Meta(description="what is wrong with each window; empty: nothing, or too few answers to say")]


class ModelsAnswer(Answer, frozen=True):
    """The registry."""

    at_ms: TimeMs
    state: State
    sentence: Sentence
    champion: str | None
    models: Annotated[Sequence[ModelRow], Meta(description="newest first")]
    history: Annotated[Sequence[ModelEvent], Meta(description="newest first")]
    trials: Annotated[Sequence[TrialAnswer], Meta(description="the newest, newest first; the one with the outcome `running` is in force")]


class Importance(Answer, frozen=True):
    """What a feature is worth to the model."""

    feature: str
    description: Sentence
    share: Annotated[float, Meta(description="of the booster's gain, in [0, 1]")]


class ModelAnswer(Answer, frozen=True):
    """One model in full."""

    row: ModelRow
    spec: Annotated[str, Meta(description="fingerprint of the features")]
    policy: Annotated[str, Meta(description="version of the policy in force for it")]
    base_currency: BaseCurrency
    calibration_from_ms: TimeMs
    metrics: Annotated[dict[str, dict[str, float | None]], Meta(description="ensemble, small and each member -> metric -> value")]
    weights: Annotated[dict[str, float], Meta(description="member -> weight in the ensemble")]
    thresholds: Annotated[dict[str, Threshold], Meta(description="tier -> thresholds in force")]
    importance: Annotated[Sequence[Importance], Meta(description="the 20 weightiest features")]
    libraries: dict[str, str]
    card: Annotated[str, Meta(description="the model card, Markdown source")]
    history: Sequence[ModelEvent]
    trials: Annotated[Sequence[TrialAnswer], Meta(description="in which it was the challenger, newest first")]
