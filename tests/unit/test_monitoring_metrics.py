"""The worker's metrics."""

import re

import numpy as np
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from domain.decision import Flag, Tier
from monitoring.metrics import ChunkHistogram, Metrics
from tests.unit.exposed_metrics import archive_text

BUCKETS = (0.001, 0.01, 0.1, 1.0)


def test_observing_a_chunk_equals_observing_each_value():
    values = np.concatenate([np.random.default_rng(1).exponential(0.05, 1000), BUCKETS, [0.0, 5.0]])
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    together = ChunkHistogram("weir_x_seconds", "x", BUCKETS, ours)
    one_by_one = Histogram("weir_x_seconds", "x", buckets=BUCKETS, registry=theirs)
    for part in np.array_split(values, 7):
        together.observe(part)
    for value in values:
        one_by_one.observe(value)

    def buckets(registry):
        return {
            (line.rpartition(" ")[0], float(line.rpartition(" ")[2])) for line in lines(registry) if "_bucket" in line or "_count" in line
        }

    def lines(registry):
        return generate_latest(registry).decode().splitlines()

    assert {(name.replace('le="1"', 'le="1.0"'), n) for name, n in buckets(ours)} == buckets(theirs)


def test_every_metric_has_the_prefix_a_help_text_and_bounded_labels():
    metrics = Metrics()
    metrics.decisions["decline", Tier.FULL].inc(2)
    metrics.flags[Flag.LATE].inc()
    metrics.set_model(model="weir@1", spec="abc", policy="p")
    metrics.set_lags({("t", 0): 5})
    text = metrics.exposition().decode()

    names = re.findall(r"^# HELP (\S+) \S+", text, re.MULTILINE)
    assert names
    assert all(name.startswith("weir_") for name in names)
    assert 'weir_decisions_total{outcome="decline",tier="full"} 2.0' in text
    assert 'weir_flags_total{flag="late"} 1.0' in text
    assert 'weir_lag_records{partition="0",topic="t"} 5.0' in text


def test_an_archiver_shows_each_topic_what_waits_and_when_it_last_wrote():
    text = archive_text()

    for name, value in (("records", 3), ("undecodable", 1), ("lost", 2), ("files", 4)):
        assert f'weir_archive_{name}_total{{topic="scores.v1"}} {value}.0' in text
    assert "weir_archive_compacted_files_total 5.0" in text
    assert "weir_archive_lag_records 6.0" in text
    assert "weir_archive_confirmed_timestamp_seconds 7.0" in text
    assert "weir_archive_written_timestamp_seconds 8.5" in text


def test_a_partition_that_went_elsewhere_shows_no_lag():
    metrics = Metrics()
    metrics.set_lags({("t", 0): 5, ("t", 1): 6})
    metrics.set_lags({("t", 1): 7})

    text = metrics.exposition().decode()
    assert 'partition="0"' not in text
    assert 'weir_lag_records{partition="1",topic="t"} 7.0' in text


def test_figures_that_other_parts_keep_are_shown_as_of_the_last_time():
    metrics = Metrics()
    for n in (1, 7):
        metrics.set_journal(n_written=n, n_conflicts=n + 1, n_forced=n + 2, n_broken=n + 3, fullness=n / 10)
        metrics.set_outage(is_on=n == 7, n_outages=n, total_s=n / 2)
        metrics.set_states(n_set_aside=n, n_lost=n + 1, n_unmarked=n + 2, is_emptied=n == 7)

    lines = [line.split(" ") for line in metrics.exposition().decode().splitlines() if not line.startswith("#")]
    kept = re.compile("weir_(journal|outage|states|markers|redis_emptied)")
    assert {name: float(value) for name, value in lines if kept.match(name)} == {
        "weir_journal_slots_written_total": 7, "weir_journal_conflicts_total": 8, "weir_journal_forced_commits_total": 9,
        "weir_journal_broken_slots_total": 10, "weir_journal_fullness": 0.7,
        "weir_outage": 1, "weir_outages_total": 7, "weir_outage_seconds_total": 3.5,
        "weir_states_set_aside_total": 7, "weir_states_lost_records_total": 8, "weir_markers_missing": 9, "weir_redis_emptied": 1,
    }  # fmt: skip
