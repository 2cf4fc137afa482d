"""What a worker says of itself every second, and what all of them together make: the fleet."""

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec


class VariantCount(msgspec.Struct, frozen=True):
    """First answers of one model in one part, cumulative since the worker's start."""

    variant: str
    """`champion` or `challenger`: it decided; `shadow`: it was only asked, beside the model that decided."""
    model: str
    """`name@version`."""
    n: int
    n_alerts: int
    """Reviewed or declined; in the shadow: what it would have."""
    n_not_full: int
    """Answered in another tier than `full`."""


class WorkerState(msgspec.Struct, frozen=True, kw_only=True):
    """One worker as it is now. Counters are cumulative since its start; times are UTC, ms since the epoch, on its clock."""

    worker: str
    """8 hex digits, new for each process: what it counts is never continued by another."""
    at_ms: int
    started_ms: int
    model: str
    """`name@version`."""
    spec: str
    """Feature fingerprint."""
    policy: str
    """Version of the policy that decides."""
    partitions: Sequence[int]
    """Of the transactions, assigned now."""
    lag: int
    """Transactions that wait in these partitions."""
    event_ms: int
    """Newest event time among the answers; 0: none yet."""
    transactions: int
    """First answers: without duplicates and without what was answered again after a crash."""
    labels: int
    """Labels consumed."""
    decisions: Mapping[str, int]
    """`outcome:tier` -> first answers."""
    flags: Mapping[str, int]
    """Name of the flag -> answers that carry it, duplicates among them."""
    dead_letters: int
    latency_edges_s: Sequence[float]
    """Upper edges of the buckets, ascending: from the append of a transaction to the delivery of its answer."""
    latency_counts: Sequence[int]
    """Answers in each bucket, one more than edges: the last is open."""
    redis: Literal["ok", "outage"]
    problem: str
    """The watchdog's finding, or why nothing is consumed, in one sentence; empty: none."""
    metrics: str
    """`http://host:port` of `/metrics` and `/healthz`."""
    challenger: str = ""
    """`name@version` of the model on trial; empty: none is loaded."""
    variants: tuple[VariantCount, ...] = ()
