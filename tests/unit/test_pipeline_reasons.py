"""Reasons of answers that are given twice."""

import asyncio
from math import floor

import msgspec

from domain.decision import Reason
from tests.unit.pipeline_runs import Run, TinyScorer, alerts, records_of, timeless, transaction

VALUES = [transaction(number) for number in range(60)]
CHUNKS = ((60,), (7, 30, 23))


class HurriedScorer(TinyScorer):
    """Explains as many rows by its large model as the budget allows, and the others by its small one."""

    def reasons(self, vectors, *, budget_ms: float):
        n_exact = floor(budget_ms / 2)
        names = ["large"] * min(n_exact, len(vectors)) + ["small"] * max(len(vectors) - n_exact, 0)
        return [(Reason(code="seen", text=name, feature="card_transactions_ever", value=1.0, contribution=1.0),) for name in names]


def degraded(sizes):
    async def body():
        run = Run()
        run.scorer = HurriedScorer()
        await run.assign()
        found, begin = [], 0
        for size in sizes:
            found += run.transactions.degraded(records_of(VALUES)[begin : begin + size])
            begin += size
        return found

    return {alert.source: alert for alert in alerts(timeless(asyncio.run(body())))}


def test_an_alert_without_state_has_the_same_reasons_whatever_chunk_it_comes_in():
    whole, parts = (degraded(sizes) for sizes in CHUNKS)
    assert whole == parts
    assert len(whole) > 20


def test_an_alert_with_state_has_the_large_models_reasons_as_far_as_the_budget_goes():
    run = Run()
    run.scorer = HurriedScorer()
    [messages] = run(records_of(VALUES))
    assert {reason.text for alert in alerts(messages) for reason in alert.reasons} == {"large", "small"}


def test_reasons_are_said_in_the_language_of_the_settings():
    run = Run(say=lambda reason: msgspec.structs.replace(reason, text="gesehen"))
    [messages] = run(records_of(VALUES))
    assert {reason.text for alert in alerts(messages) for reason in alert.reasons} == {"gesehen"}
