"""What the Grafana dashboards show. `python -m monitoring.dashboards FOLDER` writes them."""

import json
import sys
from pathlib import Path
from typing import Final

from monitoring.grafana import Dashboard, Panel, Query, Row, render


def _quantile(q: float, metric: str, *by: str) -> str:
    """Return the PromQL of a quantile of a histogram of all workers."""
    return f"histogram_quantile({q}, sum by ({', '.join((*by, 'le'))}) (rate({metric}_bucket[$__rate_interval])))"


def _rate(metric: str, *by: str) -> str:
    """Return the PromQL of a counter's rate per second."""
    return f"sum by ({', '.join(by)}) (rate({metric}[$__rate_interval]))" if by else f"sum(rate({metric}[$__rate_interval]))"


def _hourly(metric: str) -> str:
    """Return the PromQL of how much a counter rose in an hour."""
    return f"sum(increase({metric}[1h]))"


_WAITING: Final = 'sum(weir_lag_records{topic=~".*transactions\\\\.v1"}) / clamp_min(sum(rate(weir_transactions_total[5m])), 10)'
_ALERTED: Final = _rate('weir_decisions_total{outcome!="approve"}')
_FIRING: Final = 'ALERTS{alertname=~"Weir.*", alertstate="firing"}'

_WELL: Final = Row(
    "Is it well?",
    [
        Panel("Transactions", "suffix:/s", [Query(_rate("weir_transactions_total"))], "Consumed per second.", "stat", 4),
        Panel(
            "99 % answered within", "s", [Query(_quantile(0.99, "weir_latency_seconds"))],
            "From the append of a transaction to the delivery of its answer.", "stat", 4, 0.25, "WeirSlow",
        ),
        Panel(
            "Waiting", "s", [Query(_WAITING)], "What waits in Kafka, as seconds of work at the present rate.", "stat", 4, 60, "WeirBehind"
        ),
        Panel("Workers", "short", [Query('sum(up{job="weir-worker"})')], "Workers that Prometheus reaches.", "stat", 4),
        Panel(
            "Redis", "short", [Query("max(weir_outage)")], "1 while answers are given without history.", "stat", 4, 1, "WeirOutage"
        ),
        Panel("Alerts", "short", [Query(f"count({_FIRING}) or vector(0)")], "Alerts of Prometheus that fire now.", "stat", 4, 1),
    ],
)  # fmt: skip

_ANSWERS: Final = Row(
    "Answers",
    [
        Panel("Decisions", "suffix:/s", [Query(_rate("weir_decisions_total", "outcome"), "{{outcome}}")], "Answers by outcome."),
        Panel(
            "Reviewed or declined", "percentunit",
            [Query(f"{_ALERTED} / {_rate('weir_decisions_total')}", "share")],
            "Share of the answers that are alerts.",
        ),
        Panel("Who answers", "suffix:/s", [Query(_rate("weir_decisions_total", "tier"), "{{tier}}")], "Answers by tier; full = the model."),
        Panel(
            "Latency", "s", [Query(_quantile(q, "weir_latency_seconds"), f"{q:.0%}") for q in (0.5, 0.95, 0.99)],
            "From the append of a transaction to the delivery of its answer.", limit=0.25, alert="WeirSlow",
        ),
        Panel(
            "Latency, all answers", "suffix:/s", [Query(_rate("weir_latency_seconds_bucket", "le"), "{{le}}")],
            "Answers per second in each bucket of latency.", "heatmap",
        ),
        Panel("Flags", "suffix:/s", [Query(_rate("weir_flags_total", "flag"), "{{flag}}")], "Answers that carry a flag."),
    ],
)  # fmt: skip

_WORK: Final = Row(
    "Work",
    [
        Panel(
            "Lag", "short", [Query("sum by (topic, partition) (weir_lag_records)", "{{topic}} {{partition}}")],
            "Records not yet committed, per partition.",
        ),
        Panel(
            "Time of each stage", "s", [Query(_quantile(0.99, "weir_stage_seconds", "stage"), "{{stage}}")],
            "99 % of the chunks are faster.",
        ),
        Panel(
            "Chunk size", "short", [Query(_quantile(q, "weir_chunk_records"), f"{q:.0%}") for q in (0.5, 0.99)],
            "Transactions answered together; it grows with the load.",
        ),
        Panel(
            "Oldest chunk", "s", [Query("max by (instance, topic) (weir_oldest_chunk_age_seconds)", "{{instance}} {{topic}}")],
            "Age of the oldest chunk that is not done; the watchdog ends a worker at 30 s.", limit=15, alert="WeirChunkStuck",
        ),
        Panel(
            "Uncommitted chunks", "short", [Query("sum by (instance, topic) (weir_uncommitted_chunks)", "{{instance}} {{topic}}")],
            "Chunks on their way; what a crash would bring again.",
        ),
        Panel(
            "Came again", "suffix:/s", [Query(_rate("weir_again_total", "how"), "{{how}}")],
            "Transactions that came again after their answer, by what became of it.",
        ),
    ],
)  # fmt: skip

_LABELS: Final = Row(
    "Labels and rejected records",
    [
        Panel(
            "Labels", "suffix:/s",
            [Query(_rate("weir_labels_total"), "consumed"), Query(_rate("weir_labels_applied_total"), "changed the features")],
            "Labels per second.",
        ),
        Panel(
            "Label delay", "s", [Query(_quantile(q, "weir_label_delay_seconds"), f"{q:.0%}") for q in (0.5, 0.9)],
            "From a transaction to its label, of the labels that changed the features.",
        ),
        Panel(
            "Dead letters", "suffix:/s", [Query(_rate("weir_dead_letters_total", "kind", "error"), "{{kind}} {{error}}")],
            "Rejected records; `weir dlq list --summary` lists them.",
        ),
    ],
)  # fmt: skip

_PROCESSES: Final = Row(
    "Processes",
    [
        Panel(
            "Processor", "short", [Query('rate(weir_process_cpu_seconds_total{job="weir-worker"}[$__rate_interval])', "{{instance}}")],
            "Cores in use.",
        ),
        Panel(
            "Memory", "bytes", [Query('weir_process_resident_memory_bytes{job="weir-worker"}', "{{instance}}")],
            "Resident memory.", limit=1e9, alert="WeirMemory",
        ),
        Panel(
            "Uptime", "s", [Query('time() - weir_process_start_time_seconds{job="weir-worker"}', "{{instance}}")],
            "A fall to 0 is a restart.",
        ),
        Panel(
            "Health", "short", [Query("weir_watchdog_healthy", "watchdog {{instance}}"), Query("weir_ready", "ready {{instance}}")],
            "1 = well.", maximum=1,
        ),
        Panel(
            "Model", "short", [Query("count by (model, spec, policy) (weir_model_info)")],
            "What serves, and how many workers serve it.", "table",
        ),
        Panel("Alerts that fire", "short", [Query(_FIRING)], "docs/operations.md has a section for each.", "table"),
    ],
)  # fmt: skip

_REDIS: Final = Row(
    "Redis",
    [
        Panel(
            "Time of a call", "s", [Query(_quantile(q, "weir_redis_seconds"), f"{q:.0%}") for q in (0.5, 0.99)],
            "Each call of Redis.", limit=0.1, alert="WeirRedisSlow",
        ),
        Panel(
            "Failed calls", "suffix:/s", [Query(_rate("weir_redis_unavailable_total", "instance"), "{{instance}}")],
            "Calls that Redis did not answer.",
        ),
        Panel(
            "Outage", "short", [Query("weir_outage", "outage {{instance}}"), Query("weir_redis_emptied", "emptied {{instance}}")],
            "1 while answers are given without history, or while nothing is consumed because Redis was emptied.", maximum=1,
        ),
        Panel("Outages", "short", [Query("sum by (instance) (weir_outages_total)", "{{instance}}")], "Since the worker's start."),
        Panel(
            "Time in outages", "s", [Query("sum by (instance) (weir_outage_seconds_total)", "{{instance}}")],
            "Since the worker's start.",
        ),
        Panel(
            "Parked labels", "short", [Query("sum by (partition) (weir_parked_labels)", "{{partition}}")],
            "Labels that wait for their transaction.",
        ),
    ],
)  # fmt: skip

_JOURNAL: Final = Row(
    "Answer journal",
    [
        Panel(
            "Fullest ring", "percentunit", [Query("max by (instance) (weir_journal_fullness)", "{{instance}}")],
            "At 100 % answers wait for a commit.", limit=0.9, alert="WeirJournalFull", maximum=1,
        ),
        Panel(
            "Slots written", "suffix:/s", [Query(_rate("weir_journal_slots_written_total", "instance"), "{{instance}}")],
            "Answers recorded before they are sent.",
        ),
        Panel(
            "Trouble", "short",
            [
                Query(_hourly("weir_journal_forced_commits_total"), "waited for a commit"),
                Query(_hourly("weir_journal_conflicts_total"), "met another owner"),
                Query(_hourly("weir_journal_broken_slots_total"), "could not be read"),
            ],
            "Within the last hour.",
        ),
    ],
)  # fmt: skip

_STATES: Final = Row(
    "Feature states",
    [
        Panel(
            "Set aside", "short", [Query(_hourly("weir_states_set_aside_total"), "states")],
            "States that could not be decoded, within the last hour.",
        ),
        Panel(
            "Lost and applied again", "short", [Query(_hourly("weir_states_lost_records_total"), "records")],
            "Committed records that Redis had lost, within the last hour.",
        ),
        Panel(
            "Missing markers", "short", [Query("sum by (instance) (weir_markers_missing)", "{{instance}}")],
            "Partitions whose position marker Redis does not have.", limit=1, alert="WeirMarkersMissing",
        ),
    ],
)  # fmt: skip

_SERVING: Final = Row(
    "Who answers",
    [
        Panel(
            "Answers by variant", "suffix:/s", [Query(_rate("weir_variant_answers_total", "variant"), "{{variant}}")],
            "First answers by champion and challenger; shadow: what the other model was only asked.",
        ),
        Panel(
            "Alerts by variant", "percentunit",
            [Query(f"{_rate('weir_variant_alerts_total', 'variant')} / {_rate('weir_variant_answers_total', 'variant')}", "{{variant}}")],
            "Share of the answers that are alerts; of the shadow: what would be.",
        ),
        Panel(
            "Changes", "short",
            [
                Query("sum by (instance) (weir_model_swaps_total)", "changes {{instance}}"),
                Query("sum by (instance) (weir_bundles_refused_total)", "refused {{instance}}"),
            ],
            "Models, policies and rollouts that were taken up, and those refused, since the worker's start.", alert="WeirBundleRefused",
        ),
        Panel(
            "Small model", "short", [Query("weir_shedding", "{{instance}}")],
            "1 while the small model answers because chunks begin later than the budget.", maximum=1, alert="WeirShedding",
        ),
    ],
)  # fmt: skip

_INCIDENTS: Final = Row(
    "What has changed",
    [
        Panel(
            "Open incidents", "short", [Query("sum by (kind, severity) (weir_incidents_open)", "{{kind}} {{severity}}")],
            "One cause is one incident; the dashboard of `weir web` tells them in words.",
        ),
        Panel(
            "Features that differ", "short", [Query("max(weir_drift_features_changed)", "features")],
            "By more than noise, in the last 24 hours.",
        ),
        Panel(
            "Fleet", "short", [Query("sum by (state) (weir_fleet_workers)", "{{state}}")],
            "Workers heard of within a minute, by their state.",
        ),
        Panel(
            "Farthest from training", "short", [Query("topk(10, weir_drift_psi)", "{{feature}}")],
            "Population stability index of the ten features (and the score) that moved most, last 24 hours.",
        ),
        Panel(
            "Farthest beyond noise", "short", [Query("topk(10, weir_drift_psi / weir_drift_psi_limit)", "{{feature}}")],
            "The index by what noise alone reaches; above 1 the change is real. Empty before there is a baseline.", limit=1,
        ),
        Panel(
            "Most often missing", "percentunit", [Query("topk(10, weir_drift_missing_ratio)", "{{feature}}")],
            "Share of missing values, last 24 hours.",
        ),
        Panel("Baseline", "s", [Query("max(weir_drift_baseline_seconds)")], "Time that the noise limits were measured on.", "stat", 6),
        Panel(
            "Evaluated to", "dateTimeFromNow", [Query("1000 * max(weir_drift_evaluated_timestamp_seconds)")],
            "End of the newest evaluated hour, event time.", "stat", 6,
        ),
        Panel(
            "Untold", "short", [Query("max(weir_alarms_untold)")], "Messages about incidents that Kafka or the webhook has not taken.",
            "stat", 6, 1, "WeirAlarmsUntold",
        ),
        Panel(
            "Compared with", "short", [Query("weir_drift_model_info", "{{model}}")], "The model whose training data is the reference.",
            "table", 6,
        ),
    ],
)  # fmt: skip

_ESTIMATES: Final = {
    "value": "corrected for late labels", "low": "95 % from", "high": "95 % to", "raw": "labels so far", "label_free": "by scores alone"
}  # fmt: skip
_QUALITY: Final = Row(
    "How good the answers were",
    [
        *(
            Panel(
                name.capitalize(), "percentunit",
                [Query(f'max(weir_quality_{name}{{estimate="{estimate}"}})', legend) for estimate, legend in _ESTIMATES.items()],
                f"{what} On the newest day with an estimate.", alert=f"Weir{name.capitalize()}Fell", maximum=1,
            )
            for name, what in (("precision", "Fraud among the alerts."), ("recall", "Caught among the reported fraud."))
        ),
        Panel(
            "Labels take", "s", [Query("max by (stratum, share) (weir_fraud_delay_seconds)", "{{stratum}} {{share}}")],
            "Age by which half and nine tenths of the fraud is reported, among alerts and among what was approved.",
        ),
        Panel(
            "Newest day with an estimate", "dateTimeFromNow", [Query("1000 * max(weir_quality_day_timestamp_seconds > 0)")],
            "Beginning of the day.", "stat",
        ),
    ],
)  # fmt: skip

DASHBOARDS: Final = (
    Dashboard("weir-stream", "weir: stream", "How the stream of transactions is answered.", [_WELL, _ANSWERS, _WORK, _LABELS, _PROCESSES]),
    Dashboard("weir-states", "weir: states", "Redis, the answer journal and the feature states.", [_REDIS, _JOURNAL, _STATES]),
    Dashboard("weir-model", "weir: model", "What has changed, and how good the answers were.", [_SERVING, _INCIDENTS, _QUALITY]),
)
"""All of them."""


def files() -> dict[str, str]:
    """Return name -> content of the files that Grafana reads."""
    return {f"{dashboard.uid}.json": json.dumps(render(dashboard), indent=1) + "\n" for dashboard in DASHBOARDS}


if __name__ == "__main__":
    for _name, _content in files().items():
        (Path(sys.argv[1]) / _name).write_text(_content, "utf-8")
