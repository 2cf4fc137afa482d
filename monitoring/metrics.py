"""Every Prometheus metric of a worker; the only importer of prometheus_client.

Children are looked up once, here: the hot path increments what it was given. Latencies are observed a chunk at a time.
"""

import threading
from collections.abc import Iterator, Mapping
from typing import Final, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from domain.decision import Flag, Outcome, Tier
from domain.errors import CardNumberRejected, InvalidRecord, MalformedRecord, UnknownTransaction

AGAIN: Final = ("pending", "applied", "repeated", "restated")
"""What became of a transaction that came again after its answer: nothing yet, for the outage goes on; it was applied and the
answer stands; the recorded answer was sent again; the answer is another one now."""
VARIANTS: Final = ("champion", "challenger", "shadow")
"""Who answers, and who is only asked."""
STAGES: Final = ("decode", "observe", "fold", "score", "decide", "publish")
"""The way of a transaction; each stage is timed per chunk."""
_ERRORS: Final = tuple(error.__name__ for error in (MalformedRecord, InvalidRecord, CardNumberRejected, UnknownTransaction))
_LATENCY_S: Final = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)
_STAGE_S: Final = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5)
_LABEL_DELAY_S: Final = tuple(hours * 3_600 for hours in (1, 6, 24, 48, 72, 120, 168, 336, 504, 720, 1_080, 1_440, 2_160))
_CHUNK_RECORDS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


class ChunkHistogram(Collector):
    """A histogram that observes many values at once, a hundred times cheaper a value than prometheus_client's own."""

    def __init__(self, name: str, help_text: str, buckets: tuple[float, ...], registry: CollectorRegistry) -> None:
        self._name = name
        self._help = help_text
        self._edges = np.array(buckets, dtype=np.float64)
        self._counts = np.zeros(len(buckets) + 1, dtype=np.int64)
        self._sum = 0.0
        self._lock = threading.Lock()
        registry.register(self)

    def observe(self, values: ArrayLike) -> None:
        """Count `values`, any number of them, in the metric's unit. A value on an edge counts below it."""
        found: NDArray[np.float64] = np.asarray(values, dtype=np.float64)
        counts = np.bincount(np.searchsorted(self._edges, found, side="left"), minlength=len(self._counts))
        with self._lock:
            self._counts += counts
            self._sum += float(found.sum())

    @property
    def edges(self) -> list[float]:
        """Upper edges of the buckets, ascending."""
        found: list[float] = self._edges.tolist()
        return found

    def counts(self) -> list[int]:
        """Return how many values each bucket holds, one more than edges: the last is open."""
        with self._lock:
            found: list[int] = self._counts.tolist()
        return found

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Give the current state, as prometheus_client asks for it."""
        with self._lock:
            cumulative, total = np.cumsum(self._counts), self._sum
        edges = [*(f"{edge:g}" for edge in self._edges), "+Inf"]
        buckets = [(edge, float(count)) for edge, count in zip(edges, cumulative, strict=True)]
        yield HistogramMetricFamily(self._name, self._help, buckets=buckets, sum_value=total)


class Total(Collector):
    """A counter that is kept elsewhere and shown here as of the last `set`."""

    def __init__(self, name: str, help_text: str, registry: CollectorRegistry) -> None:
        self._name = name
        self._help = help_text
        self._total = 0.0
        registry.register(self)

    def set(self, total: float) -> None:
        """Show `total`, which never falls while the process lives."""
        self._total = total

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Give the current state, as prometheus_client asks for it."""
        yield CounterMetricFamily(self._name, self._help, value=self._total)


def count_of(counter: Counter) -> int:
    """Return what a counter, or one of its children, has counted."""
    return int(next(sample.value for metric in counter.collect() for sample in metric.samples if sample.name.endswith("_total")))


class Metrics:
    """The metrics of one worker, in a registry of their own."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        ProcessCollector(namespace="weir", registry=registry)

        self.transactions = Counter("weir_transactions", "Transactions consumed.", registry=registry)
        self.labels = Counter("weir_labels", "Labels consumed.", registry=registry)
        self.labels_applied = Counter("weir_labels_applied", "Labels that changed the features.", registry=registry)
        self.label_delay = Histogram(
            "weir_label_delay_seconds",
            "From a transaction to its label that changed the features.",
            buckets=_LABEL_DELAY_S,
            registry=registry,
        )
        decisions = Counter("weir_decisions", "Answers by outcome and by the tier that gave them.", ["outcome", "tier"], registry=registry)
        self.decisions = {(outcome, tier): decisions.labels(outcome, tier.value) for outcome in get_args(Outcome) for tier in Tier}
        """(outcome, tier) -> counter."""
        flags = Counter("weir_flags", "Answers that carry a flag (late, future, ...).", ["flag"], registry=registry)
        self.flags = {flag: flags.labels(flag.value) for flag in Flag}
        """Flag -> counter."""
        answers = Counter(
            "weir_variant_answers", "First answers by who gave them, or was only asked (shadow).", ["variant"], registry=registry
        )
        self.variant_answers = {variant: answers.labels(variant) for variant in VARIANTS}
        """One of VARIANTS -> counter."""
        alerts = Counter("weir_variant_alerts", "Alerts among them; of the shadow: what would be one.", ["variant"], registry=registry)
        self.variant_alerts = {variant: alerts.labels(variant) for variant in VARIANTS}
        """One of VARIANTS -> counter."""
        again = Counter("weir_again", "Transactions that came again after their answer, by what became of it.", ["how"], registry=registry)
        self.again = {how: again.labels(how) for how in AGAIN}
        """One of AGAIN -> counter."""
        dead = Counter("weir_dead_letters", "Rejected records by kind and error.", ["kind", "error"], registry=registry)
        self.dead_letters = {(kind, error): dead.labels(kind, error) for kind in ("transactions", "labels") for error in _ERRORS}
        """("transactions" or "labels", name of the error's class) -> counter."""

        self.latency = ChunkHistogram(
            "weir_latency_seconds", "From the append of a transaction to the confirmed delivery of its answer.", _LATENCY_S, registry
        )
        stages = Histogram("weir_stage_seconds", "Time of each stage, per chunk.", ["stage"], buckets=_STAGE_S, registry=registry)
        self.stages = {stage: stages.labels(stage) for stage in STAGES}
        """Name of the stage -> histogram."""
        self.chunk_records = Histogram(
            "weir_chunk_records", "Records per chunk of transactions.", buckets=_CHUNK_RECORDS, registry=registry
        )
        self.redis = Histogram("weir_redis_seconds", "Time of each call of Redis.", buckets=_STAGE_S, registry=registry)
        self.redis_unavailable = Counter("weir_redis_unavailable", "Calls that Redis did not answer.", registry=registry)

        self._lag = Gauge("weir_lag_records", "Records not yet committed, per partition.", ["topic", "partition"], registry=registry)
        self._parked = Gauge("weir_parked_labels", "Labels that wait for their transaction.", ["partition"], registry=registry)
        self._uncommitted = Gauge(
            "weir_uncommitted_chunks", "Chunks delivered whose offsets are not committed.", ["topic"], registry=registry
        )
        self._oldest = Gauge("weir_oldest_chunk_age_seconds", "Age of the oldest unacknowledged chunk.", ["topic"], registry=registry)
        self._model = Gauge("weir_model_info", "The model that serves; always 1.", ["model", "spec", "policy"], registry=registry)
        self._make_figures(registry)
        self._alive = Gauge("weir_watchdog_healthy", "1 while the watchdog finds nothing wrong.", registry=registry)
        self._ready = Gauge("weir_ready", "1 while partitions are assigned and a model is loaded.", registry=registry)

    def _make_figures(self, registry: CollectorRegistry) -> None:
        """Make what shows figures that other parts keep."""
        self._written = Total("weir_journal_slots_written", "Slots of the answer journal that were written.", registry)
        self._conflicts = Total("weir_journal_conflicts", "Writes of the answer journal that met another owner's.", registry)
        self._forced = Total("weir_journal_forced_commits", "Times that a full ring of the answer journal waited for a commit.", registry)
        self._broken_slots = Total("weir_journal_broken_slots", "Slots of the answer journal that could not be read.", registry)
        self._fullness = Gauge(
            "weir_journal_fullness", "Used share of the fullest ring; at 1 answers wait for a commit.", registry=registry
        )
        self._outage = Gauge("weir_outage", "1 while answers are given without history because Redis does not answer.", registry=registry)
        self._outages = Total("weir_outages", "Outages of Redis, the present one included.", registry)
        self._outage_s = Total("weir_outage_seconds", "Time in outages of Redis, the present one included.", registry)
        self._set_aside = Total("weir_states_set_aside", "States that could not be decoded and were moved aside.", registry)
        self._lost = Total("weir_states_lost_records", "Committed records that states had lost, applied again.", registry)
        self._unmarked = Gauge(
            "weir_markers_missing", "Assigned partitions with commits whose position marker Redis does not have.", registry=registry
        )
        self._swaps = Total("weir_model_swaps", "Changes of who answers: models, policies, rollouts.", registry)
        self._refused = Total("weir_bundles_refused", "Models and policies of the registry that were refused.", registry)
        self._shedding = Gauge("weir_shedding", "1 while the small model answers because time is short.", registry=registry)
        self._sheddings = Total("weir_sheddings", "Times that the small model took over, the present one included.", registry)
        self._uncounted = Total("weir_drift_uncounted", "Answers that drift does not count: their hour was closed already.", registry)
        self._emptied = Gauge("weir_redis_emptied", "1 while nothing is consumed because Redis was emptied.", registry=registry)

    def set_journal(self, *, n_written: int, n_conflicts: int, n_forced: int, n_broken: int, fullness: float) -> None:
        """Show the answer journal: slots written, conflicts, forced commits, broken slots, and the used share in [0, 1]."""
        self._written.set(n_written)
        self._conflicts.set(n_conflicts)
        self._forced.set(n_forced)
        self._broken_slots.set(n_broken)
        self._fullness.set(fullness)

    def set_outage(self, *, is_on: bool, n_outages: int, total_s: float) -> None:
        """Show the outages of Redis: their number and seconds include the present one."""
        self._outage.set(is_on)
        self._outages.set(n_outages)
        self._outage_s.set(total_s)

    def set_states(self, *, n_set_aside: int, n_lost: int, n_unmarked: int, is_emptied: bool) -> None:
        """Show the states: moved aside; committed records they had lost; partitions without a marker; whether Redis was emptied."""
        self._set_aside.set(n_set_aside)
        self._lost.set(n_lost)
        self._unmarked.set(n_unmarked)
        self._emptied.set(is_emptied)

    def set_lineup(self, *, n_swaps: int, n_refused: int, is_shedding: bool, n_sheddings: int) -> None:
        """Show who answers: changes, refusals, and whether the small model does."""
        self._swaps.set(n_swaps)
        self._refused.set(n_refused)
        self._shedding.set(is_shedding)
        self._sheddings.set(n_sheddings)

    def set_uncounted(self, n: int) -> None:
        """Show how many answers came too late to be counted for drift."""
        self._uncounted.set(n)

    def set_lags(self, lags: Mapping[tuple[str, int], int]) -> None:
        """Show the lag in records of the partitions assigned now, (topic, partition) -> records, and of no other."""
        self._lag.clear()
        for (topic, partition), records in lags.items():
            self._lag.labels(topic, str(partition)).set(records)

    def set_parked(self, labels: Mapping[int, int]) -> None:
        """Show how many labels wait of the partitions swept now, partition -> labels, and of no other."""
        self._parked.clear()
        for partition, n_labels in labels.items():
            self._parked.labels(str(partition)).set(n_labels)

    def set_chunks(self, topic: str, *, n_uncommitted: int, oldest_age_s: float) -> None:
        """Show what of a topic is on its way; 0 s = nothing is unacknowledged."""
        self._uncommitted.labels(topic).set(n_uncommitted)
        self._oldest.labels(topic).set(oldest_age_s)

    def set_model(self, *, model: str, spec: str, policy: str) -> None:
        """Show which model serves from now on."""
        self._model.clear()
        self._model.labels(model, spec, policy).set(1)

    def set_health(self, *, is_alive: bool, is_ready: bool) -> None:
        """Show what the watchdog and the readiness check say."""
        self._alive.set(is_alive)
        self._ready.set(is_ready)

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)
