"""Every Prometheus metric of the process that archives."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector


class ArchivedTopic(NamedTuple):
    """What this process did with one topic."""

    records: int
    undecodable: int
    lost: int
    files: int


class Archived(NamedTuple):
    """What this process did."""

    topics: Mapping[str, ArchivedTopic]
    n_compacted: int
    """Files made by merging smaller ones."""
    lag: int
    """Records that wait in Kafka, about."""
    confirmed_ms: int
    """When Kafka last confirmed what was read; wall clock, 0 = never."""
    written_ms: int
    """When a file was last written; 0 = never."""


_TOPICS = {
    "records": "Records written to files, by topic.",
    "undecodable": "Those among them that could not be decoded and are kept as they came.",
    "lost": "Offsets that Kafka had removed before they were archived.",
    "files": "Files written, before they are merged.",
}


class ArchiveMetrics(Collector):
    """In a registry of its own; shows what it was last told."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._now = Archived({}, 0, 0, 0, 0)
        ProcessCollector(namespace="weir_archive", registry=self._registry)
        self._registry.register(self)

    def set(self, now: Archived) -> None:
        """Show what was done until now."""
        self._now = now

    def collect(self) -> Iterator[Metric]:
        """Give the current state, as prometheus_client asks for it."""
        now = self._now
        for name, help_text in _TOPICS.items():
            family = CounterMetricFamily(f"weir_archive_{name}", help_text, labels=["topic"])
            for topic, counts in now.topics.items():
                family.add_metric([topic], getattr(counts, name))
            yield family
        yield CounterMetricFamily("weir_archive_compacted_files", "Files made by merging smaller ones.", value=now.n_compacted)
        yield GaugeMetricFamily("weir_archive_lag_records", "Records that wait in Kafka, about.", value=now.lag)
        for name, help_text, at_ms in (
            ("confirmed", "When Kafka last confirmed what was read; it falls behind while Kafka does not answer.", now.confirmed_ms),
            ("written", "When a file was last written; without --file-seconds once an hour.", now.written_ms),
        ):
            yield GaugeMetricFamily(f"weir_archive_{name}_timestamp_seconds", help_text, value=at_ms / 1000)

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)
