"""The worker's metrics."""

import re

import numpy as np
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from domain.decision import Flag, Tier
from monitoring.metrics import ChunkHistogram, Metrics

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


def test_a_partition_that_went_elsewhere_shows_no_lag():
    metrics = Metrics()
    metrics.set_lags({("t", 0): 5, ("t", 1): 6})
    metrics.set_lags({("t", 1): 7})

    text = metrics.exposition().decode()
    assert 'partition="0"' not in text
    assert 'weir_lag_records{partition="1",topic="t"} 7.0' in text
