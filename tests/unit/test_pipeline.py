"""Every transaction of a chunk is answered once, the same again, and an alert says what its score says."""

import asyncio

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.decision import Score
from domain.errors import Unavailable
from features.layout import OFFSET_BITS, OFFSET_MASK
from features.memory import MemoryLog
from stream.records import TopicPartition
from stream.sources import Sources
from tests.unit.pipeline_runs import (
    N_PARTITIONS,
    SPEC,
    START_MS,
    TOPICS,
    TRANSACTIONS,
    Record,
    Run,
    TinyScorer,
    alerts,
    dead,
    records_of,
    rows,
    scores,
    timeless,
    transaction,
)

CARD_NUMBER = "4111111111111111"
BROKEN = b'{"amount_minor": "x", garbage'
BAD = st.sampled_from([None, b"", b"{", b"[]", b"\xff", transaction(0, amount_minor=-1), transaction(0, card_id=CARD_NUMBER), BROKEN])
GOOD = st.builds(
    transaction,
    st.integers(0, 30),
    card_id=st.sampled_from(["a", "b", "c"]),
    amount_minor=st.integers(0, 1 << 39),
    currency=st.sampled_from(["EUR", "XXX"]),
    event_time_ms=st.integers(START_MS, START_MS + 10**10),
    device_id=st.sampled_from([None, "d"]),
    extra=st.sampled_from([None, {"note": "é"}]),
)
CHUNKS = st.lists(st.lists(GOOD | BAD, max_size=12), min_size=1, max_size=4)


def chunked(values) -> list[list[Record]]:
    found, n = [], 0
    for chunk in values:
        found.append(records_of(chunk, first=n))
        n += len(chunk)
    return found


def place_of(record: Record) -> tuple[int, int]:
    return record.partition, record.offset


@given(values=CHUNKS)
def test_every_record_gets_one_score_or_one_dead_letter(values):
    chunks = chunked(values)

    for chunk, messages in zip(chunks, Run()(*chunks), strict=True):
        answered = [score.source for score in scores(messages)]
        rejected = [(int(h["partition"]), int(h["offset"])) for h in dead(messages)]
        assert sorted(answered + rejected) == sorted(map(place_of, chunk))
        assert [(row.partition, row.offset) for row in rows(messages)] == answered
        assert {m.topic for m in messages} <= set(TOPICS)
        for message in messages:
            if message.topic != TOPICS.dead:
                fields = {place_of(r): msgspec.json.decode(r.value) for r in chunk if place_of(r) in answered}
                source = source_of(message)
                assert message.partition == source[0]
                assert message.key == fields[source]["card_id"].encode()


def source_of(message) -> tuple[int, int]:
    if message.topic == TOPICS.features:
        row = rows([message])[0]
        return row.partition, row.offset
    return msgspec.json.decode(message.value, type=Score).source


@given(values=CHUNKS)
def test_a_score_is_the_scorers_answer_to_the_logged_vector(values):
    for messages in Run()(*chunked(values)):
        found = [score for score in scores(messages) if "duplicate" not in score.flags]
        logged = [row for row in rows(messages) if row.vector]
        if not found:
            continue
        vectors = np.stack([np.frombuffer(row.vector, np.float32) for row in logged])
        scorer = TinyScorer()
        assert [score.probability for score in found] == scorer.score(vectors).tolist()
        assert [score.decision for score in found] == scorer.decide(scorer.score(vectors), None)
        assert [(score.transaction_id, score.event_time_ms) for score in found] == [(row.transaction_id, row.time_ms) for row in logged]
        for score, row in zip(found, logged, strict=True):
            assert (score.model, score.policy, score.spec, score.tier, score.variant) == ("tiny@1", "p1", SPEC, "full", "champion")
            assert row.spec == SPEC


@given(values=CHUNKS)
def test_there_is_an_alert_for_review_and_decline_alone_and_it_says_what_the_score_says(values):
    chunks = chunked(values)
    for chunk, messages in zip(chunks, Run()(*chunks), strict=True):
        sent = {place_of(r): msgspec.json.decode(r.value) for r in chunk if r.value and r.value.startswith(b'{"transaction_id"')}
        found = {alert.source: alert for alert in alerts(messages)}
        suspicious = [score for score in scores(messages) if score.decision != "approve" and "duplicate" not in score.flags]
        assert list(found) == [score.source for score in suspicious]
        for score in suspicious:
            alert, fields = found[score.source], sent[score.source]
            assert {name: getattr(alert, name) for name in Score.__struct_fields__} == msgspec.structs.asdict(score)
            assert (alert.amount_minor, alert.currency, alert.merchant_id) == tuple(
                fields[name] for name in ("amount_minor", "currency", "merchant_id")
            )
            assert len(alert.reasons) == 1
            extra = None if alert.extra is msgspec.UNSET else msgspec.json.decode(alert.extra)
            assert extra == fields.get("extra")


def test_reasons_belong_to_the_alerts_own_vector():
    messages = Run()(records_of([transaction(i, card_id="c") for i in range(40)]))[0]
    order = {score.source: place for place, score in enumerate(scores(messages))}

    found = alerts(messages)

    assert 5 < len(found) < 40
    assert [alert.reasons[0].value for alert in found] == [float(order[alert.source]) for alert in found]


@given(values=CHUNKS, first=st.integers(0, 3))
@settings(max_examples=60)
def test_records_processed_again_get_the_same_answer_also_from_another_worker(values, first):
    chunks = chunked(values)
    log = MemoryLog()
    answers = Run(log)(*chunks)

    again = Run(log)(*chunks[first:])

    assert [timeless(m) for m in again] == [timeless(m) for m in answers[first:]]


@given(values=CHUNKS)
@settings(max_examples=60)
def test_chunks_that_begin_before_the_one_before_is_answered_get_the_same_answers(values):
    chunks = chunked(values)
    run = Run()

    async def overlapped():
        await run.assign()
        begun = [await run.transactions.process(chunk) for chunk in chunks]
        found = [finish() for finish in begun]
        await run.store.close()
        return found

    assert [timeless(m) for m in asyncio.run(overlapped())] == [timeless(m) for m in Run()(*chunks)]


class LosingLog(MemoryLog):
    """A log whose first appends are not answered, some of them after they were done."""

    def __init__(self, losses: list[str]) -> None:
        super().__init__()
        self.losses = losses

    async def append(self, *arguments):
        loss = self.losses.pop() if self.losses else "none"
        if loss == "before":
            raise Unavailable("no connection")
        found = await super().append(*arguments)
        if loss == "after":
            raise Unavailable("no answer")
        return found


@given(values=CHUNKS, losses=st.lists(st.sampled_from(["before", "after", "none"]), max_size=6))
@settings(max_examples=60)
def test_a_chunk_that_met_an_outage_gets_the_answers_of_an_undisturbed_one(values, losses):
    chunks = chunked(values)
    run = Run(LosingLog(list(losses)))

    async def patient():
        await run.assign()
        found = []
        for chunk in chunks:
            finish = None
            while finish is None:
                try:
                    finish = await run.transactions.process(chunk)
                except Unavailable:
                    continue
            found.append(finish())
        await run.store.close()
        return found

    assert [timeless(m) for m in asyncio.run(patient())] == [timeless(m) for m in Run()(*chunks)]


def test_a_chunk_of_nothing_is_answered_by_nothing_and_bad_ones_alone_need_no_state():
    log = LosingLog(["before"])

    nothing, rejected = Run(log)([], records_of([b"{", None]))

    assert nothing == []
    assert [h["error"] for h in dead(rejected)] == [b"MalformedRecord", b"MalformedRecord"]
    assert log.states == {}


def test_a_card_number_appears_in_no_message():
    record = records_of([transaction(1, card_id=CARD_NUMBER)])[0]._replace(key=CARD_NUMBER.encode())

    messages = Run()([record])[0]

    assert [h["error"] for h in dead(messages)] == [b"CardNumberRejected"]
    assert CARD_NUMBER not in repr(messages)


def test_unusual_transactions_carry_their_flags():
    day_ms = 86_400_000
    append_ms = records_of([b""])[0].timestamp
    values = [
        transaction(0, card_id="c", event_time_ms=append_ms),
        transaction(1, card_id="c", event_time_ms=append_ms - 3_600_000),
        transaction(2, card_id="c", event_time_ms=append_ms - 40 * day_ms),
        transaction(3, card_id="d", event_time_ms=append_ms + day_ms, currency="XXX"),
    ]
    run = Run()

    messages = run(records_of(values))[0]

    assert [score.flags for score in scores(messages)] == [(), ("late",), ("stale",), ("future", "currency_unknown")]
    assert scores(messages)[3].event_time_ms == append_ms + 3000
    assert sample(run, "weir_transactions_total") == 4
    assert sample(run, 'weir_flags_total{flag="late"}') == 1


def sample(run: Run, name: str) -> float:
    lines = [line for line in run.metrics.exposition().decode().splitlines() if line.startswith(name)]
    return float(lines[0].rpartition(" ")[2])


def test_the_scorer_of_the_moment_answers_each_chunk():
    run = Run()
    first = run(records_of([transaction(0)]))[0]
    run.scorer = TinyScorer("2")

    second = run(records_of([transaction(1)], first=1))[0]

    assert [scores(m)[0].model for m in (first, second)] == ["tiny@1", "tiny@2"]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_the_promised_share_of_vectors_is_logged_evenly(share):
    values = [transaction(i, card_id=f"c{i % 50}") for i in range(6_000)]

    chunks = [records_of(values[a : a + 500], first=a) for a in range(0, 6_000, 500)]

    messages = [message for answers in Run(vector_share=share)(*chunks) for message in answers]

    is_logged = np.array([bool(row.vector) for row in rows(messages)])
    assert len(is_logged) == 6_000
    assert abs(is_logged.mean() - share) < 0.01
    assert all(abs(part.mean() - share) < 0.1 for part in np.split(is_logged, 10))


def test_which_vectors_are_logged_depends_on_the_place_of_the_record_alone():
    values = [transaction(i) for i in range(300)]

    def logged(share: float, size: int) -> set[tuple[int, int]]:
        chunks = [records_of(values[a : a + size], first=a) for a in range(0, 300, size)]
        return {(row.partition, row.offset) for m in Run(vector_share=share)(*chunks) for row in rows(m) if row.vector}

    assert logged(0.3, 50) == logged(0.3, 7)
    assert logged(0.3, 50) < logged(0.6, 50)


def test_the_same_offset_of_two_partitions_is_two_transactions():
    twins = [Record(TRANSACTIONS, partition, 7, START_MS, None, transaction(partition, card_id="c")) for partition in range(N_PARTITIONS)]

    messages = Run()(twins)[0]

    assert [row.positions[0] for row in rows(messages)] == [0, 1, 2]


def test_source_ids_tell_partitions_topics_and_recreated_topics_apart():
    run = Run()
    partitions = [TopicPartition(topic, p) for topic in ("a", "b") for p in range(2)]
    records = [Record(topic, p, 5, 0, None, None) for topic, p in partitions]

    async def body():
        found = []
        for uuids in ({"a": "1", "b": "2"}, {"a": "1", "b": "2"}, {"a": "3", "b": "2"}):
            sources = Sources(run.store)
            await sources.assign(uuids, partitions)
            found.append(sources.of(records).tolist())
        return found

    first, again, recreated = asyncio.run(body())

    assert len(set(first)) == 4
    assert all(source & OFFSET_MASK == 5 for source in first)
    assert again == first
    assert recreated[2:] == first[2:]
    assert not {source >> OFFSET_BITS for source in recreated[:2]} & {source >> OFFSET_BITS for source in first}


def test_a_duplicate_of_a_producer_gets_the_first_answer_and_changes_no_state():
    log = MemoryLog()
    values = [transaction(1), transaction(2), transaction(1), transaction(4)]
    chunk = records_of(values)
    first = Run(log)(chunk)[0]
    states = dict(log.states)
    again = Run(log)(records_of([transaction(1, amount_minor=999_999)], first=30), records_of([transaction(7)], first=33))

    original, duplicate = scores(first)[0], scores(first)[2]
    for found in (duplicate, scores(again[0])[0]):
        assert "duplicate" in found.flags
        assert (found.probability, found.decision, found.tier, found.model) == (
            original.probability, original.decision, original.tier, original.model,
        )  # fmt: skip
    assert duplicate.source == place_of(chunk[2])
    assert [row.positions for row in rows(first)][2] == (-1, -1, -1, -1)
    assert rows(first)[2].vector == b""
    one = Run(other := MemoryLog())(records_of([transaction(1), transaction(2)]), records_of([transaction(4)], first=3))
    assert one
    assert states == other.states
    assert log.states[next(k for k in log.states if k.endswith(b"c:c1"))] != states[next(k for k in states if k.endswith(b"c:c1"))]


def test_a_duplicate_raises_no_second_alert():
    chunk = records_of([transaction(n % 4) for n in range(12)])
    found = Run()(chunk)[0]
    assert len(alerts(found)) == sum(score.decision != "approve" for score in scores(found)[:4])
    assert len(scores(found)) == 12


def test_answers_of_an_outage_are_made_good_once_and_only_where_the_decision_was_another():
    chunk = [*records_of([transaction(n) for n in range(40)]), *records_of([BROKEN], first=40)]
    run = Run()

    async def body():
        await run.assign()
        degraded = run.transactions.degraded(chunk)
        again = run.transactions.degraded(chunk)  # a seek that could not read positions
        caught_up = (await run.transactions.process(chunk))()
        return degraded, again, caught_up

    degraded, again, caught_up = asyncio.run(body())
    undisturbed = {score.source: score.decision for score in scores(Run()(chunk)[0])}
    first = {score.source: score for score in scores(degraded)}

    assert len(first) == 40
    assert len(dead(degraded)) == 1
    assert all(score.flags == ("degraded",) and score.tier == "degraded" for score in first.values())
    assert rows(degraded) == []
    assert again == []
    assert len(rows(caught_up)) == 40
    assert dead(caught_up) == []
    restated = {score.source: score for score in scores(caught_up)}
    assert restated.keys() == {source for source, decision in undisturbed.items() if decision != first[source].decision}
    assert restated
    assert all("restated" in score.flags and score.decision == undisturbed[source] for source, score in restated.items())
    shown = run.metrics.exposition().decode()
    assert f'weir_again_total{{how="restated"}} {len(restated)}.0' in shown
    assert f'weir_again_total{{how="applied"}} {40 - len(restated)}.0' in shown
    assert f'weir_flags_total{{flag="restated"}} {len(restated)}.0' in shown
    assert 'weir_flags_total{flag="degraded"} 40.0' in shown
