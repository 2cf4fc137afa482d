"""Throughput and latency of the whole way: appended transactions to acknowledged answers."""

import asyncio
import re
import time
from contextlib import ExitStack
from typing import Any, Final, Self
from urllib.request import urlopen

import msgspec
import numpy as np
from kafka.admin import OffsetSpec
from kafka.structs import TopicPartition
from numpy.typing import NDArray

from benchmarks.stage import Stage, memory_mb, worker_of
from domain.decision import Score
from service.history_records import HistoryRecords
from service.sending import Sender
from service.tailing import Tail
from stream.topic_admin import admin_client
from stream.topics import SCORES, TRANSACTIONS

_TICK_S: Final = 0.005
_POLL_S: Final = 0.5
_PIECE: Final = 5_000
_WARM_UP: Final = 0.2
"""First share of a run that is not counted: connections, caches, the first checkpoints."""
_PATIENCE_S: Final = 300.0


class Run:
    """What one run appended, read back from the topics when it is over: reading beside it would take part of the cores."""

    def __init__(self, place: Stage) -> None:
        self._place = place
        self._topics = tuple(place.connection.topic(topic) for topic in (TRANSACTIONS, SCORES))
        self._open = ExitStack()
        self._client: Any = None
        self._first: dict[tuple[str, int], int] = {}

    def __enter__(self) -> Self:
        self._client = self._open.enter_context(admin_client(self._place.connection))
        self._first = self._ends()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    async def wait(self, n: int) -> None:
        """Wait until `n` answers are in the topic."""
        deadline_s = time.monotonic() + _PATIENCE_S
        while self._n_answers() < n:
            if time.monotonic() > deadline_s:
                raise RuntimeError(f"only {self._n_answers()} of {n} transactions were answered")
            await asyncio.sleep(_POLL_S)

    async def times_ms(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the append times of transactions and of their answers, in order of the transactions' times."""
        decoder = msgspec.json.Decoder(Score)
        asked: dict[tuple[int, int], int] = {}
        answered: dict[tuple[int, int], int] = {}
        async with Tail(self._place.connection, self._topics, from_beginning=True, until_end=True) as tail:
            async for records in tail.batches(asyncio.Event()):
                new = [r for r in records if r.offset >= self._first[r.topic, r.partition]]
                if records[0].topic == self._topics[0]:
                    asked.update({(r.partition, r.offset): r.timestamp for r in new})
                else:
                    answered.update({decoder.decode(r.value or b"").source: r.timestamp for r in new})
        places = sorted(asked, key=asked.__getitem__)
        return np.array([asked[p] for p in places]), np.array([answered[p] for p in places])

    def _n_answers(self) -> int:
        return sum(end - self._first[place] for place, end in self._ends().items() if place[0] == self._topics[1])

    def _ends(self) -> dict[tuple[str, int], int]:
        partitions = [TopicPartition(t, p) for t in self._topics for p in range(TRANSACTIONS.partitions)]
        found = self._client.list_partition_offsets(dict.fromkeys(partitions, OffsetSpec.LATEST))
        return {(place.topic, place.partition): at.offset for place, at in found.items()}


def throughput(place: Stage, records: HistoryRecords, first: int, n: int) -> dict[str, Any]:
    """Append `n` transactions as fast as they go, then start a worker on them and count from its 20th percentile on."""
    with Run(place) as run:
        return asyncio.run(_throughput(run, place, records, first, n))


async def _throughput(run: Run, place: Stage, records: HistoryRecords, first: int, n: int) -> dict[str, Any]:
    async with Sender(place.connection) as sender:
        for a in range(first, first + n, _PIECE):
            await sender.send(place.connection.topic(TRANSACTIONS), *records.transactions(a, min(first + n, a + _PIECE)))
        await sender.flush()
    with worker_of(place) as worker:
        before = place.cpu(worker)
        await run.wait(n)
        after, memory, stages = place.cpu(worker), memory_mb(worker.pid), _stages_us(place.settings.monitoring.port, n)
    answered = np.sort((await run.times_ms())[1])
    start = int(_WARM_UP * n)
    seconds = (answered[-1] - answered[start]) / 1000
    return {
        "tx_per_s": round((n - start) / seconds),
        "transactions": n,
        "worker_mb": memory,
        "stages_us_per_tx": stages,
        "cpu_us_per_tx": {name: round(1e6 * (b - a) / n, 1) for name, a, b in zip(before._fields, before, after, strict=True)},
    }


def latency(place: Stage, records: HistoryRecords, first: int, *, rate: int, seconds: float) -> dict[str, float]:
    """Append transactions at `rate` a second; return percentiles of append to answer, in ms."""
    with Run(place) as run:
        return asyncio.run(_latency(run, place, records, first, rate, seconds))


async def _latency(run: Run, place: Stage, records: HistoryRecords, first: int, rate: int, seconds: float) -> dict[str, float]:
    n = int(rate * seconds)
    topic = place.connection.topic(TRANSACTIONS)
    keys, values = records.transactions(first, first + n)
    async with Sender(place.connection) as sender:
        began, sent = time.perf_counter(), 0
        while sent < n:
            due = min(n, int((time.perf_counter() - began) * rate))
            if due > sent:
                await sender.send(topic, keys[sent:due], values[sent:due])
                sent = due
            await asyncio.sleep(_TICK_S)
        await sender.flush()
    await run.wait(n)
    transactions, answers = await run.times_ms()
    found = (answers - transactions)[int(_WARM_UP * n) :]
    p50, p99, p999 = np.percentile(found, [50, 99, 99.9]).tolist()
    return {"p50": round(p50, 1), "p99": round(p99, 1), "p999": round(p999, 1), "transactions": n}


def _stages_us(port: int, n: int) -> dict[str, float]:
    """Return the wall time of each stage per transaction, from the worker's metrics."""
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5.0) as answer:
        text = answer.read().decode()
    found = re.findall(r'^weir_stage_seconds_sum\{stage="(\w+)"\} (\S+)$', text, re.MULTILINE)
    return {name: round(1e6 * float(seconds) / n, 1) for name, seconds in found}
