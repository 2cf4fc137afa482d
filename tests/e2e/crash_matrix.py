"""The crash matrix: workers killed at every step, in turn and at random times, while a history streams; then the sums are checked.

    python -m tests.e2e.crash_matrix --transactions 200000 --kills 200

Exit code 1: an answer is missing, a repeated answer differs unflagged, or a state in Redis is not that of the offline twin.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient, MemberToRemove
from kafka.errors import KafkaError

from models.options import Sizes, TrainingOptions
from service.demo import free_port, is_ready
from service.embedded_kafka import Broker
from service.embedded_redis import RedisServer
from service.model_training import train_and_register
from service.settings import load
from simulate.generate import generate
from tests.e2e.crash_worker import SIDES
from tests.e2e.crash_world import World, make_world
from tests.e2e.exactness import Findings, await_parked, examine
from tests.e2e.installation import REPOSITORY, Installation, until

N_WORKERS = 3
N_SPARES = 3
Point = tuple[str, str]
#: Killed from outside at a random time.
RANDOM: Point = ("random", "")
EVERY_POINT: tuple[Point, ...] = tuple((step, side) for step, sides in SIDES.items() for side in sides)
_NEVER = "never:before:1"
#: A worker that has not come to its point this long after it was ready is killed from outside.
_UNREACHED_S = 12.0
#: Misses after which a point that nobody ever came to is given up.
_MOST_MISSES = 3
_STALLED_S = 120.0
_POLL_S = 0.05
_COMMITS_EVERY_S = 0.5


class Storm(NamedTuple):
    """How much is killed, and where."""

    n_kills: int
    points: tuple[Point, ...] = (*EVERY_POINT, RANDOM)
    most_chunks: int = 8
    """A worker dies at the first to this many-th time it comes to its point."""
    chunk_size: int = 100
    rebalance_every: int = 10
    """Kills after which a fourth worker joins and another one leaves."""
    seed: int = 1


class Worker:
    """One worker process: loaded when made, at work once it is told where to die."""

    def __init__(self, installation: Installation, number: int, chunk_size: int) -> None:
        self.name = f"crash-{number}"
        self.point: Point | None = None
        self.is_leaving = False
        self.due_s: float | None = None
        """When to kill it from outside; set when it is ready."""
        self._report = installation.folder / f"{self.name}.killed"
        self._port = free_port()
        command = [sys.executable, "-m", "tests.e2e.crash_worker", self._report, self.name, "--config", installation.config, "worker"]
        changed = {"WEIR_MONITORING_PORT": str(self._port), "WEIR_SCORING_CHUNK_SIZE": str(chunk_size)}
        with (installation.folder / f"worker-{number}.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=REPOSITORY, env=os.environ | changed
            )  # fmt: skip

    def join(self, point: Point | None, nth: int) -> None:
        """Begin to work, and die at `point` the `nth` time."""
        self.point = point
        at = _NEVER if point is None or point == RANDOM else f"{point[0]}:{point[1]}:{nth}"
        assert self.process.stdin is not None
        self.process.stdin.write(f"{at}\n".encode())
        self.process.stdin.flush()

    @property
    def is_ready(self) -> bool:
        return is_ready(self._port)

    @property
    def has_killed_itself(self) -> bool:
        return self._report.exists()

    def end(self) -> None:
        """Be gone, whatever it does."""
        self.process.kill()
        self.process.wait()


class Driver:
    """Streams a world through workers that die, until everything is answered."""

    def __init__(self, installation: Installation, world: World, storm: Storm) -> None:
        self.installation = installation
        self.world = world
        self.storm = storm
        self.kills: Counter[Point] = Counter()
        self.misses: Counter[Point] = Counter()
        self.exits: Counter[int] = Counter()
        self.n_rebalances = 0
        self._wants_rebalance = False
        self._draw = random.Random(storm.seed)
        self._workers: list[Worker] = []
        self._spares: deque[Worker] = deque()
        self._n_started = 0
        self._producer = KafkaProducer(bootstrap_servers=installation.bootstrap, acks="all", linger_ms=5)
        self._admin = KafkaAdminClient(bootstrap_servers=installation.bootstrap)
        self._next_batch = 0
        self._next_due = 0
        self._sent = {"transactions.v1": 0, "labels.v1": 0}
        self._ends: list[dict[int, int]] = []
        """For each batch, partition -> offset after its last transaction or an earlier one."""

    @property
    def n_kills(self) -> int:
        """Kills of the storm: a worker killed because it missed its point is none, unless random kills are wanted."""
        return sum(self.kills[point] for point in self.storm.points)

    @property
    def unreached(self) -> list[Point]:
        """Points that nobody came to."""
        return [point for point in self.storm.points if not self.kills[point] and point != RANDOM]

    @property
    def _someone_waits_for_work(self) -> bool:
        """Tell whether a worker is up that is to die at a point: it does not come there without work."""
        return any(w.point is not None and not w.is_leaving and w.is_ready for w in self._workers)

    def run(self, report: Any = lambda _line: None) -> None:
        """Stream until all is committed.

        Raises:
            AssertionError: Nothing was committed for a long time, nobody was killed, nobody started.
        """
        try:
            self._start_workers()
            before, progress_s, asked_s = (0, 0, 0), time.monotonic(), 0.0
            while True:
                self._look_after_workers()
                self._send_batches()
                if time.monotonic() - asked_s > _COMMITS_EVERY_S:
                    asked_s = time.monotonic()
                    places = self._committed("transactions.v1")
                    transactions, labels = sum(places.values()), sum(self._committed("labels.v1").values())
                    if before != (progress := (transactions + labels, self.n_kills, self._n_started)):
                        before, progress_s = progress, asked_s
                        report(f"{transactions:,} of {len(self.world.history):,} transactions, {self.n_kills} kills")
                    self._send_due_labels(places)
                    if transactions == self._sent["transactions.v1"] and self._someone_waits_for_work:
                        self._send_batch()
                    if self._is_done(transactions, labels):
                        break
                assert time.monotonic() - progress_s < _STALLED_S, f"nothing was committed for {_STALLED_S} s: {self.installation.logs()}"
                time.sleep(_POLL_S)
            await_parked(self.installation.settings)
            self._leave()
        finally:
            self.close()

    def close(self) -> None:
        for worker in (*self._workers, *self._spares):
            worker.end()
        self._producer.close()
        self._admin.close()

    # -- workers --

    def _start_workers(self) -> None:
        """Start the first alone: it may have to compile, and the others would compile the same."""
        self._start()
        first = self._workers[0]
        until(lambda: first.is_ready or first.process.poll() is not None, "the first worker is not ready: " + self.installation.logs())
        while len(self._workers) < N_WORKERS:
            self._start()

    def _start(self, point: Point | None = None) -> None:
        if point is None and self.n_kills + sum(w.point is not None and not w.is_leaving for w in self._workers) < self.storm.n_kills:
            point = self._next_point()
        worker = self._spares.popleft() if self._spares else self._new_worker()
        worker.join(point, self._draw.randint(1, self.storm.most_chunks))
        self._workers.append(worker)

    def _new_worker(self) -> Worker:
        self._n_started += 1
        return Worker(self.installation, self._n_started, self.storm.chunk_size)

    def _next_point(self) -> Point:
        """Return the point with the fewest kills, those under way included."""
        under_way = Counter(w.point for w in self._workers if w.point is not None and not w.is_leaving)
        points = [p for p in self.storm.points if self.kills[p] or self.misses[p] < _MOST_MISSES]
        self._draw.shuffle(points)
        return min(points or [RANDOM], key=lambda p: self.kills[p] + under_way[p])

    def _look_after_workers(self) -> None:
        n_to_come = min(N_SPARES, self.storm.n_kills - self.n_kills)
        while len(self._spares) < n_to_come:  # loading takes longer than everything else
            self._spares.append(self._new_worker())
        for worker in list(self._workers):
            code = worker.process.poll()
            if code is None:
                self._maybe_kill(worker)
                continue
            self._workers.remove(worker)
            is_natural = worker.point == RANDOM and self._draw.random() < 0.5
            if code != -signal.SIGKILL:
                self.exits[code] += 1
            elif worker.has_killed_itself:
                self._count_kill(worker.point or RANDOM)
            else:
                self.misses[worker.point or RANDOM] += worker.point != RANDOM
                self._count_kill(RANDOM)
            if code == -signal.SIGKILL and not is_natural:  # else its membership lapses by itself, after 10 s
                self._forget(worker.name)
            if len(self._workers) < N_WORKERS:
                self._start()
        if self._wants_rebalance:
            self._rebalance()

    def _count_kill(self, point: Point) -> None:
        self.kills[point] += 1
        self._wants_rebalance |= self.n_kills % self.storm.rebalance_every == 0

    def _maybe_kill(self, worker: Worker) -> None:
        """Kill from outside what is to die at random, or does not come to its point."""
        if worker.point is None or worker.is_leaving:
            return
        if worker.due_s is None:
            if worker.is_ready:
                patience_s = self._draw.uniform(0.0, 3.0) if worker.point == RANDOM else _UNREACHED_S
                worker.due_s = time.monotonic() + patience_s
        elif time.monotonic() > worker.due_s:
            worker.process.kill()

    def _rebalance(self) -> None:
        """Let a fourth worker join, and one that runs leave."""
        running = [w for w in self._workers if not w.is_leaving and w.is_ready]
        if running:
            worker = self._draw.choice(running)
            worker.is_leaving = True
            self._start()
            worker.process.send_signal(signal.SIGTERM)
            self.n_rebalances += 1
            self._wants_rebalance = False

    def _forget(self, name: str) -> None:
        """Remove a dead worker's membership, as its supervisor's restart would with a static one."""
        group = self.installation.connection.group(self.installation.settings.kafka.group)
        try:
            members = self._admin.describe_groups([group])[group]["members"]
            gone = [MemberToRemove(member_id=m["member_id"]) for m in members if m["client_id"].startswith(name)]
            if gone:
                self._admin.remove_group_members(group, gone)
        except (KafkaError, KeyError):
            pass  # then it lapses by itself

    def _leave(self) -> None:
        """Let all that run drain and leave; one that still loads would be ended by the signal before it can say so."""
        until(
            lambda: all(worker.is_ready or worker.process.poll() is not None for worker in self._workers),
            "not ready to leave: " + self.installation.logs(),
        )
        for worker in self._workers:
            worker.process.send_signal(signal.SIGTERM)
        for worker in self._workers:
            self.exits[worker.process.wait(30)] += 1
        self._workers.clear()

    # -- the stream --

    def _send(self, name: str, records: Iterable[tuple[bytes, bytes]]) -> dict[int, int]:
        """Send records; return partition -> offset after the last of them."""
        topic = self.installation.topic(name)
        sent = [self._producer.send(topic, key=key, value=value) for key, value in records]
        self._producer.flush()
        self._sent[name] += len(sent)
        return {at.partition: at.offset + 1 for at in (future.get() for future in sent)}

    def _send_batches(self) -> None:
        """Send as much as goes with the kills so far; a part is kept for whoever comes late to its point."""
        share = (self.n_kills + 1) / (self.storm.n_kills + 1)
        wanted = min(self.world.n_batches, int(share * self.world.n_batches) + 1)
        if self._next_batch < wanted:
            self._send_batch()

    def _send_batch(self) -> None:
        if self._next_batch < self.world.n_batches:
            batch, self._next_batch = self._next_batch, self._next_batch + 1
            self._send("labels.v1", self.world.early[batch])
            ends = self._send("transactions.v1", [*self.world.transactions(batch), *self.world.again[batch]])
            self._ends.append((self._ends[-1] if self._ends else {}) | ends)

    def _send_due_labels(self, committed: dict[int, int]) -> None:
        while self._next_due < len(self._ends) and all(
            committed.get(partition, 0) >= end for partition, end in self._ends[self._next_due].items()
        ):
            self._send("labels.v1", self.world.due[self._next_due])
            self._next_due += 1

    def _is_done(self, transactions: int, labels: int) -> bool:
        is_sent = self._next_batch == self._next_due == self.world.n_batches
        return is_sent and transactions == self._sent["transactions.v1"] and labels == self._sent["labels.v1"]

    def _committed(self, name: str) -> dict[int, int]:
        group = self.installation.connection.group(self.installation.settings.kafka.group)
        try:
            offsets = self._admin.list_group_offsets([group])
        except KafkaError:
            return {}
        offsets = offsets.get(group, offsets)
        topic = self.installation.topic(name)
        return {place.partition: at.offset for place, at in offsets.items() if place.topic == topic and at.offset > 0}


def table(driver: Driver) -> str:
    """Return the kills by step and side, and what else happened to the workers."""
    lines = [f"{'step':<10}{'side':<9}{'kills':>6}"]
    for point in driver.storm.points:
        note = "  (nobody came there)" if point in driver.unreached else ""
        lines.append(f"{point[0]:<10}{point[1]:<9}{driver.kills[point]:>6}{note}")
    exits = ", ".join(f"{n} with {code}" for code, n in sorted(driver.exits.items()))
    lines.append(f"{driver.n_kills} kills, {driver.n_rebalances} joined and left; other ends by exit code: {exits or 'none'}")
    return "\n".join(lines)


def figures(found: Findings) -> str:
    lines = [
        f"{name:<46}{value:>12,.5f}" if isinstance(value, float) else f"{name:<46}{value:>12,}" for name, value in found.figures.items()
    ]
    return "\n".join([*lines, *(f"VIOLATION: {violation}" for violation in found.violations)])


@contextmanager
def services(folder: Path) -> Iterator[Installation]:
    """Run a Kafka and a Redis of our own, with a small trained model."""
    registry = folder / "registry"
    kafka = Broker(folder / "kafka", heap_mb=512, retention_bytes=8 << 30, is_guarded=True)
    store = RedisServer(folder / "redis", is_guarded=True)
    try:
        kafka.start()
        store.start()
        history = generate(n_days=80, n_cards=1_500, seed=5)
        sizes = Sizes(boosting_rounds=60, forest_trees=20, extra_trees=20, small_rounds=30)
        settings = load(environ={"WEIR_MODEL_REGISTRY": str(registry)}).settings
        train_and_register(history, settings, options=TrainingOptions(min_calibration_frauds=30, sizes=sizes))
        yield Installation(folder, bootstrap=kafka.bootstrap, redis_url=store.url, prefix="crash.", registry=registry)
    finally:
        kafka.kill()
        store.kill()


def main() -> int:
    parser = argparse.ArgumentParser(description="kill workers at every step and check that nothing is lost or counted twice")
    parser.add_argument("--transactions", type=int, default=200_000)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--duplicates", type=float, default=0.005, help="share of the transactions that are sent twice")
    parser.add_argument("--most-approximate", type=float, default=0.001, help="largest share of answers flagged replay_approx")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="keep data and logs here; else a temporary folder, removed")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    chosen = parser.parse_args()
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="crash-") as temporary, services(chosen.folder or Path(temporary)) as installation:
        batch_size = max(100, min(1_000, chosen.transactions // max(1, 4 * chosen.kills)))
        world = make_world(chosen.transactions, seed=chosen.seed, batch_size=batch_size, again_share=chosen.duplicates)
        driver = Driver(installation, world, Storm(chosen.kills, seed=chosen.seed))
        driver.run(lambda line: print(f"{time.monotonic() - began_s:6.0f} s  {line}", file=sys.stderr, flush=True))
        found = examine(installation.settings, most_approximate=chosen.most_approximate, parks_labels=True)
    if chosen.json:
        kills = {":".join(point): n for point, n in driver.kills.items()}
        print(json.dumps({"kills": kills, "figures": found.figures, "violations": found.violations}))
    else:
        print(table(driver), figures(found), f"{time.monotonic() - began_s:.0f} s", sep="\n")
    return 1 if found.violations else 0


if __name__ == "__main__":
    sys.exit(main())
