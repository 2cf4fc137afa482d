"""What the view Drift answers: features, incidents, and several features at once."""

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from monitoring.drift_windows import Window
from monitoring.incident_words import Kind, Severity
from service.web.answers import Answer, BaseCurrency, Notice, Sentence, Share, State, TimeMs


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
