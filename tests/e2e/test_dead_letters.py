"""Dead letters through the whole service: what comes back dead is recognised, what is good now is scored."""

import json

from service.times import now_ms
from tests.e2e.installation import until

HOUR_MS = 3_600_000


def transaction(name: str, event_time_ms: int) -> bytes:
    found = {
        "transaction_id": name,
        "card_id": "c1",
        "amount_minor": 1999,
        "currency": "EUR",
        "merchant_id": "m1",
        "event_time_ms": event_time_ms,
    }
    return json.dumps(found).encode()


def test_a_replayed_record_is_judged_again(installation):
    now = now_ms()
    installation.start_worker()
    installation.send("transactions.v1", [b"c1", b"c1"], [b"noise", transaction("newest", now - HOUR_MS)])
    installation.send("transactions.dead.v1", [b"c1"], [transaction("late", now - 3 * HOUR_MS)])  # an older version refused it
    installation.until_answered({"newest"})
    until(lambda: installation.n_records("transactions.dead.v1") == 2, "no dead letter: " + installation.logs())

    assert "2 replayed" in installation.weir("dlq", "replay", "--yes").stdout
    answers = installation.until_answered({"newest", "late"})
    until(lambda: installation.n_records("transactions.dead.v1") == 3, "the noise did not come back: " + installation.logs())
    back = installation.dead()[-1]
    (found,) = (json.loads(line) for line in installation.weir("dlq", "list", "--json").stdout.splitlines())

    assert answers["late"][0].flags == ("late",)
    assert (back["value"], back["attempts"]) == ("noise", "2")
    assert (found["attempts"], found["replay_of"]) == (2, back["replay_of"])
    assert installation.topic("transactions.dead.v1") in back["replay_of"]
