import asyncio
import base64
import json
import subprocess
import sys

import msgspec
import pytest
import redis

from domain.decision import Alert, Reason, Tier
from features.feature_row import FeatureRow, encode_row, read_lines
from service.sending import Sender
from stream.topics import ALERTS, FEATURE_ROWS, SCORES, TRANSACTIONS_DEAD


@pytest.fixture
def run(environment):

    def run(*arguments, code=0, **more):
        found = subprocess.run(
            [sys.executable, "-m", "service.cli", *arguments], check=False, capture_output=True, env=environment | more, timeout=60
        )
        assert found.returncode == code, found.stderr
        return found.stdout

    return run


def _send(connection, topic, values):
    async def send():
        async with Sender(connection) as sender:
            await sender.send(connection.topic(topic), [b"%d" % i for i in range(len(values))], values)
            await sender.flush()

    asyncio.run(send())


def _alert(**changes):
    reason = Reason(code="amount_high", text="spent 14.2 times the card's usual amount", feature="f", value=14.2, contribution=1.0)
    values = {
        "transaction_id": "t1", "card_id": "c1", "event_time_ms": 1_700_000_000_000, "scored_at_ms": 1, "probability": 0.97,
        "decision": "decline", "tier": Tier.FULL, "flags": (), "model": "m@1", "variant": "champion", "policy": "p",
        "spec": "s", "source": (0, 1),
        "amount_minor": 123456, "currency": "EUR", "merchant_id": "m1", "reasons": (reason,),
    }  # fmt: skip
    return msgspec.json.encode(Alert(**values | changes))


def test_scores_come_out_as_they_are_on_the_topic(connection, run):
    values = [b'{"n":%d}' % i for i in range(3000)]
    _send(connection, SCORES, values)

    assert sorted(run("tail", "scores", "--json", "--from-beginning", "--until-end").splitlines()) == sorted(values)


def test_an_empty_topic_ends_at_once(run):
    assert run("tail", "scores", "--json", "--from-beginning", "--until-end") == b""


def test_alerts_are_shown_with_amount_and_reasons(connection, run):
    _send(connection, ALERTS, [_alert()])
    shown = run("tail", "alerts", "--from-beginning", "--until-end").decode()

    assert "DECLINE  97.0%  1,234.56 EUR at m1" in shown
    assert "\n    - spent 14.2 times the card's usual amount" in shown
    assert "\x1b" not in shown


def test_dead_letters_show_text_as_text_and_bytes_as_base64(connection, run):
    _send(connection, TRANSACTIONS_DEAD, [b"not json", b"\xff\xfe"])
    found = [json.loads(line) for line in run("tail", "dead", "--json", "--from-beginning", "--until-end").splitlines()]

    assert found[0]["value"] == "not json"
    assert base64.b64decode(found[1]["value_base64"]) == b"\xff\xfe"
    assert {"topic", "partition", "offset", "time_ms", "key", "headers"} <= set(found[0])
    assert b"not json" in run("tail", "dead", "--from-beginning", "--until-end")


def test_feature_rows_are_decoded_so_that_replay_can_read_them(connection, run):
    row = FeatureRow("t1", 0, 0, 1, 7, 1_700_000_000_000, "0123456789abcdef", (3, 4, -1, -1), b"\x00\x00\xc0\x7f\x00\x00\x80\x3f")
    _send(connection, FEATURE_ROWS, [encode_row(row)])
    lines = run("tail", "features", "--json", "--from-beginning", "--until-end").splitlines()

    assert read_lines(lines).vectors == [row.vector]


def test_without_from_beginning_only_new_records_come(connection, run):
    _send(connection, SCORES, [b"{}"])

    assert run("tail", "scores", "--json", "--until-end") == b""


def test_topics_check_finds_what_create_corrects(connection, run):
    assert json.loads(run("topics", "check", "--json")) == []

    elsewhere = {"WEIR_KAFKA_PREFIX": connection.prefix + "other."}
    findings = json.loads(run("topics", "check", "--json", code=1, **elsewhere))
    run("topics", "create", "--partitions", "2", **elsewhere)

    assert "the topic is missing" in {finding["detail"] for finding in findings}
    assert b"as they must be" in run("topics", "check", **elsewhere)


def test_doctor_names_each_check_and_says_what_to_do(redis_url, run, tmp_path):
    places = {"WEIR_REDIS_URL": redis_url, "WEIR_MODEL_REGISTRY": str(tmp_path / "registry")}
    checks = {check["name"]: check for check in json.loads(run("doctor", "--json", code=1, **places))["checks"]}

    assert set(checks) == {
        "kafka", "topics", "clock_kafka", "redis", "redis_functions", "redis_eviction", "redis_memory", "clock_redis",
        "decision_index", "fleet", "registry",
    }  # fmt: skip
    assert [name for name, check in checks.items() if not check["ok"]] == ["registry"]
    assert "weir train" in checks["registry"]["detail"]


def test_doctor_finds_a_redis_that_evicts(redis_url, run):
    with redis.Redis.from_url(redis_url) as client:
        before = client.config_get("maxmemory-policy")["maxmemory-policy"]
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            found = json.loads(run("doctor", "--json", code=1, WEIR_REDIS_URL=redis_url))["checks"]
        finally:
            client.config_set("maxmemory-policy", before)

    assert "noeviction" in next(check["advice"] for check in found if check["name"] == "redis_eviction")


def test_doctor_says_what_is_not_reachable(run):
    dead = {"WEIR_KAFKA_BOOTSTRAP": "127.0.0.1:1", "WEIR_REDIS_URL": "redis://:hunter2@127.0.0.1:1/0"}
    found = run("doctor", code=1, **dead).decode()

    assert "127.0.0.1:1" in found
    assert "weir up" in found
    assert "hunter2" not in found
