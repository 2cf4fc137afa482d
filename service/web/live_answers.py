"""What the view Live answers, and what its stream sends."""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from domain.decision import Outcome
from service.web.answers import Answer, Milliseconds, Minor, Notice, PerMinute, PerSecond, Sentence, Share, State, TimeMs


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
