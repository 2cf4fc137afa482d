"""`python -m benchmarks.swap`: models swapped, rolled back and refused under load; what it costs the transactions of the moment.

Every answer is computed again from its logged vector by the model that it names, so that "no answer mixes models" is checked and
not claimed. Broker, Redis, worker and this program share the machine's cores.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.request import urlopen

import click
import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.__main__ import commit, machine
from benchmarks.answer_check import Place, check_answers
from benchmarks.sibling import sibling_of
from benchmarks.stage import Stage, stage, worker_of
from domain.decision import Score
from features.feature_row import decode_row
from service import logs
from service.demo import settings_toml
from service.history_records import HistoryRecords
from service.sending import Sender
from service.tailing import Tail
from service.times import now_ms
from service.wiring import registry_of
from stream.topics import FEATURE_ROWS, SCORES, TRANSACTIONS

_TICK_S: Final = 0.005
_POLL_S: Final = 0.2
_FOLLOWED_S: Final = 30.0
#: Around the first answer of another model: what loading, verifying and swapping can disturb.
_AROUND_MS: Final = 1_500
_LATE_MS: Final = 50.0


class Swaps:
    """Changes the registry again and again and waits until the worker has followed.

    Attributes:
        times_ms: When each change was in force, or refused.
        n_refused: Changes that the worker refused.
    """

    def __init__(self, place: Stage, models: tuple[str, str], altered: str) -> None:
        self._place = place
        self._registry = registry_of(place.settings)
        self._models = models
        self._altered = altered
        self.times_ms: list[int] = []
        self.n_refused = 0

    async def run(self, n_swaps: int, pause_s: float) -> None:
        """Promote in turn, roll back twice, and promote an altered bundle once in between."""
        for i in range(n_swaps):
            await asyncio.sleep(pause_s)
            await self._change(partial(self._registry.promote, self._models[i % 2]))
            if i == n_swaps // 2:
                serving = await asyncio.to_thread(self._serving)
                await asyncio.to_thread(self._registry.promote, self._altered)
                await asyncio.sleep(pause_s)
                self.times_ms.append(now_ms())
                self.n_refused += await asyncio.to_thread(self._serving) == serving
                await asyncio.to_thread(self._registry.promote, serving)
        for _ in range(2):
            await asyncio.sleep(pause_s)
            await self._change(self._registry.rollback)

    async def _change(self, change: Callable[[], Any]) -> None:
        wanted = await asyncio.to_thread(change)
        deadline_s = time.monotonic() + _FOLLOWED_S
        while await asyncio.to_thread(self._serving) != wanted:
            if time.monotonic() > deadline_s:
                raise RuntimeError(f"the worker does not serve {wanted}")
            await asyncio.sleep(_POLL_S)
        self.times_ms.append(now_ms())

    def _serving(self) -> str:
        with urlopen(f"http://127.0.0.1:{self._place.settings.monitoring.port}/readyz", timeout=_FOLLOWED_S) as answer:
            return str(json.load(answer)["model"])


async def _play(place: Stage, records: HistoryRecords, first: int, rate: int, work: Callable[[], Any]) -> int:
    """Append transactions at `rate` a second while `work` goes on; return how many."""
    topic = place.connection.topic(TRANSACTIONS)
    n_all = len(records.event_times_ms)
    running = asyncio.ensure_future(work())
    async with Sender(place.connection) as sender:
        began, sent = time.perf_counter(), 0
        while not running.done():
            due = min(int((time.perf_counter() - began) * rate), n_all - first)
            if due > sent:
                await sender.send(topic, *records.transactions(first + sent, first + due))
                sent = due
            await asyncio.sleep(_TICK_S)
        await sender.flush()
    await running
    return sent


class Answers:
    """What the topics hold, read when everything is over."""

    def __init__(self) -> None:
        self.asked_ms: dict[Place, int] = {}
        self.answered_ms: dict[Place, int] = {}
        self.scores: list[Score] = []
        self.vectors: dict[Place, NDArray[np.float32]] = {}

    async def read(self, place: Stage) -> None:
        """Read transactions, scores and feature rows from their beginning."""
        names = [place.connection.topic(topic) for topic in (TRANSACTIONS, SCORES, FEATURE_ROWS)]
        decoder = msgspec.json.Decoder(Score)
        async with Tail(place.connection, names, from_beginning=True, until_end=True) as tail:
            async for records in tail.batches(asyncio.Event()):
                for record in records:
                    if record.topic == names[0]:
                        self.asked_ms[record.partition, record.offset] = record.timestamp
                    elif record.topic == names[1]:
                        score = decoder.decode(record.value or b"")
                        self.scores.append(score)
                        self.answered_ms.setdefault(score.source, record.timestamp)
                    else:
                        row = decode_row(record.value or b"")
                        self.vectors[row.partition, row.offset] = np.frombuffer(row.vector, np.float32)

    def waits_ms(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return when each transaction was appended, ascending, and how long it waited for its answer."""
        places = sorted(self.answered_ms, key=self.asked_ms.__getitem__)
        asked = np.array([self.asked_ms[place] for place in places])
        return asked, np.array([self.answered_ms[place] for place in places]) - asked


def _figures(waits_ms: NDArray[np.float64], usual_ms: float) -> dict[str, float]:
    """Return percentiles of the waits, the longest delay beyond the usual wait, and the share that is late by more than 50 ms."""
    p50, p99, p999 = np.percentile(waits_ms, [50, 99, 99.9]).round(1).tolist()
    return {
        "p50_ms": p50, "p99_ms": p99, "p999_ms": p999, "longest_delay_ms": round(float(waits_ms.max()) - usual_ms, 1),
        "late_share": round(float((waits_ms - usual_ms > _LATE_MS).mean()), 6),
    }  # fmt: skip


async def _measure(place: Stage, records: HistoryRecords, *, rate: int, n_swaps: int, pause_s: float) -> dict[str, Any]:
    champion = registry_of(place.settings).reference("champion")
    models = sibling_of(place.settings, champion, slope=0.9), sibling_of(place.settings, champion, slope=1.1)
    altered = sibling_of(place.settings, champion, slope=1.3)
    graph = registry_of(place.settings).resolve(altered) / "model.onnx"
    content = bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 1
    graph.write_bytes(bytes(content))
    swaps = Swaps(place, models, altered)
    calm_s = pause_s * n_swaps / 2
    first = await _play(place, records, 0, rate, lambda: asyncio.sleep(calm_s))  # connections, caches, the first checkpoints
    first += await _play(place, records, first, rate, lambda: asyncio.sleep(2 * calm_s))
    from_ms = now_ms()
    n = first + await _play(place, records, first, rate, lambda: swaps.run(n_swaps, pause_s))
    answers = Answers()
    while len(answers.answered_ms) < n:
        await asyncio.sleep(1.0)
        answers = Answers()
        await answers.read(place)
    asked_ms, waits_ms = answers.waits_ms()
    usual = waits_ms[(asked_ms > asked_ms[0] + 1000 * calm_s) & (asked_ms < from_ms - _AROUND_MS)]
    near = np.zeros(len(asked_ms), np.bool_)
    for at_ms in swaps.times_ms:
        near |= np.abs(asked_ms - at_ms) < _AROUND_MS
    registry_of(place.settings).promote(champion)  # the next run begins with it
    checked = check_answers(place.settings, answers.scores, answers.vectors)
    median = float(np.median(usual))
    return {
        "rate": rate, "transactions": n, "answered": checked.n_answers, "repeated": checked.n_repeated,
        "different": checked.n_different, "mixed": checked.n_mixed,
        "swaps": len(swaps.times_ms) - swaps.n_refused, "refused": swaps.n_refused,
        "changes_seen": {partition: len(models) - 1 for partition, models in sorted(checked.sequences.items())},
        "undisturbed": _figures(usual, median), "around_swaps": _figures(waits_ms[near], median),
    }  # fmt: skip


@click.command()
@click.option("--rate", default=2_000, show_default=True, help="Transactions a second.")
@click.option("--swaps", "n_swaps", default=10, show_default=True, help="Promotions; two rollbacks and one refused bundle come on top.")
@click.option("--pause", "pause_s", default=3.0, show_default=True, help="Seconds between two changes.")
@click.option(
    "--directory", type=click.Path(file_okay=False, path_type=Path), default=Path("var/bench"), show_default=True, help="Where it runs."
)
def main(*, rate: int, n_swaps: int, pause_s: float, directory: Path) -> None:
    """Swap models under load and check every answer."""
    logs.configure(level=logging.ERROR)
    with stage(directory, Console(stderr=True, highlight=False)) as place:
        fast = msgspec.structs.replace(place.settings, model=msgspec.structs.replace(place.settings.model, poll_s=_POLL_S))
        (place.directory / "weir.toml").write_text(settings_toml(fast), "utf-8")
        records = HistoryRecords(place.world.history, from_ms=place.world.start_ms)
        with worker_of(place):
            found = asyncio.run(_measure(place, records, rate=rate, n_swaps=n_swaps, pause_s=pause_s))
    click.echo(json.dumps({"machine": machine(), "commit": commit()} | found, indent=2))


if __name__ == "__main__":
    main()
