"""Explain a transaction as an analyst would: from the live index and the topics, from the archive, from the index alone."""

import asyncio
import json

import msgspec
import pytest
import redis

from domain.decision import Score
from features.spec import N_FEATURES
from service.archiver import Archiver
from service.explanation import explain
from tests.e2e.installation import until

N = 600


@pytest.fixture
def served(installation, trained):
    """Some answered transactions, one of them an alert with two labels; returns (installation, alert, scores)."""
    streamed = trained.history[:N]
    installation.start_worker()
    installation.send_history(streamed, 0, N)
    installation.until_answered(set(streamed["transaction_id"].to_list()))
    scores = {score.transaction_id: score for score in map(_score, installation.records("scores.v1"))}
    alerts = [json.loads(record.value) for record in installation.records("alerts.v1")]
    assert alerts, "no alert among the transactions"
    alert = alerts[0]
    until(lambda: installation.committed("transactions.v1") == N, "not committed")
    times = [alert["event_time_ms"] + day * 86_400_000 for day in (3, 9)]
    for time_ms, source, is_fraud in zip(times, ("chargeback", "analyst"), ("true", "false"), strict=True):
        label = b'{"transaction_id":"%b","is_fraud":%b,"label_time_ms":%d,"source":"%b"}'
        value = label % (alert["transaction_id"].encode(), is_fraud.encode(), time_ms, source.encode())
        installation.send("labels.v1", [alert["transaction_id"].encode()], [value])
    until(lambda: installation.committed("labels.v1") == 2, "labels not applied")
    return installation, alert, scores


def _score(record):
    return msgspec.json.decode(record.value, type=Score)


def _explain(settings, transaction_id, **changes):
    """Explain with some settings changed, as `section__name`; return it as JSON says it."""
    for name, value in changes.items():
        section, _, key = name.partition("__")
        part = msgspec.structs.replace(getattr(settings, section), **{key: value})
        settings = msgspec.structs.replace(settings, **{section: part})
    return msgspec.to_builtins(asyncio.run(explain(settings, transaction_id)))


def _check_whole(found, alert, scores):
    score = scores[alert["transaction_id"]]
    assert found["score"]["probability"] == score.probability
    assert found["score"]["reasons"] == alert["reasons"]
    assert found["model"] == score.model
    assert [found["source"]["partition"], found["source"]["offset"]] == list(score.source)
    assert found["transaction"]["amount_minor"] == alert["amount_minor"]
    assert len(found["features"]) == N_FEATURES
    strengths = [abs(feature["contribution"]) for feature in found["features"]]
    assert strengths == sorted(strengths, reverse=True)
    assert strengths[0] > 0.1
    limits = found["thresholds"]
    assert limits["review"] <= score.probability
    assert any("threshold" in sentence and score.model in found["decision_path"][1] for sentence in found["decision_path"])
    assert [(label["is_fraud"], label["source"]) for label in found["labels"]] == [(True, "chargeback"), (False, "analyst")]


def test_a_live_transaction_is_explained_from_topics_then_archive_then_index_alone(served):
    installation, alert, scores = served
    name, settings = alert["transaction_id"], installation.settings
    archive = {"archive__directory": str(installation.folder / "archive")}
    nowhere = {"kafka__bootstrap": "127.0.0.1:1"}
    live = _explain(settings, name, **archive)
    _check_whole(live, alert, scores)
    assert live["found_in"] == "topic"

    archiver = Archiver(installation.connection, installation.folder / "archive", until_end=True)
    asyncio.run(archiver.run(asyncio.Event()))
    both = _explain(settings, name, **archive, **nowhere)
    _check_whole(both, alert, scores)
    assert both["found_in"] == "archive"
    assert both["missing"] == []
    assert both["features"] == live["features"]

    with redis.Redis.from_url(settings.redis.url) as client:
        alone = _explain(settings, name, **nowhere)
        client.flushall()
    assert alone["found_in"] == "index"
    assert alone["score"]["probability"] == alert["probability"]
    assert alone["transaction"]["card_id"] == alert["card_id"]
    assert alone["features"] == []
    assert [label["is_fraud"] for label in alone["labels"]] == [True, False]
    assert any("topics were not read" in sentence for sentence in alone["missing"])
    assert any("vector was not found" in sentence for sentence in alone["missing"])

    _check_whole(_explain(settings, name, **archive, **nowhere), alert, scores)
    recent = _explain(settings, name)
    assert recent["transaction"] == live["transaction"]
    assert recent["features"] == live["features"]
    assert _explain(settings, "t-unknown", **archive) is None

    text = installation.weir("explain", name, WEIR_ARCHIVE_DIRECTORY=archive["archive__directory"]).stdout
    assert alert["reasons"][0]["text"] in text
    assert "genuine by analyst" in text


def test_an_unknown_transaction_ends_with_code_1_and_says_where_was_looked(installation):
    found = installation.weir("explain", "4111111111111111", check=False)

    assert found.returncode == 1
    assert found.stdout == ""
    assert "looked in the decision index" in found.stderr
    assert "newest 100,000 records of transactions.v1" in found.stderr
    assert "4111111111111111" not in found.stderr
