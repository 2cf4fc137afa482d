"""Throughput and latency of the whole way: appended transactions to acknowledged answers."""

import asyncio
import re
import time
from typing import Any, Final
from urllib.request import urlopen

import numpy as np
from numpy.typing import NDArray

from benchmarks.stage import Stage, memory_mb, worker_of
from service.history_records import HistoryRecords
from service.sending import Sender
from service.tailing import Tail
from stream.topics import SCORES, TRANSACTIONS

_TICK_S: Final = 0.005
_PIECE: Final = 5_000
_WARM_UP: Final = 0.2
"""First share of a run that is not counted: connections, caches, the first checkpoints."""
_PATIENCE_S: Final = 300.0


class Appended:
    """Append times of transactions and of their answers, read from the topics."""

    def __init__(self, place: Stage) -> None:
        self._topics = [place.connection.topic(t) for t in (TRANSACTIONS, SCORES)]
        self._tail = Tail(place.connection, self._topics, from_beginning=False, until_end=False)
        self._stop = asyncio.Event()
        self._transactions: dict[tuple[int, int], int] = {}
        self._answers: dict[tuple[int, int], int] = {}

    async def read(self, ready: asyncio.Event) -> None:
        """Read until `stop`; sets `ready` when connected."""
        import msgspec

        from domain.decision import Score

        decoder = msgspec.json.Decoder(Score)
        async with self._tail as tail:
            ready.set()
            async for records in tail.batches(self._stop):
                if records[0].topic == self._topics[0]:
                    self._transactions.update({(r.partition, r.offset): r.timestamp for r in records})
                else:
                    self._answers.update({decoder.decode(r.value or b"").source: r.timestamp for r in records})

    async def wait(self, n: int) -> None:
        """Wait for `n` distinct answers, then stop reading."""
        deadline_s = time.monotonic() + _PATIENCE_S
        while len(self._answers) < n or len(self._transactions) < n:
            if time.monotonic() > deadline_s:
                raise RuntimeError(f"only {len(self._answers)} of {n} transactions were answered")
            await asyncio.sleep(0.05)
        self._stop.set()

    def times_ms(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the append times of transactions and of their answers, in order of the transactions' times."""
        places = sorted(self._transactions, key=self._transactions.__getitem__)
        return np.array([self._transactions[p] for p in places]), np.array([self._answers[p] for p in places])


def throughput(place: Stage, records: HistoryRecords, first: int, n: int) -> dict[str, Any]:
    """Append `n` transactions as fast as they go, then start a worker on them and count from its 20th percentile on."""
    return asyncio.run(_throughput(place, records, first, n))


async def _throughput(place: Stage, records: HistoryRecords, first: int, n: int) -> dict[str, Any]:
    appended, ready = Appended(place), asyncio.Event()
    reading = asyncio.create_task(appended.read(ready))
    await ready.wait()
    async with Sender(place.connection) as sender:
        for a in range(first, first + n, _PIECE):
            await sender.send(place.connection.topic(TRANSACTIONS), *records.transactions(a, min(first + n, a + _PIECE)))
        await sender.flush()
    worker_context = worker_of(place)
    worker = await asyncio.to_thread(worker_context.__enter__)
    before = place.cpu(worker)
    await appended.wait(n)
    after, memory, stages = place.cpu(worker), memory_mb(worker.pid), await asyncio.to_thread(_stages_us, place.settings.monitoring.port, n)
    await reading
    await asyncio.to_thread(worker_context.__exit__, None, None, None)
    answered = np.sort(appended.times_ms()[1])
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
    return asyncio.run(_latency(place, records, first, rate, seconds))


async def _latency(place: Stage, records: HistoryRecords, first: int, rate: int, seconds: float) -> dict[str, float]:
    n = int(rate * seconds)
    appended, ready = Appended(place), asyncio.Event()
    reading = asyncio.create_task(appended.read(ready))
    await ready.wait()
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
    await appended.wait(n)
    await reading
    transactions, answers = appended.times_ms()
    found = (answers - transactions)[int(_WARM_UP * n) :]
    p50, p99, p999 = np.percentile(found, [50, 99, 99.9]).tolist()
    return {"p50": round(p50, 1), "p99": round(p99, 1), "p999": round(p999, 1), "transactions": n}


def _stages_us(port: int, n: int) -> dict[str, float]:
    """Return the wall time of each stage per transaction, from the worker's metrics."""
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5.0) as answer:
        text = answer.read().decode()
    found = re.findall(r'^weir_stage_seconds_sum\{stage="(\w+)"\} (\S+)$', text, re.MULTILINE)
    return {name: round(1e6 * float(seconds) / n, 1) for name, seconds in found}
