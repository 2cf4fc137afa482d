"""Workers that share a log and parked labels, and the storm in which they crash, overtake and repeat one another."""

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import contextmanager, suppress

import msgspec
import numpy as np
import polars as pl

from domain.errors import Unavailable
from domain.transaction import decode_transaction
from features import layout as at
from features.batch import batch_of
from features.feature_row import FeatureRow
from features.history import SCHEMA, normalised
from features.keys import Keys
from features.layout import FRAUD
from features.memory import MemoryLog
from features.memory_parked import MemoryParked
from features.offline import LoggedOrder, replay_in_order
from features.spec import COLUMN
from features.store import FeatureStore
from monitoring.metrics import Metrics
from stream.label_pipeline import LabelPipeline
from stream.parked_labels import ParkedLabels
from stream.records import Message, TopicPartition
from stream.sources import Sources
from tests.unit.pipeline_runs import (
    LABEL_TOPICS,
    LABELS,
    N_PARTITIONS,
    RATES,
    SETTINGS,
    SPEC,
    START_MS,
    TRANSACTIONS,
    UUIDS,
    Record,
    dead,
    label,
    rows,
    transaction,
)

KEYS = Keys("weir:", SPEC)
TOLD_MS = START_MS + 10**9
PARTITIONS = [TopicPartition(topic, number) for topic in (TRANSACTIONS, LABELS) for number in range(N_PARTITIONS)]
TRANSACTION_SOURCE = 900


class Crash(Exception):
    """The worker dies here."""


class Shaky:
    """Another side that is slow, fails and lets its caller die, before or after it did what was asked."""

    def __init__(self, inner: object, rng: random.Random, faults: float) -> None:
        self._inner = inner
        self._rng = rng
        self._faults = faults

    def __getattr__(self, name: str) -> Callable:
        method = getattr(self._inner, name)

        async def call(*args, **kwargs):
            await self._stumble()
            found = await method(*args, **kwargs)
            await self._stumble()
            return found

        return call

    async def _stumble(self) -> None:
        for _ in range(self._rng.randrange(4)):
            await asyncio.sleep(0)
        chance = self._rng.random()
        if chance < self._faults:
            raise Crash
        if chance < 2 * self._faults:
            raise Unavailable("stumbled")


class World:
    """What all workers share: the log, parked labels, the broker's offsets and everything published."""

    def __init__(self, log=None, parked=None) -> None:
        self.log = log or MemoryLog()
        self.parked = parked or MemoryParked(self.log, KEYS)
        self.published: list[Message] = []
        self.committed = [0] * N_PARTITIONS
        self.horizon_ms: int | None = None
        self.transactions: list[bytes] = []
        self.vectors: list[np.ndarray] = []
        self.places: list[tuple] = []
        self.store = FeatureStore(self.log, KEYS, SETTINGS, RATES)
        self._replica: tuple[dict, dict] = ({}, {})

    async def replicated(self) -> None:
        """Let the replica of the node that keeps parked labels have everything."""
        if isinstance(self.parked, MemoryParked):
            self._replica = dict(self.parked.labels), dict(self.parked._numbers)

    def fail_over(self) -> None:
        """Go on with what that replica has; the fates lie on other nodes."""
        self.parked.labels, self.parked._numbers = map(dict, self._replica)

    async def publish(self, messages: Sequence[Message]):
        """Take messages and confirm them."""
        self.published += messages
        return asyncio.sleep(0)

    async def horizon(self) -> int | None:
        return self.horizon_ms

    async def arrive(self, *values: bytes) -> None:
        """Let transactions arrive, each a record of one source, in order."""
        chunk = [decode_transaction(value) for value in values]
        first = len(self.transactions)
        sources = (np.int64(TRANSACTION_SOURCE) << 48) + np.arange(first, first + len(chunk), dtype=np.int64)
        append_ms = np.array([t.time_ms for t in chunk], np.int64)
        seen = await self.store.observe(batch_of(chunk, sources, append_ms, RATES), [t.transaction_id for t in chunk], append_ms.tolist())
        self.transactions += values
        self.vectors += list(seen.vectors)
        self.places += [tuple(p) for p in seen.positions.tolist()]

    def rows(self) -> list[FeatureRow]:
        """Each applied label once, as a reader of the topic has it."""
        found = {}
        for row in rows(self.published):
            assert row.flags == 0
            before = found.setdefault((row.partition, row.offset), row)
            assert before == row, "a repeated row differs"
        return list(found.values())

    def dead(self) -> set[tuple[bytes, bytes, bytes]]:
        return {(h["error"], h["partition"], h["offset"]) for h in dead(self.published)}

    def assert_equals_twin(self) -> None:
        """What serving saw of each transaction is what the offline twin sees in the logged order, bit for bit."""
        chunk = [decode_transaction(value) for value in self.transactions]
        frame = normalised(pl.DataFrame([{n: getattr(t, n, None) for n in SCHEMA} for t in chunk], schema=SCHEMA), "test")
        labels = self.rows()
        names = [t.transaction_id for t in chunk] + [row.transaction_id for row in labels]
        kinds = [at.TRANSACTION] * len(chunk) + [row.kind for row in labels]
        times = [t.time_ms for t in chunk] + [row.time_ms for row in labels]
        order = LoggedOrder(
            pl.Series("transaction_id", names), np.array(kinds), np.array(times), np.array(self.places + [r.positions for r in labels])
        )
        kept, replayed = replay_in_order(frame, order, SETTINGS, RATES, start_ms=0)
        place = {name: i for i, name in enumerate(frame["transaction_id"][kept].to_list())}
        offline = replayed.vectors[[place[t.transaction_id] for t in chunk]]
        assert replayed.n_misplaced == 0
        assert np.array_equal(np.array(self.vectors).view(np.int32), offline.view(np.int32))


class Worker:
    """One worker's label pipeline and sweep."""

    def __init__(self, world: World, rng: random.Random | None = None, faults: float = 0.0) -> None:
        self._world = world
        log, parked = world.log, world.parked
        if rng is not None:
            log, parked = Shaky(log, rng, faults), Shaky(parked, rng, faults)
        store = FeatureStore(log, KEYS, SETTINGS, RATES)
        self._store = store
        self.metrics = Metrics()
        self._sources = Sources(store)
        self._pipeline = LabelPipeline(store, self._sources, SPEC, LABEL_TOPICS, self.metrics, parked)
        self.parked = ParkedLabels(
            parked, store, store, SPEC, LABEL_TOPICS, self.metrics, world.horizon,
            labels_topic=LABELS, replicated=world.replicated, most_per_round=4,
        )  # fmt: skip

    async def assign(self) -> None:
        await again(lambda: self._sources.assign(UUIDS, PARTITIONS))
        await again(lambda: self.parked.assign(UUIDS, PARTITIONS))

    async def consume(self, records: Sequence[Record]) -> None:
        """Process, publish and acknowledge a chunk."""
        answers = await again(lambda: self._pipeline.process(records))
        await (await self._world.publish(answers()))
        for record in records:
            self._world.committed[record.partition] = max(self._world.committed[record.partition], record.offset + 1)

    async def sweep(self) -> int:
        return await self.parked.sweep(self._world.publish)

    async def sweep_all(self) -> None:
        """Sweep until nothing is left that can be dealt with."""
        n_idle = 0
        while n_idle < 20:
            n_idle = 0 if await self.sweep() else n_idle + 1


async def again(attempt):
    while True:
        with suppress(Unavailable):
            return await attempt()


def labels_of(values: Sequence[bytes | None]) -> list[Record]:
    """Spread labels over the partitions in turn."""
    return [Record(LABELS, i % N_PARTITIONS, i // N_PARTITIONS, START_MS + 10**9 + i, None, value) for i, value in enumerate(values)]


class Storm:
    """Two workers with the same partitions and two sweeps, with faults, while transactions arrive late; then calm weather."""

    def __init__(self, world: World, seed: int, *, n: int = 24, n_labels: int = 36, faults: float = 0.02) -> None:
        self.world = world
        self.n_crashes = 0
        self._rng = random.Random(seed)
        self._n = n
        self._faults = faults
        self._is_over = False
        self.said = self._labels(n_labels)
        """All labels; those of the last three transactions never find them."""

    async def run(self) -> None:
        world = self.world
        pairs = [self._consume(partition) for partition in range(N_PARTITIONS) for _ in range(2)]
        await asyncio.gather(self._transactions(), *pairs, self._sweep(), self._sweep())
        world.horizon_ms = START_MS + 10**12
        last = Worker(world)
        await last.assign()
        await last.sweep_all()
        for record in self.said:  # everything comes again
            await last.consume([record])
        await last.sweep_all()
        await world.arrive(*[transaction(self._n + 10 + i, card_id=f"c{i % 3}", merchant_id=f"m{i % 2}") for i in range(6)])
        await world.store.close()

    def _labels(self, n_labels: int) -> list[Record]:
        rng, records = self._rng, []
        offsets = [0] * N_PARTITIONS
        for _ in range(n_labels):
            of = rng.randrange(self._n + 3)
            value = label(of, is_fraud=rng.random() < 0.7, label_time_ms=TOLD_MS + rng.randrange(4))
            partition, append_ms = of % N_PARTITIONS, START_MS + 60_000 * rng.randrange(min(of, self._n - 1), self._n)
            records.append(Record(LABELS, partition, offsets[partition], append_ms, None, value))
            offsets[partition] += 1
        return records

    async def _transactions(self) -> None:
        a = 0
        while a < self._n:
            for _ in range(self._rng.randrange(60)):
                await asyncio.sleep(0)
            b = min(self._n, a + self._rng.randrange(1, 4))
            await self.world.arrive(*[transaction(i) for i in range(a, b)])
            self.world.horizon_ms = START_MS + 60_000 * (b - 1)
            a = b
        self._is_over = True

    async def _consume(self, partition: int) -> None:
        mine = [record for record in self.said if record.partition == partition]
        committed, rng = self.world.committed, self._rng
        while not self._is_over or committed[partition] < len(mine):
            worker = Worker(self.world, rng, self._faults)
            with self._crashing():
                await worker.assign()
                place = max(0, committed[partition] - rng.randrange(4) * (rng.random() < 0.2))
                while place < len(mine):
                    step = rng.randrange(1, 5)
                    await worker.consume(mine[place : place + step])
                    place += step
                await asyncio.sleep(0)

    async def _sweep(self) -> None:
        while not self._is_over:
            worker = Worker(self.world, self._rng, self._faults)
            with self._crashing():
                await worker.assign()
                while not self._is_over:
                    with suppress(Unavailable):
                        await worker.sweep()
                    await asyncio.sleep(0)

    @contextmanager
    def _crashing(self):
        try:
            yield
        except Crash:
            self.n_crashes += 1

    def assert_exact(self) -> None:
        """Each label counts once, the latest is in force, none without transaction, and the offline twin agrees."""
        in_force, never = {}, set()
        for record in self.said:
            fields = msgspec.json.decode(record.value, type=dict)
            name = fields["transaction_id"]
            if int(name[1:]) >= self._n:
                never.add((b"UnknownTransaction", b"%d" % record.partition, b"%d" % record.offset))
            else:
                order = (fields["label_time_ms"], record.offset)
                in_force[name] = max(in_force.get(name, (order, False)), (order, fields["is_fraud"]))
        assert self.world.dead() == never
        frauds = dict.fromkeys(in_force, 0)
        for row in self.world.rows():
            frauds[row.transaction_id] += 1 if row.kind == FRAUD else -1
        assert frauds == {name: int(is_fraud) for name, (_, is_fraud) in in_force.items()}
        self.world.assert_equals_twin()


def known_frauds(world: World) -> list[tuple[float, float]]:
    """What the six probes at the end know of card and merchant."""
    return [tuple(float(v[COLUMN[f"{e}_known_frauds_28d"]]) for e in ("card", "merchant")) for v in world.vectors[-6:]]
