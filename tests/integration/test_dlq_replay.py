"""Dead letters on a real broker: sent back where they came from."""

import json
import os
import pty
import subprocess
import sys
from functools import partial

import pytest

from domain.errors import MalformedRecord
from stream.dead_letter import replayed
from stream.records import Message
from stream.topics import CONTROL, LABELS, TRANSACTIONS, TRANSACTIONS_DEAD
from tests.integration.dlq_commands import bury, records_of, rows, run_dlq, send, three


@pytest.fixture
def run(environment):
    return partial(run_dlq, environment)


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


def test_one_record_too_large_for_its_topic_does_not_stop_the_others(connection):
    big = b"x" * (3 * 1024 * 1024)
    place = connection.topic(TRANSACTIONS)
    offsets = send(connection, [Message(place, b"k", b"1", 0), Message(place, b"k", big, 0), Message(place, b"k", b"2", 0)])

    assert offsets[1] is None
    assert [r.value for r in records_of(connection, TRANSACTIONS)] == [b"1", b"2"]
