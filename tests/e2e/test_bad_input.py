"""Each kind of bad input ends as the contract says, and the worker goes on."""

import json
import secrets
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.times import now_ms
from tests.e2e.installation import until

HOUR_MS = 3_600_000
GOOD = {"card_id": "c1", "amount_minor": 1999, "currency": "EUR", "merchant_id": "m1"}


def transaction(name: str, **changes) -> bytes:
    found = {"transaction_id": name, "event_time_ms": now_ms() - 1000} | GOOD | changes
    return json.dumps({key: value for key, value in found.items() if value is not ...}).encode()


REJECTED = {
    "nothing at all": (b"", "MalformedRecord", "empty"),
    "no value": (None, "MalformedRecord", "empty"),
    "broken json": (b'{"transaction_id": "t', "MalformedRecord", "JSON"),
    "binary noise": (secrets.token_bytes(500), "MalformedRecord", "JSON"),
    "an array": (b"[1,2]", "MalformedRecord", "object"),
    "deep nesting": (b"[" * 50_000, "MalformedRecord", "object"),
    "a megabyte of noise": (b"\xff" * 1_000_000, "MalformedRecord", "JSON"),
    "wrong type": (transaction("w", amount_minor="19.99"), "InvalidRecord", "amount_minor"),
    "fractional amount": (transaction("f", amount_minor=19.99), "InvalidRecord", "amount_minor"),
    "missing field": (transaction("x", merchant_id=...), "InvalidRecord", "merchant_id"),
    "missing time": (transaction("y", event_time_ms=...), "InvalidRecord", "event_time_ms"),
    "negative amount": (transaction("n", amount_minor=-1), "InvalidRecord", "-1"),
    "absurd amount": (transaction("a", amount_minor=1 << 40), "InvalidRecord", str(1 << 40)),
    "no currency": (transaction("q", currency="euros"), "InvalidRecord", "currency"),
    "empty card": (transaction("e", card_id=""), "InvalidRecord", "card_id"),
    "long id": (transaction("l" * 65), "InvalidRecord", "transaction_id"),
    "place off the globe": (transaction("p", lat=91.0, lon=0.0), "InvalidRecord", "lat"),
    "time in words": (transaction("z", event_time_ms=..., event_time="yesterday"), "InvalidRecord", "event_time"),
    "large extra": (transaction("g", extra={"note": "x" * 3000}), "InvalidRecord", "extra"),
    "card number": (transaction("k", card_id="4111111111111111"), "CardNumberRejected", "token"),
}


@pytest.fixture(scope="module")
def now() -> int:
    return now_ms()


def test_every_bad_record_becomes_a_dead_letter_and_the_good_ones_are_scored(installation):
    names = [f"good-{i}" for i in range(len(REJECTED) + 1)]
    keys, values = [b"c1"], [transaction(names[0])]
    for name, (bad, _, _) in zip(names[1:], REJECTED.values(), strict=True):
        keys += [b"4111111111111111" if b"4111111111111111" in (bad or b"") else b"c1", b"c1"]
        values += [bad, transaction(name)]
    values.append(transaction("with-a-megabyte", unknown="x" * 900_000))
    keys.append(b"c1")
    worker = installation.start_worker()
    installation.send("transactions.v1", keys, values)

    answers = installation.until_answered({*names, "with-a-megabyte"})
    until(lambda: installation.n_records("transactions.dead.v1") == len(REJECTED), "dead letters are missing: " + installation.logs())
    dead = installation.dead()
    assert set(answers) == {*names, "with-a-megabyte"}
    assert worker.poll() is None
    by_offset = {(int(d["partition"]), int(d["offset"])): d for d in dead}
    assert len(by_offset) == len(REJECTED)
    for what, (bad, error, hint) in REJECTED.items():
        letters = [d for d in dead if d["error"] == error and hint in d["reason"]]
        assert letters, f"{what}: {[(d['error'], d['reason']) for d in dead]}"
        if error != "CardNumberRejected":
            assert any(d["value"] == (bad or b"").decode("latin-1") for d in letters), what
    card_number = next(d for d in dead if d["error"] == "CardNumberRejected")
    everything = json.dumps(dead) + installation.logs() + str([r.key for r in installation.records("transactions.dead.v1")])
    assert "4111111111111111" not in everything
    assert "************1111" in card_number["value"]


def test_late_future_ancient_and_foreign_events_are_scored_with_their_flag(installation, now):
    sent = {
        "first": (transaction("first", event_time_ms=now - HOUR_MS), ()),
        "on-time": (transaction("on-time", event_time_ms=now - HOUR_MS - 500_000), ()),
        "late": (transaction("late", event_time_ms=now - 2 * HOUR_MS), ("late",)),
        "ancient": (transaction("ancient", event_time_ms=now - 40 * 24 * HOUR_MS), ("stale",)),
        "future": (transaction("future", card_id="c2", merchant_id="m2", event_time_ms=now + 24 * HOUR_MS), ("future",)),
        "foreign": (
            transaction("foreign", card_id="c3", merchant_id="m3", currency="XTS", event_time_ms=now - HOUR_MS),
            ("currency_unknown",),
        ),
    }
    installation.start_worker()
    installation.send("transactions.v1", [b"c1"] * len(sent), [value for value, _ in sent.values()])

    answers = installation.until_answered(set(sent))
    assert {name: answers[name][0].flags for name in sent} == {name: flags for name, (_, flags) in sent.items()}
    assert abs(answers["future"][0].event_time_ms - now_ms()) < HOUR_MS


def test_labels_of_unknown_transactions_and_broken_ones_become_dead_letters(installation, now):
    installation.start_worker()
    installation.send("transactions.v1", [b"c1"], [transaction("t1", event_time_ms=now - HOUR_MS)])
    installation.until_answered({"t1"})
    label = {"transaction_id": "t1", "is_fraud": True, "label_time_ms": now, "source": "analyst"}
    changed = [
        ({"transaction_id": "nobody"}, "UnknownTransaction", "unknown_transaction"),
        ({"is_fraud": "perhaps"}, "InvalidRecord", "is_fraud"),
        ({"source": "rumour"}, "InvalidRecord", "source"),
        ({"label_time_ms": now - 2 * HOUR_MS}, "InvalidRecord", "label_time_ms"),
    ]
    values = [json.dumps(label | change).encode() for change, _, _ in changed]
    installation.send("labels.v1", [b"k"] * 6, [*values, b"noise", json.dumps(label).encode()])

    until(lambda: installation.committed("labels.v1") == 6, "labels are not committed: " + installation.logs())
    until(lambda: installation.n_records("labels.dead.v1") == 5, "the label for nobody is still waiting: " + installation.logs())
    dead = installation.dead("labels.dead.v1")
    assert len(dead) == 5
    for _, error, hint in changed:
        assert any(d["error"] == error and hint in d["reason"] for d in dead), (error, hint, dead)
    until(lambda: installation.n_records("features.v1") == 2, "the good label was not applied: " + installation.logs())


def test_a_worker_says_in_one_sentence_why_it_does_not_start(installation, tmp_path):
    wrong = [
        {"WEIR_KAFKA_BOOTSTRAP": "127.0.0.1:1"}, {"WEIR_REDIS_URL": "redis://127.0.0.1:1/0"},
        {"WEIR_MODEL_REGISTRY": str(tmp_path / "empty")}, {"WEIR_FEATURES_TIME_ZONE": "Asia/Tokyo"},
    ]  # fmt: skip
    with ThreadPoolExecutor(len(wrong)) as pool:
        kafka, redis, model, other = pool.map(lambda environ: installation.weir("worker", check=False, **environ), wrong)

    assert [found.returncode for found in (kafka, redis, model, other)] == [2, 2, 2, 2]
    assert "127.0.0.1:1" in kafka.stderr
    assert "kafka.bootstrap" in kafka.stderr
    assert "redis://127.0.0.1:1/0" in redis.stderr
    assert "redis.url" in redis.stderr
    assert "weir train" in model.stderr
    assert "spec" in other.stderr
    assert all("Traceback" not in found.stderr for found in (kafka, redis, model, other))
