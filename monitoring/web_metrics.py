"""Every Prometheus metric of the process that watches the fleet: drift, incidents, quality, workers."""

from collections import Counter
from collections.abc import Iterable
from typing import Final, get_args

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.process_collector import ProcessCollector

from monitoring.drift_report import DriftReport
from monitoring.incident_words import Kind
from monitoring.quality import Estimate, QualityReport

WORKER_STATES: Final = ("well", "attention", "alarm")
_WINDOW: Final = "24h"
_DAY_S: Final = 86_400
_SHARES: Final = {"0.5": 0.5, "0.9": 0.9}


class WebMetrics:
    """In a registry of its own; used by one event loop."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        ProcessCollector(namespace="weir_web", registry=registry)

        def gauge(name: str, help_text: str, *labels: str) -> Gauge:
            return Gauge(name, help_text, labels, registry=registry)

        self._model = gauge("weir_drift_model_info", "The model that drift is measured for; always 1.", "model")
        self._psi = gauge("weir_drift_psi", "Population stability index of the last 24 hours of event time against training.", "feature")
        self._limit = gauge("weir_drift_psi_limit", "What noise alone reaches; absent before there is a baseline.", "feature")
        self._missing = gauge("weir_drift_missing_ratio", "Share of missing values in the last 24 hours of event time.", "feature")
        self._changed = gauge("weir_drift_features_changed", "Features that differ by more than noise, last 24 hours of event time.")
        self._baseline = gauge("weir_drift_baseline_seconds", "Time that the noise limits were measured on; whole days.")
        self._evaluated = gauge("weir_drift_evaluated_timestamp_seconds", "End of the newest evaluated hour, event time.")
        self._incidents = gauge("weir_incidents_open", "Incidents that have not ended.", "kind", "severity")
        self._untold = gauge("weir_alarms_untold", "Words about incidents that a listener (Kafka, webhook) has not been told yet.")
        self._workers = gauge("weir_fleet_workers", "Workers heard of within a minute, by their state.", "state")
        self._precision = gauge("weir_quality_precision", "Precision of the newest day with an estimate; 95 % interval.", "estimate")
        self._recall = gauge("weir_quality_recall", "Recall of the newest day with an estimate; 95 % interval.", "estimate")
        self._day = gauge("weir_quality_day_timestamp_seconds", "Beginning of the newest day with an estimate of recall.")
        self._delay = gauge("weir_fraud_delay_seconds", "Age by which this share of a stratum's frauds is known.", "stratum", "share")
        self.set_incidents([])
        self.set_workers([])

    def set_drift(self, model: str, report: DriftReport) -> None:
        """Show the last evaluation of the model that serves."""
        for labelled in (self._model, self._psi, self._limit, self._missing):
            labelled.clear()
        self._model.labels(model).set(1)
        for row in report.features:
            if row.window == _WINDOW and row.reference == "training":
                for metric, value in ((self._psi, row.psi), (self._limit, row.psi_limit), (self._missing, row.missing_rate)):
                    if value is not None:
                        metric.labels(row.feature).set(value)
        changed = {r.feature for r in report.features if r.window == _WINDOW and (r.is_significant or r.is_missing_significant)}
        self._changed.set(len(changed))
        self._baseline.set(report.baseline_days * _DAY_S)
        self._evaluated.set(report.now_hour * 3600)

    def set_incidents(self, is_open: Iterable[tuple[Kind, str]]) -> None:
        """Show the incidents that are open, (kind, severity) each."""
        found = Counter(is_open)
        for kind in get_args(Kind):
            for severity in ("attention", "alarm"):
                self._incidents.labels(kind, severity).set(found[kind, severity])

    def set_untold(self, n: int) -> None:
        """Show how many words are still to be told."""
        self._untold.set(n)

    def set_workers(self, states: Iterable[str]) -> None:
        """Show the state of each worker."""
        found = Counter(states)
        for state in WORKER_STATES:
            self._workers.labels(state).set(found[state])

    def set_quality(self, report: QualityReport) -> None:
        """Show the newest day that can be estimated, and how long labels take."""
        for labelled in (self._precision, self._recall, self._delay):
            labelled.clear()
        for day in reversed(report.days):
            if day.recall is not None and day.recall.value is not None:
                _show(self._recall, day.recall)
                _show(self._precision, day.precision)
                self._day.set(day.day_ms / 1000)
                break
        for stratum, curve in report.delay_curve.items():
            for name, share in _SHARES.items():
                age = next((age_days for age_days, known in curve if known >= share), None)
                if age is not None:
                    self._delay.labels(stratum, name).set(age * _DAY_S)

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)


def _show(metric: Gauge, estimate: Estimate | None) -> None:
    if estimate is None:
        return
    for name in ("value", "low", "high", "raw", "label_free"):
        value = getattr(estimate, name)
        if value is not None:
            metric.labels(name).set(value)
