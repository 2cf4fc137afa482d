"""Dead letters on a real broker: listed, shown, replayed, discarded, and nothing twice after a crash."""

import asyncio
import json
import os
import pty
import signal
import subprocess
import sys
import time
from typing import NamedTuple

import pytest
from click.testing import CliRunner

from domain.errors import CardNumberRejected, ConfigError, InvalidRecord, MalformedRecord, UnknownTransaction, WeirError
from service import cli
from service.dead_letter_handling import DeadLetterHandling
from service.dead_letter_log import DeadLetterLog
from service.dead_letter_session import Session
from service.dead_letter_turn import DeadLetterTurns, Who
from service.dead_letter_verdict import Rules
from service.dead_letters import Selection, stretches
from service.partition_reading import PartitionReader
from service.placed_sending import PlacedSender
from stream.connection import KafkaConnection
from stream.dead_letter import dead_letter, replayed
from stream.records import Message
from stream.topic_admin import create
from stream.topics import CONTROL, LABELS, LABELS_DEAD, TRANSACTIONS, TRANSACTIONS_DEAD

CARD = "4111111111111111"


class Rejected(NamedTuple):
    """A record as the worker consumed it."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple = ()


@pytest.fixture
def connection(broker, kafka_prefix):
    connection = KafkaConnection(bootstrap=broker.bootstrap, prefix=kafka_prefix)
    create(connection)
    return connection


class Ran(NamedTuple):
    """A command that has ended."""

    stdout: str
    stderr: str


@pytest.fixture
def environment(connection, tmp_path):
    named = {"WEIR_KAFKA_BOOTSTRAP": connection.bootstrap, "WEIR_KAFKA_PREFIX": connection.prefix, "WEIR_EMBEDDED_DIRECTORY": str(tmp_path)}
    return os.environ | named


@pytest.fixture
def run(environment):
    def run(*arguments, code=0):
        found = CliRunner().invoke(cli.weir, ["dlq", *arguments], env=environment)
        told = isinstance(found.exception, WeirError)  # `cli.main` prints it
        ended = Ran(found.stdout, found.stderr + (str(found.exception) if told else ""))
        assert (2 if told else found.exit_code) == code, (ended, found.exception)
        return ended

    return run


@pytest.fixture
def run_apart(environment):
    def run(*arguments, code=0):
        found = subprocess.run(
            [sys.executable, "-m", "service.cli", "dlq", *arguments],
            check=False, capture_output=True, env=environment, timeout=90, text=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert found.returncode == code, found.stderr + found.stdout
        return Ran(found.stdout, found.stderr)

    return run


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
    record = Rejected(connection.topic(topic), partition, 7, 1_700_000_000_000, key, value, headers)
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


def test_dead_letters_are_listed_by_place_and_filtered(connection, run):
    send(connection, three(connection))
    everything = rows(run("list", "--json"))
    dead, labels = connection.topic(TRANSACTIONS_DEAD), connection.topic(LABELS_DEAD)

    assert [found["place"] for found in everything] == [f"{dead}:0:0", f"{dead}:0:1", f"{labels}:0:0"]
    assert everything[0] | {"time_ms": 0} == {
        "place": f"{dead}:0:0", "time_ms": 0, "error": "InvalidRecord", "reason": "currency must be ISO 4217; found 'euros'",
        "field": "currency", "topic": connection.topic(TRANSACTIONS), "partition": 1, "offset": 7, "append_ms": 1_700_000_000_000,
        "attempts": 1, "replay_of": None, "key": "c1", "bytes": 23, "state": "open", "handled": None,
    }  # fmt: skip
    time_ms = str(everything[1]["time_ms"] + 1)
    for arguments, n in (
        (["--topic", "labels"], 1), (["--error", "MalformedRecord"], 1), (["--field", "currency"], 1), (["--reason", "EUROS"], 1),
        (["--contains", "t9"], 1), (["--limit", "2"], 2), (["--until", "2026-01-01"], 0), (["--since", "2026-01-01"], 3),
        (["--topic", "transactions", "--since", time_ms], 0),
    ):  # fmt: skip
        assert len(rows(run("list", "--json", *arguments))) == n, arguments
    counts = rows(run("list", "--summary", "--json"))
    assert {(c["topic"], c["error"], c["field"], c["letters"]) for c in counts} == {
        (dead, "InvalidRecord", "currency", 1), (dead, "MalformedRecord", None, 1), (labels, "UnknownTransaction", None, 1)
    }  # fmt: skip
    assert "euros" in run("list").stdout


def test_replay_sends_the_original_bytes_home_and_leaves_a_line(connection, run):
    send(connection, three(connection))
    dry = run("replay", "--dry-run").stdout
    assert "3 would be replayed" in dry
    assert records_of(connection, TRANSACTIONS) == []

    assert "no terminal" in run("replay", code=2).stderr
    done = rows(run("replay", "--yes", "--json"))
    sent = records_of(connection, TRANSACTIONS) + records_of(connection, LABELS)
    assert [(r.partition, r.key, r.value) for r in sent] == [
        (1, b"c1", b'{"transaction_id":"t1"}'), (1, None, b"\xff\x00"), (2, b"t9", b'{"transaction_id":"t9"}')
    ]  # fmt: skip
    assert [step["to_offset"] for step in done] == [r.offset for r in sent]
    assert all(replayed(r.headers)[0] == 1 for r in sent)
    assert rows(run("list", "--json")) == []
    handled = rows(run("list", "--all", "--json"))
    assert [h["state"] for h in handled] == ["replayed"] * 3
    assert handled[2]["handled"]["to"] == f"{connection.topic(LABELS)}:2:0"
    lines = [json.loads(r.value) for r in records_of(connection, CONTROL) if r.key.startswith(b"dead_letter_action:")]
    assert [(a["action"], a["attempt"], a["reason"].split(";")[0]) for a in lines][:1] == [("replayed", 2, "currency must be ISO 4217")]
    assert all({"user", "host", "time_ms", "run", "to_topic", "to_partition", "to_offset"} <= set(a) for a in lines)

    assert "0 replayed" in run("replay", "--yes").stdout
    again = run("replay", "transactions:0:0", "--yes", code=1)
    assert "already replayed to" in again.stderr
    run("replay", "transactions:0:0", "--yes", "--force")
    assert len(records_of(connection, TRANSACTIONS)) == 3


@pytest.mark.parametrize(("answer", "n_sent", "code"), [("n", 0, 130), ("y", 2, 0)])
def test_a_terminal_is_asked_first(connection, environment, answer, n_sent, code):
    send(connection, three(connection))
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "service.cli", "dlq", "replay", "--topic", "transactions"]
    process = subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment)
    os.close(theirs)
    os.write(ours, f"{answer}\n".encode())
    shown = process.communicate(timeout=90)[0].decode()
    os.close(ours)

    assert "send 2 dead letters back? [y/N]" in shown
    assert process.returncode == code, shown
    assert len(records_of(connection, TRANSACTIONS)) == n_sent


def test_a_record_that_comes_back_dead_is_recognised_and_refused_after_three_tries(connection, run):
    send(connection, [three(connection)[0]])
    for tries in (2, 3):
        run("replay", "--yes")
        back = records_of(connection, TRANSACTIONS)[-1]
        send(connection, [bury(connection, TRANSACTIONS, back.key, back.value, MalformedRecord("again"), headers=back.headers)])
        (letter,) = rows(run("list", "--json"))
        assert letter["attempts"] == tries
        assert letter["replay_of"].startswith(f"{connection.topic(TRANSACTIONS_DEAD)}:0:{tries - 2}@")

    refused = run("replay", "--yes", code=1)
    assert "tried 3 times already" in refused.stderr
    assert "0 replayed, 1 refused" in refused.stdout
    run("replay", "--yes", "--force")
    assert [replayed(r.headers)[0] for r in records_of(connection, TRANSACTIONS)] == [1, 2, 3]


def test_no_card_number_is_printed_or_sent_again(connection, run):
    masked = bury(connection, TRANSACTIONS, CARD.encode(), b'{"card_id":"%b"}' % CARD.encode(), CardNumberRejected(CARD))
    hidden = bury(
        connection, TRANSACTIONS, CARD.encode(), b'{"event_time_ms":1767225601007,"extra":{"pan":"4111 1111 1111 1111"}}',
        InvalidRecord("amount_minor", "amount_minor is missing; send it with every record"),
    )  # fmt: skip
    wide = bury(connection, TRANSACTIONS, None, CARD.encode("utf-16-le") + b"\xff", MalformedRecord(f"found {CARD}"))
    send(connection, [masked, hidden, wide])
    shown = run("show", *(f"transactions:0:{n}" for n in range(3)))
    refused = run("replay", "--yes", "--force", "--error", "CardNumberRejected", code=1)
    everything = (
        shown.stdout + run("list").stdout + run("list", "--json").stdout + run("replay", "--dry-run", code=1).stdout + refused.stderr
    )

    assert CARD not in everything.replace(" ", "").replace("\\x00", "")
    assert "************1111" in shown.stdout
    assert "1767225601007" in shown.stdout
    assert "not shown" in shown.stdout
    assert "masked, so the original bytes are gone" in refused.stderr


def test_discarded_letters_are_not_listed_and_say_why(connection, run):
    send(connection, three(connection))
    assert "Missing option '--reason'" in run("discard", "labels:0:0", "--yes", code=2).stderr
    run("discard", "labels:0:0", "--reason", "sent again by hand", "--yes")

    assert len(rows(run("list", "--json"))) == 2
    assert "discarded by" in (shown := run("show", "labels:0:0").stdout)
    assert "sent again by hand" in shown
    assert "already discarded by" in run("replay", "labels:0:0", "--yes", code=1).stderr


def test_wrong_places_are_told(connection, run):
    assert "is not the place of a dead letter" in run("show", "scores.v1:0:0", code=2).stderr
    assert "no dead letter at" in run("show", "transactions:0:99", code=2).stderr
    assert "no dead letter at" in run("replay", "labels:3:0", "--yes", code=2).stderr


def test_a_topic_made_anew_does_not_inherit_what_was_handled(connection, run):
    send(connection, [three(connection)[0]])
    run("discard", "transactions:0:0", "--reason", "x", "--yes")
    line = json.loads(next(r.value for r in records_of(connection, CONTROL) if r.key.startswith(b"dead_letter_action:")))
    elsewhere = line | {"append_ms": line["append_ms"] + 1, "offset": 1}
    send(connection, [three(connection)[0], Message(connection.topic(CONTROL), b"dead_letter_action:x", json.dumps(elsewhere).encode(), 0)])

    assert [found["place"].rpartition(":")[2] for found in rows(run("list", "--json"))] == ["1"]


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


def test_one_record_too_large_for_its_topic_does_not_stop_the_others(connection):
    big = b"x" * (3 * 1024 * 1024)
    place = connection.topic(TRANSACTIONS)
    offsets = send(connection, [Message(place, b"k", b"1", 0), Message(place, b"k", big, 0), Message(place, b"k", b"2", 0)])

    assert offsets[1] is None
    assert [r.value for r in records_of(connection, TRANSACTIONS)] == [b"1", b"2"]


def test_a_hundred_thousand_dead_letters_are_counted(connection, run):
    letters = [
        bury(connection, TRANSACTIONS, b"c%d" % i, b'{"transaction_id":"t%d"}' % i, InvalidRecord("currency", "currency must be ISO 4217"))
        for i in range(100_000)
    ]
    send(connection, letters)
    began = time.monotonic()
    (found,) = rows(run("list", "--summary", "--json"))
    print(f"100,000 dead letters counted in {time.monotonic() - began:.1f} s")

    assert found["letters"] == 100_000
    assert sum(1 for _ in run("list", "--json").stdout.splitlines()) == 100_000


def test_a_session_reads_no_further_than_it_told(connection):
    send(connection, three(connection)[:1])

    async def work():
        async with Session(connection, Selection()) as session:
            parts = session.parts
        await asyncio.to_thread(send, connection, three(connection)[:1])
        async with Session(connection, Selection(), parts=parts) as session:
            return [len(letters) async for letters in session.letters(is_all=True)]

    assert asyncio.run(work()) == [1]
