"""A worker whose pipelines echo: run as a program by the transport tests, which kill, stop and disturb it.

Every transaction is answered by one score with the same key and value, every label by one alert. What arrives may say
what to do: see `_obey`.
"""

import argparse
import asyncio
import json
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path

from domain.errors import Unavailable
from monitoring.metrics import Metrics
from service.logs import configure
from stream.connection import KafkaConnection
from stream.records import Message
from stream.topics import ALERTS, SCORES
from stream.watchdog import Limits
from stream.worker import Pipelines, WorkerSettings, run

#: How long the other side stays away after the first `unavailable`.
AWAY_S = 8.0


class Echo:
    def __init__(self, connection, folder):
        self.connection = connection
        self.folder = folder
        self.away_until_s = None

    async def transactions(self, records):
        for record in records:
            await self.obey(record.value)
        topic = self.connection.topic(SCORES)
        return lambda: [Message(topic, r.key, r.value, r.partition, (("offset", b"%d" % r.offset),)) for r in records]

    async def labels(self, records):
        for record in records:
            await self.obey(record.value)
        topic = self.connection.topic(ALERTS)
        return lambda: [Message(topic, r.key, r.value, None) for r in records]

    async def obey(self, value):
        if value.startswith(b"wait"):
            (self.folder / "waiting").touch()
            while not (self.folder / "go").exists():  # noqa: ASYNC110 - another process makes the file
                await asyncio.sleep(0.01)
        elif value == b"block":
            time.sleep(60)  # noqa: ASYNC251 - blocks the event loop on purpose
        elif value == b"raise":
            raise ValueError("as asked")
        elif value == b"unavailable":
            self.away_until_s = self.away_until_s or time.monotonic() + AWAY_S
            if time.monotonic() < self.away_until_s:
                raise Unavailable("as asked")

    async def on_assigned(self, uuids, committed):
        if (self.folder / "away").exists():
            raise Unavailable("as asked")
        with (self.folder / "assigned").open("a") as file:
            file.write(json.dumps({"uuids": uuids, "partitions": sorted(committed)}) + "\n")
        return {}

    async def before_commit(self, offsets):
        with (self.folder / "commits").open("a") as file:
            file.write(json.dumps(sorted([*tp, offset] for tp, offset in offsets.items())) + "\n")
        return not (self.folder / "refuse").exists()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bootstrap")
    parser.add_argument("prefix")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--unacknowledged-s", type=float, default=30)
    parser.add_argument("--flow-s", type=float, default=60)
    parser.add_argument("--turn-s", type=float, default=15)
    parser.add_argument("--chunk-size", type=int, default=500)
    given = parser.parse_args()
    configure()
    connection = KafkaConnection(bootstrap=given.bootstrap, prefix=given.prefix)
    echo = Echo(connection, given.folder)

    @asynccontextmanager
    async def build():
        yield Pipelines(
            echo.transactions,
            echo.labels,
            on_assigned=echo.on_assigned,
            before_commit=echo.before_commit,
            facts=lambda: {"model": "echo@1"},
        )
        (given.folder / "closed").touch()

    limits = Limits(flow_s=given.flow_s, unacknowledged_s=given.unacknowledged_s, loop_s=given.turn_s)
    settings = WorkerSettings(connection, "echo", chunk_size=given.chunk_size, limits=limits, commit_interval_s=0.2)
    sys.exit(run(settings, build, Metrics()))


if __name__ == "__main__":
    main()
