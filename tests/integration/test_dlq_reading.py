"""Dead letters on a real broker: listed, counted, shown and discarded."""

import asyncio
import json
import time
from functools import partial

import pytest

from domain.errors import CardNumberRejected, InvalidRecord, MalformedRecord
from service.dead_letter_session import Session
from service.dead_letters import Selection
from stream.records import Message
from stream.topics import CONTROL, LABELS_DEAD, TRANSACTIONS, TRANSACTIONS_DEAD
from tests.integration.dlq_commands import bury, records_of, rows, run_dlq, send, three

CARD = "4111111111111111"


@pytest.fixture
def run(environment):
    return partial(run_dlq, environment)


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
    assert shown.stdout.count("************1111") == 6  # keys, values and reasons
    assert "1767225601007" in shown.stdout
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
