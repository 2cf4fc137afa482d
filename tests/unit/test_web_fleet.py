"""The workers as the dashboard sees them."""

import msgspec
import pytest

from domain.decision import Alert
from service.web.alerts import LastAlerts
from service.web.answers import Notice
from service.web.fleet import GONE_MS, SILENT_MS, Fleet
from service.web.live import Live
from tests.unit.web_scenes import NOW_MS, state


def heard(*states, now_ms=NOW_MS) -> Fleet:
    fleet = Fleet()
    fleet.hear(states, now_ms)
    return fleet


def live_of(*rounds, step_ms=1_000) -> Live:
    live = Live(LastAlerts())
    for number, states in enumerate(rounds):
        live.hear(states, NOW_MS + number * step_ms)
        live.tick(NOW_MS + number * step_ms)
    return live


def at(second: int, **changes):
    return state(at_ms=NOW_MS + 1_000 * second, **changes)


def test_a_worker_that_repeats_itself_is_silent_and_then_gone():
    fleet = Fleet()
    for second in range(GONE_MS // 1000):
        fleet.hear([state()], NOW_MS + 1_000 * second)
        [worker] = fleet.workers(NOW_MS + 1_000 * second, None)
        is_silent = 1_000 * second >= SILENT_MS
        assert worker.state == ("alarm" if is_silent else "well")
        assert ("Silent for" in worker.sentence) is is_silent
        assert (fleet.speaking(NOW_MS + 1_000 * second) == []) is is_silent

    fleet.hear([state()], NOW_MS + GONE_MS)

    assert fleet.workers(NOW_MS + GONE_MS, None) == []


def test_a_worker_that_left_is_not_shown_any_more():
    fleet = heard(state(), state(worker="ffffffff"))

    fleet.hear([state(worker="ffffffff", at_ms=NOW_MS + 1)], NOW_MS + 1_000)

    assert [worker.worker for worker in fleet.workers(NOW_MS + 1_000, None)] == ["ffffffff"]


@pytest.mark.parametrize(
    ("changes", "expected", "words"),
    [
        ({}, "well", ""),
        ({"problem": "no chunk was delivered for 31 s"}, "alarm", "watchdog says: no chunk"),
        ({"redis": "outage"}, "attention", "scores without history"),
        ({"at_ms": NOW_MS - 9_000}, "attention", "9 s behind this machine's"),
        ({"at_ms": NOW_MS + 7_000}, "attention", "7 s ahead of this machine's"),
        ({"at_ms": NOW_MS + 4_000}, "well", ""),
        ({"partitions": []}, "attention", "has no partition"),
        ({"model": "weir@2"}, "attention", "the champion is weir@1"),
    ],
)
def test_each_thing_that_can_be_wrong_has_its_sentence(changes, expected, words):
    [worker] = heard(state(**changes)).workers(NOW_MS, "weir@1")

    assert worker.state == expected
    assert words in worker.sentence
    assert bool(worker.sentence) is (expected != "well")


def test_a_skewed_clock_does_not_bend_rates():
    live = live_of(*([at(second - 40, transactions=100 * second)] for second in range(12)))

    assert live.event(NOW_MS).rate_per_s == 100.0


def test_rates_latencies_and_decisions_of_all_workers_add_up():
    def round_of(second):
        counted = {"decisions": {"approve:full": 60 * second, "review:small": second, "decline:full": second}, "flags": {"late": second}}
        return [
            at(second, transactions=62 * second, latency_counts=[62 * second, 0, 0, 0], **counted),
            at(second, worker="ffffffff", transactions=100 * second, latency_counts=[0, 0, 100 * second, 0]),
        ]

    event = live_of(*(round_of(second) for second in range(61))).event(NOW_MS)

    assert event.rate_per_s == 162.0
    assert (event.decisions.approve, event.decisions.review, event.decisions.decline) == (3600.0, 60.0, 60.0)
    assert event.tiers == {"full": 3660.0, "small": 60.0}
    assert event.flags == {"late": 60.0}
    assert event.latency_ms.p50 == pytest.approx(100 + 900 * (81 - 62) / 100, rel=0.01)
    assert [notice.state for notice in event.notices] == ["attention"]
    assert "an authorisation has about 100 ms" in event.notices[0].text


def test_without_a_worker_the_view_says_how_to_start_one():
    event = live_of([]).event(NOW_MS)

    assert (event.state, event.rate_per_s, event.lag, event.workers) == ("empty", None, None, [])
    assert "weir worker" in event.notices[0].text


def test_an_outage_of_redis_is_an_alarm_until_it_is_over():
    live = live_of([state()])
    live.trouble("redis", Notice(state="alarm", text="Redis does not answer."))
    assert live.tick(NOW_MS).state == "alarm"

    live.trouble("redis", None)

    assert live.tick(NOW_MS).state == "well"


def test_much_waiting_work_is_said_and_a_little_is_not():
    rounds = [[at(second, transactions=100 * second, lag=lag)] for second, lag in enumerate([0] * 10 + [4_000])]
    assert live_of(*rounds).event(NOW_MS).state == "well"

    event = live_of(*rounds, [at(11, transactions=1_100, lag=60_000)]).event(NOW_MS)

    assert "600 s of work" in event.notices[0].text


def test_histories_are_bounded_and_the_answer_is_json():
    live = live_of(*([at(second)] for second in range(700)))

    answer = live.answer(NOW_MS)

    assert len(answer.rate_history) == len(answer.latency_history) == 600
    assert msgspec.json.decode(msgspec.json.encode(answer))["rate_history"][0] == [NOW_MS + 100_000, 0.0]


class Appended:
    """A record as the broker gives it."""

    topic, key, headers = "alerts.v1", None, ()

    def __init__(self, partition, offset, timestamp, value):
        self.partition, self.offset, self.timestamp, self.value = partition, offset, timestamp, value


def alert(name: str, **changes) -> bytes:
    fields = {
        "transaction_id": name, "card_id": "c1", "event_time_ms": 5, "scored_at_ms": 6, "probability": 0.5, "decision": "review",
        "tier": "full", "flags": (), "model": "weir@1", "variant": "champion", "policy": "p", "spec": "s", "source": (0, 0),
        "amount_minor": 123456, "currency": "EUR", "merchant_id": "m1", "reasons": (),
    }  # fmt: skip
    return msgspec.json.encode(msgspec.convert(fields | changes, Alert))


def test_alerts_are_kept_by_time_each_once_and_at_most_fifty():
    last = LastAlerts()
    last.take([Appended(0, offset, 1_000 + offset, alert(f"a{offset}")) for offset in range(60)])

    again = last.take([Appended(0, 59, 1_059, alert("a59")), Appended(1, 0, 1_030, alert("b0")), Appended(1, 1, 2_000, b"no alert")])

    found = [one.transaction_id for one in last.newest_first()]
    assert [one.transaction_id for one in again] == ["b0"]
    assert len(found) == 50
    assert found[0] == "a59"
    assert found.index("a31") < found.index("b0") < found.index("a29")


def test_an_alert_says_which_rule_decided_and_no_card_number_in_its_name():
    found = LastAlerts().take([Appended(0, 0, 7, alert("t", rule="stolen 4111111111111111")), Appended(0, 1, 8, alert("u"))])

    assert [one.rule for one in found] == ["stolen ************1111", None]


def test_an_alert_shows_money_as_people_read_it_and_no_card_number():
    [found] = LastAlerts().take([Appended(0, 0, 7, alert("t", card_id="4111111111111111", merchant_id="m 4111 1111 1111 1111"))])

    assert found.amount == "1,234.56 EUR"
    assert "4111" not in found.card_id.replace("*" * 12 + "1111", "")
    assert found.card_id == "*" * 12 + "1111"
    assert found.at_ms == 7
