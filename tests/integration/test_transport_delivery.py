"""Nothing is lost on the way, on a real broker: kills, refusals, oversize, topics made anew."""

import threading

import pytest
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.structs import OffsetAndMetadata, TopicPartition

from stream.topic_admin import create
from stream.topics import TRANSACTIONS
from tests.integration.transport_harness import Rig, until


@pytest.fixture
def rig(broker, kafka_prefix, tmp_path):
    rig = Rig(broker.bootstrap, kafka_prefix, tmp_path)
    yield rig
    rig.close()


def numbered(n, first=0):
    return [b"%d" % i for i in range(first, first + n)]


def test_a_worker_killed_in_mid_stream_loses_nothing(rig):
    rig.send(rig.transactions, [*numbered(400), b"wait"])
    worker = rig.start("--chunk-size", "40")
    until((rig.folder / "waiting").exists, log=worker.log)
    rig.send(rig.transactions, numbered(600, 400))

    rig.kill(worker)
    (rig.folder / "go").touch()
    worker = rig.start("--chunk-size", "40")
    until(lambda: rig.n_committed(rig.transactions) == 1001, log=worker.log)

    assert set(rig.values(rig.scores)) == {*numbered(1000), b"wait"}


def test_an_answer_goes_to_the_partition_of_its_transaction_or_where_kafka_clients_put_its_key(rig):
    rig.send(rig.transactions, numbered(200))
    rig.send(rig.labels, numbered(200))
    rig.start()
    until(lambda: rig.n_records(rig.scores) >= 200 and rig.n_records(rig.alerts) >= 200)

    asked = {record.value: (record.partition, record.offset) for record in rig.records(rig.transactions)}
    answered = {record.value: (record.partition, int(dict(record.headers)["offset"])) for record in rig.records(rig.scores)}
    by_key = {record.key: record.partition for record in rig.records(rig.labels)}  # chosen by kafka-python's partitioner
    assert answered == asked
    assert {record.key: record.partition for record in rig.records(rig.alerts)} == by_key


def test_a_commit_refused_by_the_broker_is_made_good(rig):
    rig.send(rig.transactions, numbered(300))
    (rig.folder / "refuse").touch()
    worker = rig.start()
    until(lambda: rig.n_records(rig.scores) >= 300)
    rig.forget_members()  # the next commit is refused: unknown member
    (rig.folder / "refuse").unlink()
    until(lambda: "commit_refused" in worker.log.read_text(), log=worker.log)
    until(lambda: rig.n_committed(rig.transactions) == 300, log=worker.log)

    assert worker.poll() is None, worker.log.read_text()
    assert set(rig.values(rig.scores)) == set(numbered(300))


def test_a_commit_put_off_by_the_hook_is_tried_again_without_a_new_record(rig):
    (rig.folder / "refuse").touch()
    worker = rig.start()
    rig.send(rig.transactions, numbered(100))
    until(lambda: (rig.folder / "commits").exists() and len((rig.folder / "commits").read_text().splitlines()) >= 2, log=worker.log)
    n_before = rig.n_committed(rig.transactions)
    (rig.folder / "refuse").unlink()
    until(lambda: rig.n_committed(rig.transactions) == 100, log=worker.log)

    assert n_before == 0
    assert len(rig.values(rig.scores)) == 100


def test_waiting_labels_never_stop_transactions_and_waiting_transactions_never_stop_labels(rig):
    worker = rig.start("--chunk-size", "10")
    rig.send(rig.labels, [b"wait", *numbered(500)], partition=0)
    until((rig.folder / "waiting").exists, log=worker.log)
    rig.send(rig.transactions, numbered(500))
    until(lambda: rig.n_committed(rig.transactions) == 500, log=worker.log)
    n_alerts = rig.n_records(rig.alerts)
    (rig.folder / "go").touch()
    until(lambda: rig.n_committed(rig.labels) == 501, log=worker.log)
    (rig.folder / "go").unlink()
    (rig.folder / "waiting").unlink()

    rig.send(rig.transactions, [b"wait", *numbered(200)], partition=0)
    until((rig.folder / "waiting").exists, log=worker.log)
    rig.send(rig.labels, numbered(200))
    until(lambda: rig.n_committed(rig.labels) == 701, log=worker.log)

    assert n_alerts == 0
    assert rig.n_committed(rig.transactions) == 500
    (rig.folder / "go").touch()
    until(lambda: rig.n_committed(rig.transactions) == 701, log=worker.log)


def test_a_full_batch_loses_no_record_and_a_record_of_a_megabyte_passes(rig):
    large = [b"%06d" % i + b"x" * 5_000 for i in range(200)]
    largest = b"y" * 1_040_000
    rig.send(rig.transactions, [*large[:100], largest, *large[100:]], partition=1)
    worker = rig.start()
    until(lambda: rig.n_committed(rig.transactions) == 201, log=worker.log)

    assert rig.values(rig.scores) == [*large[:100], largest, *large[100:]]


def test_unavailable_is_waited_out_however_long_and_the_same_chunk_is_tried_again(rig):
    rig.send(rig.transactions, [*numbered(50), b"unavailable", *numbered(50, 50)], partition=2)
    worker = rig.start("--unacknowledged-s", "4", "--chunk-size", "20")
    until(lambda: rig.n_committed(rig.transactions) == 101, log=worker.log)

    assert worker.log.read_text().count('"unavailable"') >= 4
    assert rig.values(rig.scores) == [*numbered(50), b"unavailable", *numbered(50, 50)]


def test_an_assignment_waits_for_the_other_side_however_long(rig):
    (rig.folder / "away").touch()
    threading.Timer(10.0, (rig.folder / "away").unlink).start()
    rig.send(rig.transactions, numbered(10))
    worker = rig.start("--flow-s", "4")
    until(lambda: rig.n_committed(rig.transactions) == 10, log=worker.log)

    assert worker.log.read_text().count("announcing the assignment") >= 4


def test_a_failed_delivery_ends_the_process_and_the_transaction_is_answered_later(rig):
    limit = ConfigResource(ConfigResourceType.TOPIC, rig.scores, {"max.message.bytes": "1000"})
    rig.admin.alter_configs([limit])
    worker = rig.start()
    rig.send(rig.transactions, [b"z" * 5000])

    assert worker.wait(20) == 1
    assert "a delivery failed" in worker.log.read_text()
    assert rig.n_committed(rig.transactions) == 0

    rig.forget_members()
    rig.admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, rig.scores, {"max.message.bytes": "1048588"})])
    worker = rig.start()
    until(lambda: rig.n_committed(rig.transactions) == 1, log=worker.log)
    assert rig.values(rig.scores) == [b"z" * 5000]


def test_everything_of_a_topic_made_anew_is_processed(rig):
    rig.send(rig.transactions, numbered(100))
    worker = rig.start()
    until(lambda: rig.n_committed(rig.transactions) == 100, log=worker.log)

    rig.admin.delete_topics([rig.transactions])
    until(lambda: rig.transactions not in rig.admin.list_topics())
    create(rig.connection, [TRANSACTIONS])
    rig.send(rig.transactions, numbered(150, 1000))
    assert worker.wait(20) == 75

    rig.forget_members()
    worker = rig.start()
    until(lambda: rig.n_committed(rig.transactions) == 150, log=worker.log)
    assert set(rig.values(rig.scores)) == {*numbered(100), *numbered(150, 1000)}


def test_offsets_committed_for_another_topic_of_that_name_do_not_count(rig):
    rig.send(rig.transactions, numbered(100), partition=0)
    rig.send(rig.transactions, numbered(100, 100), partition=1)
    foreign = OffsetAndMetadata(60, "00000000-0000-0000-0000-000000000001", -1)
    unmarked = OffsetAndMetadata(60, "", -1)
    rig.admin.alter_group_offsets(rig.group, {TopicPartition(rig.transactions, 0): foreign, TopicPartition(rig.transactions, 1): unmarked})
    worker = rig.start()
    until(lambda: rig.n_committed(rig.transactions) == 200, log=worker.log)

    assert set(rig.values(rig.scores)) == {*numbered(100), *numbered(40, 160)}
