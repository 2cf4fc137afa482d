"""Monitoring is told of first answers alone, once they are published; the control sample is drawn the same again."""

import asyncio

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.decision import Score, Tier
from features.memory import MemoryLog
from monitoring.control_sample import sampled
from stream.control import Control
from stream.journal_ring import Answer
from stream.scored import Scored
from tests.unit.pipeline_runs import Record, Run, TinyScorer, alerts, records_of, rows, scores, timeless, transaction

VALUES = [transaction(i, card_id=f"c{i % 4}") for i in range(40)]


class Past:
    """Some records were answered before: committed, or recorded in the journal."""

    def __init__(self, *, answered: set[int] = frozenset(), recorded: set[int] = frozenset()) -> None:
        self.answered, self.found = answered, recorded

    def is_answered(self, record: Record) -> bool:
        return record.offset in self.answered

    def recorded(self, record: Record) -> Answer | None:
        return Answer(b"{}", b"") if record.offset in self.found else None

    def applied(self, records) -> None:
        pass


def told(**options) -> tuple[list[Scored], Run]:
    found: list[Scored] = []
    return found, Run(on_scored=found.append, **options)


def test_every_first_answer_is_told_with_its_vector():
    found, run = told()

    messages = run(records_of(VALUES[:30]), records_of(VALUES[30:], first=30))

    for scored, answered in zip(found, messages, strict=True):
        assert scored.outcomes == [score.decision for score in scores(answered)]
        assert scored.probabilities.tolist() == [score.probability for score in scores(answered)]
        assert scored.time_ms.tolist() == [score.event_time_ms for score in scores(answered)]
        assert [vector.tobytes() for vector in scored.vectors] == [row.vector for row in rows(answered)]
        assert (scored.tier, scored.model) == (Tier.FULL, "tiny@1")


def test_duplicates_and_what_was_answered_before_are_not_told():
    chunk = records_of([*VALUES[:12], VALUES[3], VALUES[4]])
    found, run = told(past=Past(answered={0}, recorded={1}))

    messages = run(chunk)[0]

    [scored] = found
    first = [
        score
        for record, score in zip(chunk, _by_place(chunk, messages), strict=True)
        if score is not None and "duplicate" not in score.flags
    ]
    assert len(first) == 6
    assert scored.time_ms.tolist() == [score.event_time_ms for score in first]
    assert scored.probabilities.tolist() == [score.probability for score in first]
    assert len(scored.vectors) == len(scored.outcomes) == 6


def _by_place(chunk, messages) -> list[Score | None]:
    """Return the new score of each record; None where there is none."""
    found = [msgspec.json.decode(m.value, type=Score) for m in messages if m.topic == "scores" and m.value != b"{}"]
    by_source = {score.source: score for score in found}
    return [by_source.get((record.partition, record.offset)) for record in chunk]


def test_nothing_is_told_where_nothing_is_first():
    found, run = told(past=Past(answered=set(range(20))))

    run(records_of(VALUES[:12]), records_of([b"{", None], first=12), [])

    assert found == []


def test_what_became_void_before_it_was_published_is_not_told():
    found, run = told()

    async def body():
        await run.assign()
        chunks = [(await run.transactions.process(records_of(VALUES[i : i + 2], first=i)))() for i in range(0, 40, 2)]
        run.transactions.published(list(chunks[-1]))  # an equal list is not the same chunk
        assert found == []
        run.transactions.published(chunks[-1])
        run.transactions.published(chunks[-1])
        assert len(run.transactions._unpublished) < 10
        await run.store.close()

    asyncio.run(body())

    assert [scored.time_ms.tolist() for scored in found] == [[START + 60_000 * i for i in (38, 39)]]


START = msgspec.json.decode(VALUES[0])["event_time_ms"]


def test_answers_of_an_outage_are_told_as_degraded_and_not_again_when_they_are_restated():
    found, run = told()
    chunk = records_of(VALUES[:20])

    async def body():
        await run.assign()
        for _ in range(2):  # the second time: a seek that could not read positions
            run.transactions.published(run.transactions.degraded(chunk))
        restated = (await run.transactions.process(chunk))()
        run.transactions.published(restated)
        await run.store.close()
        return restated

    restated = asyncio.run(body())

    assert any(score.flags == ("restated",) for score in scores(restated))
    assert [(scored.tier, len(scored.outcomes)) for scored in found] == [(Tier.DEGRADED, 20)]


@given(scale=st.floats(0.01, 10), is_released=st.booleans())
@settings(max_examples=30, deadline=None)
def test_the_sample_changes_no_decision_and_no_alert_unless_it_is_released(scale, is_released):
    chunk = records_of(VALUES)
    [plain] = Run()(chunk)

    [messages] = Run(control=Control(scale, is_released))(chunk)

    mask, pi = sampled([score.transaction_id for score in scores(plain)], np.array([score.probability for score in scores(plain)]), scale)
    for i, (score, without) in enumerate(zip(scores(messages), scores(plain), strict=True)):
        is_changed = is_released and bool(mask[i]) and without.decision == "decline"
        expected = msgspec.structs.replace(
            without, scored_at_ms=score.scored_at_ms, decision="review" if is_changed else without.decision,
            flags=(*without.flags, "control") if mask[i] else without.flags,
            control=True if mask[i] else None, control_p=float(pi[i]) if mask[i] else None,
        )  # fmt: skip
        assert score == expected
    assert [alert.source for alert in alerts(messages)] == [alert.source for alert in alerts(plain)]
    assert [alert.reasons for alert in alerts(messages)] == [alert.reasons for alert in alerts(plain)]
    found = {score.source: score for score in scores(messages)}
    assert all(
        alert.decision == found[alert.source].decision and alert.control == found[alert.source].control for alert in alerts(messages)
    )
    assert rows(messages) == rows(plain)


def test_some_are_drawn_and_most_are_not():
    [messages] = Run(control=Control(0.2))(records_of([transaction(i, card_id=f"c{i % 9}") for i in range(300)]))

    assert 10 < sum(score.control is True for score in scores(messages)) < 60


def test_without_a_scale_nobody_is_drawn():
    [messages] = Run()(records_of(VALUES))

    assert b"control" not in b"".join(m.value for m in messages if m.topic in ("scores", "alerts"))


@pytest.mark.parametrize("is_released", [False, True])
def test_a_transaction_is_drawn_again_after_a_crash_and_in_any_chunk(is_released):
    control, log = Control(3.0, is_released), MemoryLog()
    first = [timeless(m) for m in Run(log, control=control)(records_of(VALUES[:20]), records_of(VALUES[20:], first=20))]

    again = [timeless(m) for m in Run(log, control=control)(*(records_of([value], first=i) for i, value in enumerate(VALUES)))]

    assert [m for part in again for m in part if m[0] == "scores"] == [m for part in first for m in part if m[0] == "scores"]


def test_a_duplicate_is_in_the_sample_if_its_first_answer_is():
    control, log, n = Control(0.2, is_released=True), MemoryLog(), 300
    [first] = Run(log, control=control)(records_of([transaction(i, card_id=f"c{i % 9}") for i in range(n)]))

    others = [transaction(i, card_id=f"c{i % 9}", amount_minor=999 + 77 * i) for i in range(n)]  # would score otherwise
    [again] = Run(log, control=control)(records_of(others, first=n))

    assert {score.control for score in scores(first)} == {True, None}
    for score, duplicate in zip(scores(first), scores(again), strict=True):
        assert set(duplicate.flags) == {*score.flags, "duplicate"}
        assert (duplicate.control, duplicate.control_p, duplicate.decision) == (score.control, score.control_p, score.decision)
    assert alerts(again) == []


def test_answers_of_an_outage_are_drawn_as_well():
    run = Run(control=Control(3.0))

    async def body():
        await run.assign()
        found = run.transactions.degraded(records_of(VALUES))
        await run.store.close()
        return found

    found = scores(asyncio.run(body()))
    probabilities = np.array([score.probability for score in found])
    assert [score.control is True for score in found] == sampled([s.transaction_id for s in found], probabilities, 3.0).mask.tolist()
    assert any(score.flags == ("degraded", "control") for score in found)


def test_a_model_with_the_tiny_scorers_name_is_the_one_told():
    found, run = told()
    run.scorer = TinyScorer("7")

    run(records_of(VALUES[:2]))

    assert found[0].model == "tiny@7"
