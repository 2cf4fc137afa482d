"""One installation for an end-to-end test: settings, topics, workers as processes, and an independent Kafka client."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import msgspec
import polars as pl
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient

from domain.decision import Score
from service.demo import free_port, is_ready, settings_toml
from service.history_records import HistoryRecords
from service.settings import Settings
from service.wiring import kafka_connection
from stream.topic_admin import create

REPOSITORY = Path(__file__).parents[2]
PATIENCE_S = 90.0


def until(condition: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> None:
    """Wait for `condition`; fail with `what` after `patience_s`."""
    deadline_s = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline_s, what
        time.sleep(0.05)


class Installation:
    """Topics and keys under one prefix on the session's Kafka and Redis."""

    def __init__(self, folder: Path, *, bootstrap: str, redis_url: str, prefix: str, registry: Path, base_currency: str = "EUR") -> None:
        self.folder = folder
        self.bootstrap = bootstrap
        self.port = free_port()
        default = Settings()
        replace = msgspec.structs.replace
        self.settings = replace(
            default,
            kafka=replace(default.kafka, bootstrap=bootstrap, prefix=prefix),
            redis=replace(default.redis, url=redis_url, prefix=f"{prefix}weir:"),
            features=replace(default.features, base_currency=base_currency),
            model=replace(default.model, registry=str(registry)),
            scoring=replace(default.scoring, chunk_size=100),
            embedded=replace(default.embedded, directory=str(folder / "var")),
        )
        self.config = folder / "weir.toml"
        self.config.write_text(settings_toml(self.settings), "utf-8")
        self.connection = kafka_connection(self.settings)
        self._workers: list[subprocess.Popen[bytes]] = []
        self._ports: dict[int, int] = {}
        create(self.connection)

    def topic(self, name: str) -> str:
        return self.connection.topic(name)

    def weir(self, *arguments: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run `weir ARGUMENTS` as a user would."""
        found = subprocess.run(
            [sys.executable, "-m", "service", "--config", str(self.config), *arguments],
            capture_output=True, text=True, check=False, cwd=REPOSITORY, env=os.environ | environment, timeout=280,
        )  # fmt: skip
        assert not check or found.returncode == 0, f"weir {' '.join(arguments)}: {found.returncode}\n{found.stdout}\n{found.stderr}"
        return found

    def start_worker(self, *, wait: bool = True, **environment: str) -> subprocess.Popen[bytes]:
        """Start `weir worker`; each has a port of its own."""
        port = free_port()
        log = (self.folder / f"worker-{len(self._workers)}.log").open("ab")
        worker = subprocess.Popen(
            [sys.executable, "-m", "service", "--config", str(self.config), "worker"],
            stdout=log, stderr=log, cwd=REPOSITORY, env=os.environ | {"WEIR_MONITORING_PORT": str(port)} | environment,
        )  # fmt: skip
        self._workers.append(worker)
        self._ports[worker.pid] = port
        if wait:
            until(lambda: is_ready(port) or worker.poll() is not None, "the worker is not ready: " + self.logs())
            assert worker.poll() is None, self.logs()
        return worker

    def port_of(self, worker: subprocess.Popen[bytes]) -> int:
        """Return the port of a worker's `/metrics` and `/healthz`."""
        return self._ports[worker.pid]

    def metrics(self, worker: subprocess.Popen[bytes]) -> dict[str, float]:
        """Return what a worker's `/metrics` shows, name and labels -> value; nothing while it does not listen yet."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._ports[worker.pid]}/metrics", timeout=5) as answer:
                lines = answer.read().decode().splitlines()
        except OSError:
            return {}
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if not line.startswith("#"))}

    def logs(self) -> str:
        """Return the last lines of the workers' logs."""
        return "\n".join(path.read_text("utf-8", "replace")[-1500:] for path in sorted(self.folder.glob("worker-*.log")))

    def close(self) -> None:
        for worker in self._workers:
            if worker.poll() is None:
                worker.kill()
            worker.wait()

    def stop(self, worker: subprocess.Popen[bytes]) -> int:
        """Ask a worker to leave; return its exit code."""
        worker.send_signal(signal.SIGTERM)
        return worker.wait(30)

    def send(self, name: str, keys: list[bytes | None], values: list[bytes | None]) -> None:
        """Append records with an independent client."""
        producer = KafkaProducer(bootstrap_servers=self.bootstrap, acks="all", max_request_size=4 << 20, linger_ms=5)
        for key, value in zip(keys, values, strict=True):
            producer.send(self.topic(name), key=key, value=value)
        producer.flush()
        producer.close()

    def send_history(self, history: pl.DataFrame, first: int, end: int) -> None:
        """Append the transactions [first, end) of a history."""
        keys, values = HistoryRecords(history[first:end]).transactions(0, end - first)
        self.send("transactions.v1", list(keys), list(values))

    def records(self, name: str) -> list:
        """Return everything in a topic now."""
        consumer = KafkaConsumer(bootstrap_servers=self.bootstrap, enable_auto_commit=False, max_partition_fetch_bytes=4 << 20)
        places = [TopicPartition(self.topic(name), p) for p in consumer.partitions_for_topic(self.topic(name)) or ()]
        consumer.assign(places)
        consumer.seek_to_beginning(*places)
        ends = consumer.end_offsets(places)
        found = []
        while any(consumer.position(place) < end for place, end in ends.items()):
            for part in consumer.poll(timeout_ms=200).values():
                found += part
        consumer.close()
        return found

    def n_records(self, name: str) -> int:
        consumer = KafkaConsumer(bootstrap_servers=self.bootstrap)
        places = [TopicPartition(self.topic(name), p) for p in consumer.partitions_for_topic(self.topic(name)) or ()]
        found = sum(consumer.end_offsets(places).values())
        consumer.close()
        return found

    def answers(self) -> dict[str, list[Score]]:
        """Return all answers by transaction id."""
        found: dict[str, list[Score]] = {}
        for record in self.records("scores.v1"):
            score = msgspec.json.decode(record.value, type=Score)
            found.setdefault(score.transaction_id, []).append(score)
        return found

    def dead(self, name: str = "transactions.dead.v1") -> list[dict[str, str]]:
        """Return the headers of dead letters, as text, and their value as `value`."""
        return [
            {key: value.decode() for key, value in record.headers} | {"value": (record.value or b"").decode("latin-1")}
            for record in self.records(name)
        ]

    def until_answered(self, wanted: set[str]) -> dict[str, list[Score]]:
        """Wait until every wanted transaction is answered; return the answers."""
        until(lambda: self.n_records("scores.v1") >= len(wanted), "too few answers: " + self.logs())
        until(lambda: wanted <= self.answers().keys(), "transactions stayed without an answer: " + self.logs())
        return self.answers()

    def committed(self, name: str) -> int:
        """Return the sum of the workers' committed offsets of a topic."""
        admin = KafkaAdminClient(bootstrap_servers=self.bootstrap)
        group = self.connection.group(self.settings.kafka.group)
        offsets = admin.list_group_offsets([group])
        offsets = offsets.get(group, offsets)
        admin.close()
        return sum(at.offset for place, at in offsets.items() if place.topic == self.topic(name) and at.offset > 0)

    def forget_members(self) -> None:
        """Remove all members of the workers' group, so that their next commit is refused."""
        admin = KafkaAdminClient(bootstrap_servers=self.bootstrap)
        group = self.connection.group(self.settings.kafka.group)
        described = admin.describe_groups([group])[group]
        from kafka.admin import MemberToRemove

        admin.remove_group_members(group, [MemberToRemove(member_id=member["member_id"]) for member in described["members"]])
        admin.close()

    def json(self, *arguments: str) -> dict:
        """Return what `weir ARGUMENTS --json` prints."""
        return json.loads(self.weir(*arguments, "--json").stdout)
