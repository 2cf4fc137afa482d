"""Runs echo workers against the session's Kafka and looks at what they did, with an independent client (kafka-python)."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, MemberToRemove

from stream.connection import KafkaConnection
from stream.topic_admin import create
from stream.topics import ALERTS, LABELS, SCORES, TRANSACTIONS

PROGRAM = Path(__file__).with_name("echo_worker.py")


class Rig:
    """The topics of one test, its workers, and a client for each purpose."""

    def __init__(self, bootstrap, prefix, folder):
        self.bootstrap = bootstrap
        self.connection = KafkaConnection(bootstrap=bootstrap, prefix=prefix)
        self.folder = folder
        self.group = self.connection.group("echo")
        self.transactions, self.labels, self.scores, self.alerts = map(self.connection.topic, (TRANSACTIONS, LABELS, SCORES, ALERTS))
        create(self.connection)
        self.producer = KafkaProducer(bootstrap_servers=bootstrap, max_request_size=4 << 20)
        self.admin = KafkaAdminClient(bootstrap_servers=bootstrap)
        self.workers = []

    def close(self):
        for worker in self.workers:
            if worker.poll() is None:
                worker.kill()
            worker.wait()
        self.producer.close()
        self.admin.close()

    def start(self, *arguments, environment=None):
        """Start a worker and wait for its assignment; returns the process, its log in `.log`."""
        log = self.folder / f"worker{len(self.workers)}.log"
        command = [sys.executable, PROGRAM, self.bootstrap, self.connection.prefix, self.folder, *arguments]
        with log.open("w") as file:
            worker = subprocess.Popen([str(part) for part in command], stderr=file, env={**os.environ, **(environment or {})})
        worker.log = log
        self.workers.append(worker)
        until(lambda: "partitions_assigned" in log.read_text() or worker.poll() is not None, log=log)
        assert worker.poll() is None, log.read_text()
        return worker

    def stop(self, worker):
        worker.send_signal(signal.SIGTERM)
        return worker.wait(15)

    def kill(self, worker):
        worker.kill()
        worker.wait()
        self.forget_members()

    def forget_members(self):
        """Drop the dead member at once instead of after its session."""
        found = self.admin.describe_groups([self.group])[self.group]["members"]
        if found:
            self.admin.remove_group_members(self.group, [MemberToRemove(member["member_id"]) for member in found])

    def send(self, topic, values, *, partition=None):
        for i, value in enumerate(values):
            self.producer.send(topic, key=b"k%d" % (i % 50), value=value, partition=partition)
        self.producer.flush()

    def values(self, topic):
        """Return every value of `topic` until its end, as of now."""
        return [record.value for record in self.records(topic)]

    def records(self, topic):
        with KafkaConsumer(bootstrap_servers=self.bootstrap, enable_auto_commit=False, fetch_max_bytes=16 << 20) as consumer:
            partitions = [TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic)]
            ends = consumer.end_offsets(partitions)
            consumer.assign(partitions)
            consumer.seek_to_beginning(*partitions)
            found = []
            while any(consumer.position(tp) < ends[tp] for tp in partitions):
                for batch in consumer.poll(200).values():
                    found.extend(batch)
            return found

    def n_records(self, topic):
        with KafkaConsumer(bootstrap_servers=self.bootstrap) as consumer:
            return sum(consumer.end_offsets([TopicPartition(topic, p) for p in range(4)]).values())

    def committed(self, topic):
        """Return partition -> (offset, metadata) of the group's commits for `topic`."""
        offsets = self.admin.list_group_offsets([self.group])[self.group]
        return {tp.partition: (found.offset, found.metadata) for tp, found in offsets.items() if tp.topic == topic and found.offset >= 0}

    def n_committed(self, topic):
        return sum(offset for offset, _ in self.committed(topic).values())

    def health(self, worker, path="/healthz"):
        url = next(json.loads(line)["health"] for line in worker.log.read_text().splitlines() if "worker_starts" in line)
        with urllib.request.urlopen(url.replace("/healthz", path), timeout=5) as answer:
            return answer.read().decode()


def until(condition, *, seconds=30, log=None):
    """Poll until `condition` holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"did not happen in {seconds} s\n{log.read_text()[-3000:] if log else ''}"
        time.sleep(0.05)
