"""`weir worker` that kills itself (SIGKILL) at a named step: the real wiring, the real objects, one of their methods wrapped.

Arguments: REPORT_FILE NAME, then those of `weir`. When everything is loaded it waits for a line STEP:SIDE:NTH on its input; then it
joins, and dies at the NTH time it comes to that side of the step, after noting so in REPORT_FILE; an unknown step never
kills. NAME is its client id in the consumer group.

A side is `before` (nothing of the step is done), `within` (half of it) or `after` (all of it, and nothing that follows).
The Redis steps are found in what is written to Redis, command by command, so that they need no help from the code.
"""

import asyncio
import os
import re
import signal
import sys
import time
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

#: What a command of a step looks like on the wire.
_COMMAND: Final = rb"\*\d+\r\n\$\d+\r\n"
REDIS_STEPS: Final = {
    "claim": re.compile(_COMMAND + rb"FCALL\r\n\$\d+\r\nweir_claim_v"),
    "append": re.compile(_COMMAND + rb"APPEND\r\n\$\d+\r\n[^\r]*fs:"),
    "journal": re.compile(_COMMAND + rb"(EVAL|FCALL|SET)\r\n(?s:.*'SET'.*):j:[^\r]*:\{\d+\}:\d+\r\n"),
    "marker": re.compile(_COMMAND + rb"(EVAL|FCALL|SET)\r\n(?s:.*)applied:"),
}
#: Every side at which a worker can be killed.
SIDES: Final = {
    "claim": ("before", "after"),
    "append": ("before", "within", "after"),
    "journal": ("before", "after"),
    "produce": ("before", "within", "after"),
    "marker": ("before", "after"),
    "commit": ("before", "after"),
}
#: Bytes in which a command's name and its first key lie.
_HEAD_BYTES: Final = 2_000


class KillPoint(NamedTuple):
    """Where to die."""

    step: str
    side: str
    nth: int

    @classmethod
    def parse(cls, text: str) -> "KillPoint":
        step, side, nth = text.split(":")
        return cls(step, side, int(nth))


class Reaper:
    """Counts how often the step was come to, and kills."""

    def __init__(self, point: KillPoint, report: Path) -> None:
        self.point = point
        self._report = report
        self._left = point.nth

    def is_due(self, step: str) -> bool:
        """Count one arrival at `step`; tell whether it is the one to die at."""
        if step != self.point.step:
            return False
        self._left -= 1
        return self._left == 0

    def kill(self) -> None:
        with self._report.open("a") as file:
            file.write(f"{self.point.step}:{self.point.side}\n")
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)  # the signal is on its way; nothing may follow


def command_ends(packed: bytes) -> list[int]:
    """Return where each command of a Redis request ends."""
    ends, place = [], 0
    while place < len(packed):
        line = packed.index(b"\r\n", place)
        n_parts, place = int(packed[place + 1 : line]), line + 2
        for _ in range(n_parts):
            line = packed.index(b"\r\n", place)
            place = line + 4 + int(packed[place + 1 : line])
        ends.append(place)
    return ends


def due_prefix(reaper: Reaper, pattern: re.Pattern[bytes], packed: bytes) -> tuple[bytes, int] | None:
    """Return what of a Redis request may still be sent before dying, and its number of commands; None = this is not the one."""
    ends = command_ends(packed)
    starts = [0, *ends]
    hits = [i for i, end in enumerate(ends) if pattern.match(packed, starts[i], min(end, starts[i] + _HEAD_BYTES))]
    if not hits or not reaper.is_due(reaper.point.step):
        return None
    side = reaper.point.side
    n = {"before": hits[0], "within": hits[len(hits) // 2] + 1, "after": hits[-1] + 1}[side]
    if side == "after" and b"EXEC" in packed[starts[n] : starts[n] + 20]:
        n += 1
    return packed[: starts[n]], n


def watch_redis(reaper: Reaper) -> None:
    """Die inside a request to Redis: once the part of it that may still be sent is answered."""
    from features.redis_node import Line

    original, pattern = Line.send, REDIS_STEPS[reaper.point.step]

    def send(self: Any, packed: bytes, *rest: Any) -> asyncio.Future[Any]:
        due = due_prefix(reaper, pattern, packed)
        if due is None:
            return original(self, packed, *rest)
        part, n = due
        if not n:
            reaper.kill()
        original(self, part, n).add_done_callback(lambda _: reaper.kill())
        return asyncio.get_running_loop().create_future()

    Line.send = send


def watch_publisher(reaper: Reaper) -> None:
    """Die while the answers to transactions are published: before, handed over but not confirmed, confirmed but not acknowledged."""
    from stream.publisher import Publisher

    original = Publisher.publish

    async def publish(self: Any, messages: Sequence[Any], *rest: Any) -> Awaitable[None]:
        is_due = any(m.topic.endswith("scores.v1") for m in messages) and reaper.is_due("produce")
        if is_due and reaper.point.side == "before":
            reaper.kill()
        delivered = await original(self, messages, *rest)
        if is_due and reaper.point.side == "within":
            await asyncio.sleep(0.002)  # enough for some of it to leave
            reaper.kill()
        return _die_after(reaper, delivered) if is_due else delivered

    Publisher.publish = publish


async def _die_after(reaper: Reaper, delivered: Awaitable[None]) -> None:
    await delivered
    reaper.kill()


def watch_commits(reaper: Reaper) -> None:
    """Die around the commit of offsets."""
    from stream.transport_thread import ChunkThread

    original = ChunkThread._commit

    async def commit(self: Any, *arguments: Any) -> bool:
        is_due = reaper.is_due("commit")
        if is_due and reaper.point.side == "before":
            reaper.kill()
        done = await original(self, *arguments)
        if is_due:
            reaper.kill()
        return done

    ChunkThread._commit = commit


def name_client(name: str) -> None:
    """Give the worker a client id of its own, so that a test can find its membership."""
    import faust

    original = faust.App.__init__

    def init(self: Any, *arguments: Any, **options: Any) -> None:
        original(self, *arguments, **{"broker_client_id": name} | options)

    faust.App.__init__ = init


def watch(reaper: Reaper) -> None:
    """Wrap what the worker comes to at the reaper's step."""
    if reaper.point.step in REDIS_STEPS:
        watch_redis(reaper)
    elif reaper.point.step == "produce":
        watch_publisher(reaper)
    elif reaper.point.step == "commit":
        watch_commits(reaper)


def wait_for_point(report: Path) -> None:
    """Let the worker, loaded and warm, wait until it is told where to die; without a word it leaves."""
    import stream.worker

    original = stream.worker.run

    def run(*arguments: Any, **options: Any) -> int:
        line = sys.stdin.readline()
        if not line:
            return 0
        watch(Reaper(KillPoint.parse(line.strip()), report))
        return original(*arguments, **options)

    stream.worker.run = run


def main() -> None:
    report, name = Path(sys.argv[1]), sys.argv[2]
    name_client(name)
    wait_for_point(report)
    from service.cli import main as weir

    sys.argv[1:] = sys.argv[3:]
    weir()


if __name__ == "__main__":
    main()
