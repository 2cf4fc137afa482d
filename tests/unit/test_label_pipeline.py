"""A label changes the features once; what cannot be applied goes to the dead-letter topic with its reason."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.layout import FRAUD, FRAUD_UNDONE
from features.memory import MemoryLog
from features.spec import COLUMN
from tests.unit.pipeline_runs import (
    LABEL_TOPICS,
    LABELS,
    SPEC,
    START_MS,
    TOPICS,
    Run,
    dead,
    label,
    records_of,
    rows,
    timeless,
    transaction,
)

N = 6
TOLD_MS = START_MS + 10**9
CHUNK = records_of([transaction(i) for i in range(N)])


def labelled(*values: bytes, run: Run | None = None, first: int = 0):
    """Return the messages of labels given after the transactions t0..t5."""
    return (run or Run())(CHUNK, records_of(values, topic=LABELS, first=first))[1]


def test_a_fraud_gives_a_feature_row_with_the_places_in_card_and_merchant():
    (message,) = labelled(label(4))

    row = rows([message])[0]
    assert (message.topic, message.key, message.partition) == (TOPICS.features, b"c1", None)
    assert (row.transaction_id, row.kind, row.flags, row.spec, row.vector) == ("t4", FRAUD, 0, SPEC, b"")
    assert row.time_ms == START_MS + 4 * 60_000
    assert row.positions == (2, 3, -1, -1)  # card c1 has t1 and t4 before it, merchant m0 has t0, t2 and t4


def test_the_next_transaction_of_the_merchant_knows_the_fraud():
    run = Run()
    labelled(label(4), run=run)

    messages = run(records_of([transaction(8)], first=N))[0]

    vector = np.frombuffer(rows(messages)[0].vector, np.float32)
    assert vector[COLUMN["merchant_known_frauds_28d"]] == 1
    assert vector[COLUMN["card_known_frauds_28d"]] == 0  # another card


def test_a_repetition_of_the_same_value_changes_nothing_and_a_correction_takes_it_back():
    kinds = [
        [row.kind for row in rows(labelled(*values))]
        for values in (
            [label(1), label(1, label_time_ms=TOLD_MS + 1)],
            [label(1), label(1, is_fraud=False, label_time_ms=TOLD_MS + 1)],
            [label(1), label(1, is_fraud=False, label_time_ms=TOLD_MS - 1)],
            [label(1, is_fraud=False)],
            [label(1), label(1, is_fraud=False, label_time_ms=TOLD_MS + 1), label(1, label_time_ms=TOLD_MS + 2)],
        )
    ]

    assert kinds == [[FRAUD], [FRAUD, FRAUD_UNDONE], [FRAUD], [], [FRAUD, FRAUD_UNDONE, FRAUD]]


@pytest.mark.parametrize(
    ("value", "error", "hint"),
    [
        (label(1, label_time_ms=START_MS + 60_000), b"InvalidRecord", b"label_time_ms"),
        (label(1, source="neighbour"), b"InvalidRecord", b"source"),
        (label(1, card_id="4111111111111111"), b"CardNumberRejected", b"token"),
        (b"{", b"MalformedRecord", b"JSON"),
        (None, b"MalformedRecord", b"empty"),
    ],
)
def test_what_cannot_be_applied_is_a_dead_letter_with_its_reason(value, error, hint):
    (message,) = labelled(value)

    (headers,) = dead([message])
    assert message.topic == LABEL_TOPICS.dead
    assert headers["error"] == error
    assert hint in headers["reason"]
    assert headers["topic"] == LABELS.encode()
    assert b"4111111111111111" not in (message.value or b"")


VALUES = st.one_of(
    st.builds(label, st.integers(0, N + 1), is_fraud=st.booleans(), label_time_ms=st.integers(TOLD_MS, TOLD_MS + 3)),
    st.builds(label, st.integers(0, N - 1), label_time_ms=st.integers(START_MS - 1, START_MS)),
    st.sampled_from([None, b"{", b"{}"]),
)
CHUNKS = st.lists(st.lists(VALUES, max_size=8), min_size=1, max_size=3)


def label_chunks(values):
    found, n = [], 0
    for chunk in values:
        found.append(records_of(chunk, topic=LABELS, first=n))
        n += len(chunk)
    return found


@given(values=CHUNKS)
@settings(max_examples=60)
def test_the_rows_of_a_transaction_alternate_and_end_at_the_label_in_force(values):
    chunks = label_chunks(values)
    run = Run()

    answers = run(CHUNK, *chunks)[1:]

    said: dict[str, list[int]] = {}
    for row in [row for messages in answers for row in rows(messages)]:
        said.setdefault(row.transaction_id, []).append(row.kind)
    in_force: dict[str, tuple] = {}
    for record in [record for chunk in chunks for record in chunk]:
        try:
            fields = msgspec.json.decode(record.value or b"", type=dict)
            name, when, is_fraud = fields["transaction_id"], fields["label_time_ms"], fields["is_fraud"]
        except (msgspec.DecodeError, KeyError):
            continue
        if when >= TOLD_MS:
            said_before = in_force.get(name, (0, -1, False))
            if (when, record.offset) > said_before[:2]:
                in_force[name] = (when, record.offset, is_fraud)
    for kinds in said.values():
        assert kinds == [FRAUD, FRAUD_UNDONE] * (len(kinds) // 2) + [FRAUD] * (len(kinds) % 2)
    assert {name for name, kinds in said.items() if kinds[-1] == FRAUD} == {
        name for name, (_, _, is_fraud) in in_force.items() if is_fraud and int(name[1:]) < N
    }


@given(values=CHUNKS, first=st.integers(0, 2))
@settings(max_examples=60)
def test_labels_processed_again_give_the_same_rows_and_count_once(values, first):
    chunks = label_chunks(values)
    log = MemoryLog()
    answers = Run(log)(CHUNK, *chunks)[1:]
    states = dict(log.states)

    again = Run(log)(*[chunk for chunk in chunks[first:] if chunk])

    assert [timeless(m) for m in again] == [timeless(m) for m, chunk in zip(answers, chunks, strict=True) if chunk][
        sum(bool(chunk) for chunk in chunks[:first]) :
    ]
    probe = records_of([transaction(7), transaction(8)], first=N)
    clean = MemoryLog()
    clean.states = states
    clean._sources = dict(log._sources)
    assert [row.vector for row in rows(Run(log)(probe)[0])] == [row.vector for row in rows(Run(clean)(probe)[0])]


def test_a_label_whose_transaction_is_not_there_yet_gives_nothing():
    assert labelled(label(99)) == []


def test_labels_are_counted():
    run = Run()
    labelled(label(1), label(1), label(99), b"{", run=run)
    text = run.metrics.exposition().decode()

    assert "weir_labels_total 3.0" in text
    assert "weir_labels_applied_total 1.0" in text
    assert f"weir_label_delay_seconds_sum {float(10**6 - 60)}" in text
    assert 'weir_dead_letters_total{error="MalformedRecord",kind="labels"} 1.0' in text
