"""An audit finds what is missing, repeated or changed, and says how good and how fast the answers were."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.decision import Alert, Score, Tier
from service.audit import Audit, Topics, is_same_answer
from tests.consumed import Record

TOPICS = Topics("transactions", "scores", "alerts", "dead")
START_MS = 1_700_000_000_000


def score(number: int, **changes) -> Score:
    fields = {
        "transaction_id": f"t{number}", "card_id": "c", "event_time_ms": 1, "scored_at_ms": 5, "probability": 0.1, "decision": "approve",
        "tier": Tier.FULL, "flags": (), "model": "m@1", "variant": "champion", "policy": "p", "spec": "s", "source": (0, number),
    } | changes  # fmt: skip
    return Score(**fields)


def transaction(number: int, at_ms: int = 0) -> Record:
    return Record(TOPICS.transactions, 0, number, START_MS + at_ms, None, b"{}")


def answer(found: Score, at_ms: int = 0) -> Record:
    return Record(TOPICS.scores, 0, 0, START_MS + at_ms, None, msgspec.json.encode(found))


def alert(number: int) -> Record:
    fields = msgspec.structs.asdict(score(number, decision="review"))
    found = Alert(**fields, amount_minor=1, currency="EUR", merchant_id="m", reasons=(), extra=msgspec.Raw(b'{"a":1}'))
    return Record(TOPICS.alerts, 0, 0, START_MS, None, msgspec.json.encode(found))


def dead(number: int) -> Record:
    headers = (("error", b"MalformedRecord"), ("partition", b"0"), ("offset", str(number).encode()))
    return Record(TOPICS.dead, 0, 0, START_MS, None, b"", headers)


def audit(*batches: list[Record], frauds=frozenset()) -> Audit:
    found = Audit(TOPICS, frauds)
    for batch in batches:
        found.take(batch)
    return found


def summary(*batches: list[Record], produced: int = 0, frauds=frozenset()):
    return audit(*batches, frauds=frauds).summary(produced=produced, seconds_to_first_alert=None)


def test_every_record_is_scored_dead_lettered_or_missing():
    found = summary([answer(score(0)), answer(score(1))], [dead(2)], produced=5)

    assert (found.produced, found.scored, found.dead_lettered, found.missing) == (5, 2, 1, 2)


def test_an_answer_given_again_is_repeated_and_not_scored_twice():
    found = summary([answer(score(0)), answer(score(0, scored_at_ms=99))], [answer(score(0))], [dead(1)], [dead(1)], produced=2)

    assert (found.scored, found.repeated, found.changed, found.dead_lettered, found.missing) == (1, 2, 0, 1, 0)


@pytest.mark.parametrize(
    "changes",
    [{"probability": 0.2}, {"decision": "review"}, {"flags": ("late",)}, {"model": "m@2"}, {"source": (0, 9)}, {"tier": Tier.SMALL},
     {"event_time_ms": 2}, {"policy": "q"}, {"spec": "z"}, {"rule": "list"}],
)  # fmt: skip
def test_another_answer_to_the_same_transaction_is_changed(changes):
    found = summary([answer(score(0)), answer(score(0, **changes))], produced=1)

    assert (found.repeated, found.changed) == (1, 1)


@pytest.mark.parametrize("first_is_approximate", [True, False])
def test_an_answer_that_says_it_is_approximate_may_differ(first_is_approximate):
    pair = [score(0), score(0, probability=0.9, flags=("replay_approx",))]
    found = summary([answer(s) for s in (reversed(pair) if first_is_approximate else pair)], produced=1)

    assert (found.repeated, found.changed) == (1, 0)


def test_when_it_was_scored_is_no_part_of_an_answer():
    assert is_same_answer(score(0), score(0, scored_at_ms=6))
    assert not is_same_answer(score(0), score(0, probability=0.1 + 1e-12))


def test_latency_is_from_append_to_append_of_the_first_answer_in_any_order_of_reading():
    sent = [transaction(i, at_ms=i) for i in range(100)]
    answered = [answer(score(i), at_ms=i + i + 1) for i in range(100)]  # 1 to 100 ms
    again = [answer(score(0), at_ms=10**6)]

    found = [audit(sent, answered, again), audit(answered, again, sent), audit(answered[:50], sent, answered[50:], again)]

    assert [each.latency_ms() for each in found] == [{"p50": 50.5, "p99": 99.0}] * 3


def test_latency_counts_only_what_was_seen_from_both_sides_and_once():
    found = audit([answer(score(0), at_ms=7)])
    assert found.latency_ms() == {"p50": None, "p99": None}

    found.take([transaction(0)])
    assert found.latency_ms() == {"p50": 7.0, "p99": 7.0}

    found.take([transaction(1), transaction(2)])
    found.take([answer(score(1), at_ms=9)])
    assert found.latency_ms() == {"p50": 8.0, "p99": 9.0}


@given(
    frauds=st.sets(st.integers(0, 19)), alerted=st.lists(st.integers(0, 14), max_size=20), n_scored=st.integers(15, 19)
)  # transactions n_scored..19 are never answered
def test_precision_and_recall_are_those_of_the_answered_transactions(frauds, alerted, n_scored):
    found = summary(
        *([[alert(i) for i in alerted]] if alerted else []),
        [answer(score(i)) for i in range(n_scored)],
        produced=20,
        frauds=frozenset(f"t{i}" for i in frauds),
    )

    caught = len(frauds & set(alerted))
    known = len([i for i in frauds if i < n_scored])
    assert (found.alerts, found.frauds, found.missing) == (len(set(alerted)), known, 20 - n_scored)
    assert found.precision == (round(caught / len(set(alerted)), 4) if alerted else None)
    assert found.recall == (round(caught / known, 4) if known else None)


def test_an_alert_is_told_once():
    found = Audit(TOPICS, ())

    told = [[a.transaction_id for a in found.take(batch)] for batch in ([alert(1), alert(2)], [alert(2), alert(3)])]

    assert told == [["t1", "t2"], ["t3"]]


def test_an_alert_repeated_within_a_batch_is_told_once():
    assert [a.transaction_id for a in Audit(TOPICS, ()).take([alert(1), alert(1)])] == ["t1"]


def test_decisions_are_counted_once_each():
    found = audit([answer(score(0)), answer(score(1, decision="review")), answer(score(1, decision="review"))])

    assert found.decisions == {"approve": 1, "review": 1}


def test_a_summary_has_the_keys_of_the_contract():
    found = msgspec.to_builtins(summary([answer(score(0))], produced=1))

    assert set(found) >= {
        "produced", "scored", "dead_lettered", "missing", "repeated", "alerts", "precision", "recall", "latency_ms",
        "seconds_to_first_alert", "drift_alarms",
    }  # fmt: skip
    assert found["latency_ms"] == {"p50": None, "p99": None}
    assert found["drift_alarms"] is None


def test_seconds_to_the_first_alert_are_rounded():
    assert audit().summary(produced=0, seconds_to_first_alert=12.345).seconds_to_first_alert == 12.3
