import asyncio
import json
import signal
import subprocess
import sys
import threading
import time

import polars as pl
import pytest
from kafka import KafkaConsumer
from kafka.structs import TopicPartition

from domain.errors import ConfigError
from features.history import normalised, write_history
from service.history_records import HistoryRecords
from service.producing import HistoryProducer, Pace
from service.timeline import HOUR_MS
from stream.connection import KafkaConnection
from stream.topics import LABELS, TRANSACTIONS

N = 400
START_MS = 1_700_000_000_000
STEP_MS = HOUR_MS // 10


@pytest.fixture(scope="module")
def history():
    is_fraud = [i % 20 == 3 for i in range(N)]
    return normalised(
        pl.DataFrame(
            {
                "transaction_id": [f"t{i:05d}" for i in range(N)],
                "event_time_ms": [START_MS + i * STEP_MS for i in range(N)],
                "card_id": [f"c{i % 37}" for i in range(N)],
                "amount_minor": range(N),
                "currency": ["EUR"] * N,
                "merchant_id": [f"m{i % 5}" for i in range(N)],
                "is_fraud": is_fraud,
                "label_time_ms": [START_MS + i * STEP_MS + 5 * HOUR_MS if bad else None for i, bad in enumerate(is_fraud)],
            }
        ),
        "test",
    )


class Worker(threading.Thread):
    """Consumes transactions and labels as a worker does, and remembers in which order they came."""

    def __init__(self, connection):
        super().__init__(daemon=True)
        self.connection, self.applied, self.done = connection, [], threading.Event()

    def run(self):
        # Assigned by hand: a group that met its topics before their metadata would own nothing until the next refresh (5 min).
        group = self.connection.group("weir")
        consumer = KafkaConsumer(**self.connection.kafka_python(), group_id=group, enable_auto_commit=False, auto_offset_reset="earliest")
        topics = [self.connection.topic(TRANSACTIONS), self.connection.topic(LABELS)]
        consumer.assign([TopicPartition(topic, number) for topic in topics for number in sorted(consumer.partitions_for_topic(topic))])
        while not self.done.is_set():
            for place, records in consumer.poll(timeout_ms=20).items():
                is_label = place.topic == self.connection.topic(LABELS)
                self.applied += [(is_label, json.loads(record.value)) for record in records]
                consumer.commit()
        consumer.close()


@pytest.fixture
def worker(connection):
    found = Worker(connection)
    found.start()
    yield found
    found.done.set()
    found.join(20)


def _run(connection, history, pace, stop=None, **options):
    async def run():
        return await HistoryProducer(connection, group="weir", **options).run(HistoryRecords(history), pace, stop or asyncio.Event())

    return asyncio.run(run())


def _read(connection, topic, n):
    consumer = KafkaConsumer(**connection.kafka_python(), enable_auto_commit=False, auto_offset_reset="earliest")
    name = connection.topic(topic)
    consumer.assign([TopicPartition(name, number) for number in sorted(consumer.partitions_for_topic(name))])
    found, end = [], time.monotonic() + 20
    while len(found) < n and time.monotonic() < end:
        found += [record for records in consumer.poll(timeout_ms=100).values() for record in records]
    found += [record for records in consumer.poll(timeout_ms=200).values() for record in records]
    consumer.close()
    return found


def _label_orders(applied):
    """Yield for each label: its time, and the newest event time applied before it and the oldest applied after it."""
    for place, (is_label, value) in enumerate(applied):
        if is_label:
            before = [v["event_time_ms"] for kind, v in applied[:place] if not kind]
            after = [v["event_time_ms"] for kind, v in applied[place:] if not kind]
            yield value["label_time_ms"], before, after


def test_labels_are_applied_at_their_place_in_time_at_full_speed(connection, worker, history):
    sent = _run(connection, history, Pace(slice_ms=2 * HOUR_MS))
    end = time.monotonic() + 20
    while len(worker.applied) < N + N // 20 and time.monotonic() < end:
        worker.done.wait(0.05)

    assert (sent.n_transactions, sent.n_labels) == (N, N // 20)
    assert sorted(value["transaction_id"] for is_label, value in worker.applied if not is_label) == history["transaction_id"].to_list()
    for label_ms, before, after in _label_orders(worker.applied):
        assert {value for value in history["event_time_ms"] if value <= label_ms} <= set(before)
        assert max(before) < label_ms + 2 * HOUR_MS
        assert not after or min(after) > label_ms


def test_labels_wait_for_their_transactions_when_time_is_speeded_up(connection, worker, history):
    sent = _run(connection, history, Pace(speedup=40 * HOUR_MS / 2000))
    end = time.monotonic() + 20
    while len(worker.applied) < N + N // 20 and time.monotonic() < end:
        worker.done.wait(0.05)

    assert (sent.n_transactions, sent.n_labels) == (N, N // 20)
    for label_ms, before, _ in _label_orders(worker.applied):
        assert {value for value in history["event_time_ms"] if value <= label_ms} <= set(before)


def test_records_are_keyed_spread_like_every_client_does_and_in_order(connection, history):
    unlabelled = history.with_columns(is_fraud=pl.lit(None, pl.Boolean), label_time_ms=pl.lit(None, pl.Int64))
    _run(connection, unlabelled, Pace())
    records = _read(connection, TRANSACTIONS, N)

    assert sorted(json.loads(record.value)["transaction_id"] for record in records) == history["transaction_id"].to_list()
    assert all(record.key.decode() == json.loads(record.value)["card_id"] for record in records)
    for partition in range(4):
        times = [json.loads(record.value)["event_time_ms"] for record in records if record.partition == partition]
        assert times
        assert times == sorted(times)


def test_without_a_worker_it_says_so_and_a_stop_ends_it_cleanly(connection, history, monkeypatch):
    monkeypatch.setattr("service.commit_watch.STALL_S", 0.2)
    stop, said = asyncio.Event(), []

    def on_stall(sentence):
        said.append(sentence)
        stop.set()

    sent = _run(connection, history, Pace(slice_ms=HOUR_MS), stop, on_stall=on_stall)

    assert "weir worker" in said[0]
    assert 0 < sent.n_transactions < N
    assert sent.n_labels == 0
    assert len(_read(connection, TRANSACTIONS, sent.n_transactions)) == sent.n_transactions


def test_missing_topics_are_named(broker, history):
    with pytest.raises(ConfigError, match=r"nowhere\.transactions\.v1.*weir topics create"):
        _run(KafkaConnection(bootstrap=broker.bootstrap, prefix="nowhere."), history, Pace())


def test_json_lines_are_sent_as_they_are(connection, environment):
    lines = [b'{"card_id": "c1", "n": 1}', b"noise", b"", b'{"card_id":"c2"}', b"\xff\x00", b"x" * 900_000]
    found = subprocess.run(
        [sys.executable, "-m", "service.cli", "produce", "-", "--json"],
        check=True, input=b"\n".join(lines), capture_output=True, env=environment, timeout=60,
    )  # fmt: skip
    records = _read(connection, TRANSACTIONS, 5)

    assert json.loads(found.stdout) == {"transactions": 5, "labels": 0, "interrupted": False}
    assert sorted(record.value for record in records) == sorted(line for line in lines if line)
    assert {record.value: record.key for record in records}[lines[0]] == b"c1"
    assert {record.value: record.key for record in records}[b"noise"] is None


def test_a_record_that_is_too_large_is_refused_with_one_sentence(environment):
    found = subprocess.run(
        [sys.executable, "-m", "service.cli", "produce", "-"],
        check=False, input=b"x" * 7_000_000, capture_output=True, env=environment, timeout=60,
    )  # fmt: skip

    assert found.returncode == 2
    assert b"max.message.bytes" in found.stderr


def test_ctrl_c_ends_a_history_with_its_counts_and_code_130(connection, environment, history, tmp_path):
    path = tmp_path / "history.parquet"
    write_history(history, path)
    process = subprocess.Popen(
        [sys.executable, "-m", "service.cli", "produce", str(path), "--rate", "40", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment,
    )  # fmt: skip
    assert _read(connection, TRANSACTIONS, 3)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=20)

    assert process.returncode == 130
    assert json.loads(out)["interrupted"]
    n_sent = json.loads(out)["transactions"]
    assert len(_read(connection, TRANSACTIONS, n_sent)) == n_sent


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "csv"])
def test_labels_of_a_file_arrive_keyed_by_transaction(connection, environment, tmp_path, kind):
    frame = pl.DataFrame(
        {"transaction_id": ["t1", "t2"], "is_fraud": [True, False], "label_time_ms": [5, 6], "source": "customer", "note": "x"}
    )
    path = tmp_path / f"labels.{kind}"
    {"jsonl": frame.write_ndjson, "parquet": frame.write_parquet, "csv": frame.write_csv}[kind](path)
    subprocess.run([sys.executable, "-m", "service.cli", "label", "--file", str(path)], check=True, env=environment, timeout=60)
    found = {record.key: json.loads(record.value) for record in _read(connection, LABELS, 2)}

    assert found == {
        b"t1": {"transaction_id": "t1", "is_fraud": True, "label_time_ms": 5, "source": "customer"},
        b"t2": {"transaction_id": "t2", "is_fraud": False, "label_time_ms": 6, "source": "customer"},
    }


def test_a_label_file_with_a_wrong_row_sends_nothing(connection, environment, tmp_path):
    path = tmp_path / "labels.jsonl"
    path.write_text('{"transaction_id":"t1","is_fraud":true,"label_time_ms":5,"source":"analyst"}\n{"transaction_id":"t2"}\n')
    found = subprocess.run(
        [sys.executable, "-m", "service.cli", "label", "--file", str(path)],
        check=False, capture_output=True, text=True, env=environment, timeout=60,
    )  # fmt: skip

    assert found.returncode == 2
    assert "row 2" in found.stderr
    assert _read(connection, LABELS, 0) == []
