"""Dead letters as a worker leaves them, and `weir dlq` on them."""

import asyncio
import json
import subprocess
import sys
from typing import NamedTuple

from click.testing import CliRunner

from domain.errors import InvalidRecord, MalformedRecord, UnknownTransaction, WeirError
from service import cli
from service.partition_reading import PartitionReader
from service.placed_sending import PlacedSender
from stream.dead_letter import dead_letter
from stream.topics import LABELS, LABELS_DEAD, TRANSACTIONS, TRANSACTIONS_DEAD
from tests.consumed import Record


class Ran(NamedTuple):
    """A command that has ended."""

    stdout: str
    stderr: str


def run_dlq(environment, *arguments, code=0):
    """Run `weir dlq` in this process."""
    found = CliRunner().invoke(cli.weir, ["dlq", *arguments], env=environment)
    told = isinstance(found.exception, WeirError)  # `cli.main` prints it
    ended = Ran(found.stdout, found.stderr + (str(found.exception) if told else ""))
    assert (2 if told else found.exit_code) == code, (ended, found.exception)
    return ended


def run_dlq_apart(environment, *arguments, code=0):
    """Run `weir dlq` in a process of its own."""
    found = subprocess.run(
        [sys.executable, "-m", "service.cli", "dlq", *arguments],
        check=False, capture_output=True, env=environment, timeout=90, text=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert found.returncode == code, found.stderr + found.stdout
    return Ran(found.stdout, found.stderr)


def rows(found):
    return [json.loads(line) for line in found.stdout.splitlines()]


def send(connection, messages):
    async def work():
        async with PlacedSender(connection) as sender:
            return await sender.send(messages)

    return asyncio.run(work())


def records_of(connection, topic):
    async def work():
        async with PartitionReader(connection) as reader:
            found = []
            for partition in await reader.partitions(connection.topic(topic)):
                async for some in reader.records(
                    connection.topic(topic), partition, *await reader.bounds(connection.topic(topic), partition)
                ):
                    found += some
            return found

    return asyncio.run(work())


def bury(connection, topic, key, value, error, *, partition=1, headers=()):
    """Send what the worker sends when it rejects a record."""
    dead = {TRANSACTIONS: TRANSACTIONS_DEAD, LABELS: LABELS_DEAD}[topic]
    record = Record(connection.topic(topic), partition, 7, 1_700_000_000_000, key, value, headers)
    return dead_letter(record, error, topic=connection.topic(dead), now_ms=1_700_000_000_500)


def three(connection):
    return [
        bury(
            connection,
            TRANSACTIONS,
            b"c1",
            b'{"transaction_id":"t1"}',
            InvalidRecord("currency", "currency must be ISO 4217; found 'euros'"),
        ),
        bury(connection, TRANSACTIONS, None, b"\xff\x00", MalformedRecord("not JSON; send JSON")),
        bury(connection, LABELS, b"t9", b'{"transaction_id":"t9"}', UnknownTransaction(), partition=2),
    ]
