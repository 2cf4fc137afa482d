"""Every shape of the dashboard's JSON, `/api/v1`; `docs/openapi.json` is generated from them.

Times are UTC, milliseconds since the epoch. Shares and probabilities are in [0, 1]. Money is in minor units. `null` means
"not known", never zero. Every answer that may have nothing to show carries a sentence that says what would fill it and how.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from domain.decision import Outcome
from monitoring.drift_windows import Window
from monitoring.explanation import Threshold
from monitoring.incident_words import Kind, Severity
from monitoring.quality import QualityReport
from monitoring.rollout import ComparedDay, Evidence
from monitoring.rollout_windows import TrialWindow
from service.rollout_record import TrialOutcome

State = Literal["well", "attention", "alarm", "empty"]
"""How something is; `empty`: there is nothing to judge yet."""

TimeMs = Annotated[int, Meta(description="UTC, milliseconds since the epoch")]
Share = Annotated[float, Meta(description="share, in [0, 1]")]
PerSecond = Annotated[float, Meta(description="per second of wall-clock time")]
PerMinute = Annotated[float, Meta(description="per minute of wall-clock time")]
Milliseconds = Annotated[float, Meta(description="ms")]
Minor = Annotated[int, Meta(description="money in minor units")]
Sentence = Annotated[str, Meta(description="one readable sentence")]
BaseCurrency = Annotated[str, Meta(description="ISO 4217 code of the currency that features and money are counted in")]
Href = Annotated[str, Meta(description="address of the view that shows more, relative to the dashboard; empty: none")]


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What every shape is: frozen, all fields by name."""


class Problem(Answer, frozen=True):
    """The body of every answer whose status is not 200."""

    status_code: int
    sentence: Sentence


class Notice(Answer, frozen=True):
    """One finding in words."""

    state: State
    text: Sentence
    href: Href = ""


class StatusAnswer(Answer, frozen=True):
    """Is it well? The first screen's words, the worst first."""

    at_ms: TimeMs
    state: State
    headline: Sentence
    sentences: Sequence[Notice]
    base_currency: BaseCurrency


class Latency(Answer, frozen=True):
    """From the append of a transaction to the delivery of its answer, over the last 10 s; null: nothing was answered."""

    p50: Milliseconds | None
    p99: Milliseconds | None
    p99_limit: Annotated[float, Meta(description="ms that an authorisation has for its score; above it is worth attention")]


class Decisions(Answer, frozen=True):
    """Answers by outcome."""

    approve: PerMinute
    review: PerMinute
    decline: PerMinute


class Worker(Answer, frozen=True):
    """One process that scores."""

    worker: Annotated[str, Meta(description="8 hex digits, new for each process")]
    state: State
    sentence: Annotated[str, Meta(description="what is wrong with it and what to do; empty: nothing")]
    model: Annotated[str, Meta(description="name@version")]
    policy: Annotated[str, Meta(description="version of the thresholds")]
    partitions: Sequence[int]
    rate_per_s: PerSecond | None
    lag: Annotated[int, Meta(description="records that wait")]
    started_ms: TimeMs
    last_seen_ms: TimeMs
    event_ms: Annotated[int, Meta(description="newest event time: UTC, milliseconds since the epoch")] | None
    redis: Literal["ok", "outage"]
    problem: Annotated[str, Meta(description="the watchdog's finding; empty: none")]
    metrics: Annotated[str, Meta(description="address of its /metrics; empty: none")]


class LiveEvent(Answer, frozen=True):
    """The stream as it is this second: event `live` of `/api/v1/events`."""

    at_ms: TimeMs
    state: State
    sentence: Sentence
    notices: Annotated[Sequence[Notice], Meta(description="what is wrong or missing now, the worst first")]
    rate_per_s: Annotated[float, Meta(description="transactions per second over the last 5 s")] | None
    latency_ms: Latency
    decisions: Annotated[Decisions, Meta(description="over the last minute")]
    tiers: Annotated[dict[str, float], Meta(description="tier -> answers per minute, over the last minute")]
    flags: Annotated[dict[str, float], Meta(description="flag -> answers per minute, over the last minute")]
    labels_per_min: PerMinute
    dead_letters_per_min: PerMinute
    lag: Annotated[int, Meta(description="records that wait, of all workers")] | None
    event_ms: Annotated[int, Meta(description="newest event time: UTC, milliseconds since the epoch")] | None
    workers: Sequence[Worker]


class RatePoint(msgspec.Struct, frozen=True, array_like=True):
    """`[at_ms, transactions per second]`."""

    at_ms: TimeMs
    per_s: PerSecond | None


class LatencyPoint(msgspec.Struct, frozen=True, array_like=True):
    """`[at_ms, p50, p99]`."""

    at_ms: TimeMs
    p50: Milliseconds | None
    p99: Milliseconds | None


class AlertReason(Answer, frozen=True):
    """Why a transaction became an alert."""

    code: str
    text: Sentence
    contribution: Annotated[float, Meta(description="share in the score, in log-odds")]


class AlertAnswer(Answer, frozen=True):
    """One transaction that was marked for review or declined: event `alert` of `/api/v1/events`."""

    transaction_id: str
    card_id: Annotated[str, Meta(description="token of the card; card numbers are masked")]
    at_ms: TimeMs
    event_time_ms: TimeMs
    amount_minor: Minor
    currency: str
    amount: Annotated[str, Meta(description="the amount as people read it, as in `1,234.56 EUR`")]
    merchant_id: str
    decision: Outcome
    probability: Share
    model: str
    tier: str
    flags: Sequence[str]
    reasons: Annotated[Sequence[AlertReason], Meta(description="the strongest first")]
    rule: Annotated[str | None, Meta(description="the list or limit that decided, if one did")] = None


class LiveAnswer(LiveEvent, frozen=True):
    """What the event `live` says, with the past: the last 10 minutes and the last 50 alerts."""

    rate_history: Annotated[Sequence[RatePoint], Meta(description="one a second, oldest first")]
    latency_history: Annotated[Sequence[LatencyPoint], Meta(description="one a second, oldest first")]
    alerts: Annotated[Sequence[AlertAnswer], Meta(description="at most 50, newest first")]


class Incident(Answer, frozen=True):
    """One alarm from its beginning to its end: also the event `incident` of `/api/v1/events`."""

    id: str
    kind: Kind
    state: Annotated[State, Meta(description="its severity while it lasts, then `well`")]
    features: Annotated[tuple[str, ...], Meta(description="by importance")]
    model: str
    started_ms: TimeMs
    ended_ms: TimeMs | None
    severity: Severity
    sentence: Sentence
    advice: Sentence
    runbook: Annotated[str, Meta(description="where the runbook says what to do, as `docs/drift.md#...`")]


class ModelSpan(Answer, frozen=True):
    """A model began to serve."""

    model: str
    from_ms: TimeMs


class DriftRow(Answer, frozen=True):
    """One feature (or the score) over one window, against training and against the same hours of earlier weeks."""

    feature: str
    description: Sentence
    unit: str
    importance: Annotated[float, Meta(description="share of the model's gain, in [0, 1]")] | None
    state: State
    sentence: Sentence
    why_not: Annotated[str, Meta(description="why it cannot raise an alarm; empty: it can")]
    n_rows: int
    psi: Annotated[float, Meta(description="population stability index against training")] | None
    psi_limit: Annotated[float, Meta(description="what noise alone reaches")] | None
    psi_past: Annotated[float, Meta(description="PSI against the same hours of the last 4 weeks")] | None
    psi_past_limit: float | None
    missing: Share | None
    missing_reference: Share | None
    js: Annotated[float, Meta(description="Jensen-Shannon divergence against training, in bits")] | None
    ks: Annotated[float, Meta(description="Kolmogorov-Smirnov distance against training, over the bins")] | None
    w1: Annotated[float, Meta(description="Wasserstein-1 distance against training, in bins")] | None
    spark: Annotated[Sequence[float | None], Meta(description="PSI of the last 24 evaluations, oldest first")]


class TogetherAnswer(Answer, frozen=True):
    """All features at once: the archived vectors of 24 hours of event time against earlier ones. It is never an alarm by itself.

    Features that follow the clock or grow for ever are left out. Intervals are of 95 %, for independent transactions. What is usual is
    the most that one of the earlier days reaches against the others.
    """

    state: Annotated[State, Meta(description="never `alarm`")]
    sentence: Sentence
    advice: Annotated[str, Meta(description="what is missing and how it comes; empty: nothing")]
    event_ms: Annotated[int, Meta(description="end of the 24 hours in event time: UTC, milliseconds since the epoch")] | None
    n_recent: Annotated[int, Meta(description="vectors of the 24 hours that were looked at")]
    n_earlier: Annotated[int, Meta(description="earlier vectors that were looked at")]
    auc: Annotated[float, Meta(description="how well a classifier tells them apart: 0.5 = not at all, 1 = always")] | None
    auc_low: float | None
    auc_high: float | None
    auc_usual: Annotated[float, Meta(description="null: there are fewer than two earlier days")] | None
    told_by: Annotated[Sequence[str], Meta(description="features by which it tells, the strongest first")]
    error_now: Annotated[float, Meta(description="mean squared reconstruction error, in variances of a feature")] | None
    error_before: Annotated[float, Meta(description="that of earlier transactions")] | None
    error_ratio_low: Annotated[float, Meta(description="of `error_now / error_before`")] | None
    error_ratio_high: float | None
    error_ratio_usual: Annotated[float, Meta(description="null: there are fewer than two earlier days")] | None


class DriftAnswer(Answer, frozen=True):
    """What changed: every feature over one window of event time."""

    at_ms: TimeMs
    event_ms: TimeMs | None
    window: Window
    model: Annotated[str, Meta(description="whose inputs these are; empty: none is known")]
    base_currency: BaseCurrency
    state: State
    sentence: Sentence
    notices: Sequence[Notice]
    has_baseline: Annotated[bool, Meta(description="whether enough served days set the noise limits; else nothing alarms")]
    baseline_days: float
    baseline_days_needed: int
    n_rows: Annotated[int, Meta(description="transactions in the window")]
    score: DriftRow | None
    together: Annotated[TogetherAnswer | None, Meta(description="the same for every window; null: not looked at, as in a report")]
    features: Annotated[Sequence[DriftRow], Meta(description="the worst first, then by importance; those not judged last")]
    incidents: Annotated[Sequence[Incident], Meta(description="newest first")]
    models: Annotated[Sequence[ModelSpan], Meta(description="when which model began to serve, oldest first")]


class DriftPoint(Answer, frozen=True):
    """One evaluation of one feature."""

    at_ms: Annotated[int, Meta(description="end of the window in event time: UTC, milliseconds since the epoch")]
    n_rows: int
    psi: float | None
    psi_limit: float | None
    missing: Share | None


class Histogram(Answer, frozen=True):
    """Shares by bin. Bin i holds `edges[i - 1] < x <= edges[i]`; the first and the last one are open."""

    edges: Annotated[Sequence[float], Meta(description="one fewer than bins, ascending, in the feature's unit")]
    reference: Annotated[Sequence[float], Meta(description="training: share of each bin")]
    current: Annotated[Sequence[float] | None, Meta(description="the window")]
    past: Annotated[Sequence[float] | None, Meta(description="the same hours of the last 4 weeks")]
    reference_missing: Share
    current_missing: Share | None
    past_missing: Share | None


class DriftFeatureAnswer(Answer, frozen=True):
    """One feature opened."""

    at_ms: TimeMs
    window: Window
    model: str
    base_currency: BaseCurrency
    row: DriftRow
    histogram: Histogram
    history: Annotated[Sequence[DriftPoint], Meta(description="one an hour of event time over 7 days, oldest first")]
    incidents: Sequence[Incident]


class QualityAnswer(Answer, frozen=True):
    """How good the model really is, given that labels come late."""

    at_ms: TimeMs
    has_archive: bool
    state: State
    sentence: Sentence
    advice: Annotated[str, Meta(description="what would fill the view and how; empty: it is filled")]
    currency: BaseCurrency
    currency_digits: Annotated[int, Meta(description="digits after the point: minor units of one major unit are 10 ** this")]
    threshold: Annotated[float | None, Meta(description="the champion's threshold for review (tier full)")]
    report: Annotated[QualityReport | None, Meta(description="null: nothing can be said yet; `advice` says what is missing")]


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
