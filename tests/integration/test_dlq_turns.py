"""Dead letters on a real broker: one acts at a time, and nothing is sent twice after a crash."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from functools import partial

import pytest

from domain.errors import ConfigError, InvalidRecord
from service.dead_letter_handling import DeadLetterHandling
from service.dead_letter_log import DeadLetterLog
from service.dead_letter_turn import DeadLetterTurns, Who
from service.dead_letter_verdict import Rules
from service.dead_letters import Selection, stretches
from service.partition_reading import PartitionReader
from service.placed_sending import PlacedSender
from stream.topics import CONTROL, LABELS, TRANSACTIONS
from tests.integration.dlq_commands import bury, records_of, rows, run_dlq, run_dlq_apart, send, three


@pytest.fixture
def run(environment):
    return partial(run_dlq, environment)


@pytest.fixture
def run_apart(environment):
    return partial(run_dlq_apart, environment)


class Died(Exception):
    """Stands for a kill."""


class Dying(PlacedSender):
    """A sender whose process ends when it is about to write, for the n-th time, records of one kind."""

    def __init__(self, connection, *, before):
        super().__init__(connection)
        self._before = before

    async def send(self, messages):
        if any((m.key or b"").startswith(self._before) and m.value is not None for m in messages):
            raise Died
        return await super().send(messages)


async def _replay(connection, monkeypatch, who, *, dying_before=None):
    steps = []
    with monkeypatch.context() as patched:
        if dying_before is not None:
            patched.setattr("service.dead_letter_handling.PlacedSender", lambda c: Dying(c, before=dying_before))
        async with PartitionReader(connection) as reader, PartitionReader(connection) as log_reader:
            log = DeadLetterLog(connection, log_reader)
            await log.refresh()
            handling = DeadLetterHandling(connection, reader, log, rules=Rules())
            parts = await stretches(reader, connection, Selection())
            await handling.replay(parts, Selection(), who, limit=None, on_steps=steps.extend, stop=asyncio.Event())
    return steps


def test_a_replay_that_died_before_its_audit_line_is_recognised(connection, monkeypatch, run):
    send(connection, three(connection))
    dead = Who("ana", Who.here("").host, 2**22 + 1, "run-1")  # no such process
    with pytest.raises(Died):
        asyncio.run(_replay(connection, monkeypatch, dead, dying_before=b"dead_letter_action:"))
    sent = len(records_of(connection, TRANSACTIONS)), len(records_of(connection, LABELS))
    assert sent == (2, 0)

    assert asyncio.run(_replay(connection, monkeypatch, Who.here("run-2"))) != []
    assert (len(records_of(connection, TRANSACTIONS)), len(records_of(connection, LABELS))) == (2, 1)
    lines = [json.loads(r.value) for r in records_of(connection, CONTROL) if r.key.startswith(b"dead_letter_action:")]
    assert [(a["user"], a.get("is_recovered"), a["to_topic"]) for a in lines].count(("ana", True, connection.topic(TRANSACTIONS))) == 2
    assert {found["state"] for found in rows(run("list", "--all", "--json"))} == {"replayed"}


def test_a_replay_that_died_before_sending_is_done_by_the_next(connection, monkeypatch):
    send(connection, three(connection))
    dead = Who("ana", Who.here("").host, 2**22 + 1, "run-1")
    with pytest.raises(Died):
        asyncio.run(_replay(connection, monkeypatch, dead, dying_before=b"c1"))
    assert records_of(connection, TRANSACTIONS) == []

    assert len(asyncio.run(_replay(connection, monkeypatch, Who.here("run-2")))) == 3
    assert len(records_of(connection, TRANSACTIONS)) == 2


async def until_sent(connection, n):
    topic, deadline = connection.topic(TRANSACTIONS), time.monotonic() + 90
    async with PartitionReader(connection) as reader:
        while sum([(await reader.bounds(topic, partition))[1] for partition in range(4)]) < n:
            assert time.monotonic() < deadline


def test_a_replay_that_is_killed_in_the_middle_sends_every_record_once_in_the_end(connection, environment, run):
    n = 10_000
    wrong = InvalidRecord("currency", "currency must be ISO 4217")
    send(connection, [bury(connection, TRANSACTIONS, b"c%d" % i, b"t%d" % i, wrong, partition=i % 4) for i in range(n)])
    command = [sys.executable, "-m", "service.cli", "dlq", "replay", "--yes"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    asyncio.run(until_sent(connection, 300))
    process.kill()

    assert process.wait() == -signal.SIGKILL

    run("replay", "--yes")
    assert sorted(r.value for r in records_of(connection, TRANSACTIONS)) == sorted(b"t%d" % i for i in range(n))
    assert rows(run("list", "--json")) == []
    sent = {f"{r.topic}:{r.partition}:{r.offset}" for r in records_of(connection, TRANSACTIONS)}
    assert {found["handled"]["to"] for found in rows(run("list", "--all", "--json"))} == sent


def test_two_people_do_not_act_at_once(connection, run_apart):
    send(connection, three(connection))

    async def hold_and_let_another_try():
        async with PartitionReader(connection) as reader, PlacedSender(connection) as sender:
            turns = DeadLetterTurns(DeadLetterLog(connection, reader), sender, Who("ana", "elsewhere", 1, "run-1"))
            await turns.take()
            other = await asyncio.to_thread(run_apart, "replay", "--yes", code=2)
            await turns.announce()  # the vain try did not cost the turn
            await turns.release()
            return other

    assert "ana handles dead letters now" in asyncio.run(hold_and_let_another_try()).stderr
    assert "3 replayed" in run_apart("replay", "--yes").stdout


def test_a_lost_turn_ends_the_run(connection):
    async def work():
        async with PartitionReader(connection) as reader, PartitionReader(connection) as other, PlacedSender(connection) as sender:
            first = DeadLetterTurns(DeadLetterLog(connection, reader), sender, Who("ana", Who.here("").host, 2**22 + 1, "run-1"))
            second = DeadLetterTurns(DeadLetterLog(connection, other), sender, Who.here("run-2"))
            await first.take()
            await second.take()
            await first.announce([("origin", "reason")])

    with pytest.raises(ConfigError, match="handles dead letters now"):
        asyncio.run(work())
