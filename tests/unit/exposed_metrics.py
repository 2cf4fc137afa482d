"""Every metric of the processes, each with a value, in Prometheus' text format."""

from monitoring.archive_metrics import Archived, ArchivedTopic, ArchiveMetrics
from monitoring.drift_report import DriftReport, FeatureDrift
from monitoring.metrics import Metrics
from monitoring.quality import Estimate, QualityDay, QualityReport
from monitoring.web_metrics import WebMetrics


def worker_text():
    """Return what a worker shows."""
    metrics = Metrics()
    metrics.set_lags({("transactions.v1", 0): 1})
    metrics.set_parked({0: 1})
    metrics.set_chunks("transactions.v1", n_uncommitted=1, oldest_age_s=1)
    metrics.set_model(model="weir@1", spec="abc", policy="p")
    return metrics.exposition().decode()


def archive_text():
    """Return what `weir archive` shows."""
    metrics = ArchiveMetrics()
    topics = {"scores.v1": ArchivedTopic(records=3, undecodable=1, lost=2, files=4)}
    metrics.set(Archived(topics, n_compacted=5, lag=6, confirmed_ms=7_000, written_ms=8_500))
    return metrics.exposition().decode()


def web_text():
    """Return what `weir web` shows."""
    metrics = WebMetrics()
    row = FeatureDrift(
        feature="amount", window="24h", reference="training", importance=0.1, n_rows=10, psi=0.1, psi_limit=0.05, p_value=0.1,
        is_significant=False, missing_rate=0.0, missing_rate_reference=0.0, is_missing_significant=False, js=0.1, ks=0.1, w1=0.1,
        is_alarmable=True, why_not="", move=None,
    )  # fmt: skip
    report = DriftReport(now_hour=1, has_baseline=True, baseline_days=28, n_rows={"24h": 10}, features=[row], alert_rate=[])
    metrics.set_drift("weir@1", report)
    estimate = Estimate(value=0.5, low=0.4, high=0.6, raw=0.5, label_free=0.5)
    day = QualityDay(
        day_ms=86_400_000, n=1, n_alerts=1, is_provisional=False, is_incomplete=False, note="", maturity={}, n_frauds=1, caught_minor=1,
        missed_minor=0, frauds=estimate, caught=estimate, missed=estimate, precision=estimate, recall=estimate, ap=None, brier=None,
    )  # fmt: skip
    quality = QualityReport(
        at_ms=1, days=[day], delay_curve={"missed": [(1.0, 0.95)]}, control=None, thresholds=[], calibration=[], n_matured_days=1,
        sentence="", notes=[],
    )  # fmt: skip
    metrics.set_quality(quality)
    return metrics.exposition().decode()
