"""How a worker starts and ends: drained, refused, stuck; and what it says of itself meanwhile."""

import json
import signal
import subprocess
import sys

import pytest
from kafka.admin import ConfigResource, ConfigResourceType

from domain.errors import ConfigError
from stream.connection import KafkaConnection
from stream.topic_admin import check, check_start, create
from stream.topics import SCORES, TOPICS
from tests.integration.transport_harness import Rig, until


@pytest.fixture
def rig(broker, kafka_prefix, tmp_path):
    rig = Rig(broker.bootstrap, kafka_prefix, tmp_path)
    yield rig
    rig.close()


def test_sigterm_drains_commits_and_leaves(rig):
    worker = rig.start("--chunk-size", "20")
    rig.send(rig.transactions, [b"%d" % i for i in range(2000)])
    until(lambda: rig.n_records(rig.scores) >= 100, log=worker.log)

    assert rig.stop(worker) == 0
    assert (rig.folder / "closed").exists()
    assert rig.n_committed(rig.transactions) == rig.n_records(rig.scores)  # answered = committed: nothing is repeated


def test_sigterm_leaves_within_its_time_when_draining_hangs_and_at_once_when_repeated(rig):
    worker = rig.start()
    rig.send(rig.transactions, [b"wait"])
    until((rig.folder / "waiting").exists, log=worker.log)
    worker.send_signal(signal.SIGTERM)
    until(lambda: "worker_drains" in worker.log.read_text(), log=worker.log)
    worker.send_signal(signal.SIGTERM)

    assert worker.wait(5) == 143
    assert rig.n_committed(rig.transactions) == 0


def test_the_watchdog_ends_a_process_whose_chunk_is_never_acknowledged(rig):
    worker = rig.start("--unacknowledged-s", "1")
    rig.send(rig.transactions, [b"wait"])

    assert worker.wait(15) == 70
    assert "a chunk is unacknowledged" in worker.log.read_text()
    assert rig.n_committed(rig.transactions) == 0


def test_the_watchdog_ends_a_process_whose_event_loop_is_blocked(rig):
    worker = rig.start("--turn-s", "1")
    rig.send(rig.transactions, [b"block"])

    assert worker.wait(15) == 70
    assert "event loop did not turn" in worker.log.read_text()


def test_an_error_of_the_pipeline_ends_the_process_and_acknowledges_nothing(rig):
    worker = rig.start()
    rig.send(rig.transactions, [b"1", b"raise", b"2"], partition=0)

    assert worker.wait(15) == 1
    assert "as asked" in worker.log.read_text()
    assert rig.n_committed(rig.transactions) == 0


def test_a_worker_tells_its_topics_uuids_its_health_and_metrics_and_every_log_line_is_json(rig):
    worker = rig.start()
    told = json.loads((rig.folder / "assigned").read_text().splitlines()[0])
    described = {topic["name"]: str(topic["topic_id"]) for topic in rig.admin.describe_topics([rig.transactions, rig.labels])}
    rig.send(rig.transactions, [b"%d" % i for i in range(100)])
    until(lambda: rig.n_committed(rig.transactions) == 100, log=worker.log)
    health, metrics = json.loads(rig.health(worker)), rig.health(worker, "/metrics")

    assert health == {"alive": True, "ready": True, "problem": None, "assigned": True, "model": "echo@1"}
    assert "weir_latency_seconds_count 100.0" in metrics
    assert f'weir_lag_records{{partition="0",topic="{rig.transactions}"}} 0.0' in metrics
    assert json.loads(rig.health(worker, "/readyz"))["ready"]
    assert told["uuids"] == described
    assert told["partitions"] == [[topic, p] for topic in sorted((rig.transactions, rig.labels)) for p in range(4)]
    assert all(json.loads(line)["event"] for line in worker.log.read_text().splitlines())


def test_topics_are_made_once_and_put_right_when_changed(broker, kafka_prefix):
    connection = KafkaConnection(bootstrap=broker.bootstrap, prefix=kafka_prefix)
    assert {finding.detail for finding in check(connection)} == {"the topic is missing"}

    rig_topics = create(connection)
    assert len(rig_topics) == len(TOPICS)
    assert create(connection) == []
    assert check(connection) == []


def test_a_topic_with_the_producers_time_is_refused_and_put_right(rig):
    wrong = ConfigResource(ConfigResourceType.TOPIC, rig.scores, {"message.timestamp.type": "CreateTime"})
    rig.admin.alter_configs([wrong])
    until(lambda: check(rig.connection))

    with pytest.raises(ConfigError, match=r"message\.timestamp\.type is CreateTime, must be LogAppendTime.*weir topics create"):
        check_start(rig.connection, TOPICS)

    assert create(rig.connection) == [f"{rig.scores} set to message.timestamp.type=LogAppendTime"]


def test_an_output_topic_with_other_partitions_than_the_transactions_is_refused(rig):
    rig.admin.create_partitions({rig.scores: 5})
    until(lambda: check(rig.connection, TOPICS))

    with pytest.raises(ConfigError, match=f"{rig.scores}: it has 5 partitions, must have 4"):
        check_start(rig.connection, TOPICS)
    assert SCORES in TOPICS


def test_a_kafka_that_is_not_there_is_named_with_its_setting(tmp_path):
    program = "from stream.worker import *; from monitoring.metrics import Metrics; from stream.connection import KafkaConnection\n"
    program += "run(WorkerSettings(KafkaConnection(bootstrap='127.0.0.1:1'), 'g'), None, Metrics())"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)

    assert "ConfigError: kafka does not answer at 127.0.0.1:1" in ended.stderr
    assert "kafka.bootstrap" in ended.stderr
