"""Models are swapped while transactions flow: everything is answered once, nothing by two models."""

import json
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import numpy as np
import polars as pl
import pytest

from benchmarks.answer_check import Checked, check_answers
from benchmarks.sibling import sibling_of
from domain.decision import Score
from features.feature_row import decode_row
from models.policy import LivePolicy
from models.rules import ListRule, Rules
from monitoring.control_sample import uniform
from service.fleet_status import workers
from service.wiring import policies_of, registry_of, signing_key_of
from tests.e2e.installation import Installation, until

POLL = {"WEIR_MODEL_POLL_S": "0.1"}


@pytest.fixture
def site(trained, broker, redis_url, kafka_prefix, tmp_path) -> Iterator[Installation]:
    """An installation with a registry of its own."""
    registry = tmp_path / "registry"
    shutil.copytree(trained.registry, registry)
    shutil.copy(trained.registry.with_name(trained.registry.name + ".key"), registry.with_name("registry.key"))
    found = Installation(tmp_path, bootstrap=broker.bootstrap, redis_url=redis_url, prefix=kafka_prefix, registry=registry)
    yield found
    found.close()


class Stream:
    """Sends a history in small pieces until stopped."""

    def __init__(self, site: Installation, history) -> None:
        self.n_sent = 0
        self._site, self._history = site, history
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    @contextmanager
    def flowing(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join()

    def until_more(self, n: int = 200) -> None:
        """Wait until `n` more transactions were sent."""
        wanted = self.n_sent + n
        until(lambda: self.n_sent >= wanted, "nothing is sent")

    def _run(self) -> None:
        while not self._stop.is_set() and self.n_sent < len(self._history):
            end = min(self.n_sent + 50, len(self._history))
            self._site.send_history(self._history, self.n_sent, end)
            self.n_sent = end
            time.sleep(0.02)


def serves(site: Installation, worker, model: str) -> bool:
    return any(name.startswith("weir_model_info{") and f'model="{model}"' in name for name in site.metrics(worker))


def events_of(site: Installation) -> list[dict]:
    return [json.loads(record.value) for record in site.records("control.v1")]


def checked(site: Installation, scores: list[Score]) -> Checked:
    """Compute every answer again from its logged vector."""
    rows = [decode_row(record.value) for record in site.records("features.v1")]
    vectors = {(row.partition, row.offset): np.frombuffer(row.vector, np.float32) for row in rows}
    return check_answers(site.settings, scores, vectors)


def scores_of(site: Installation) -> list[Score]:
    return [msgspec.json.decode(record.value, type=Score) for record in site.records("scores.v1")]


def test_models_are_swapped_under_load_and_no_answer_mixes_them(site, trained):
    registry = registry_of(site.settings)
    first = registry.aliases()["champion"]
    second, third, altered = (sibling_of(site.settings, "champion", slope=slope) for slope in (0.8, 1.25, 1.5))
    graph = registry.resolve(altered) / "model.onnx"
    graph.write_bytes(bytes([graph.read_bytes()[0] ^ 1]) + graph.read_bytes()[1:])
    worker = site.start_worker(**POLL)
    stream = Stream(site, trained.history)

    with stream.flowing():
        stream.until_more()
        for model, change in (
            (second, lambda: registry.promote(second, who="ann", why="better on the last folds")),
            (third, lambda: registry.promote(third)),
            (second, registry.rollback),
        ):
            change()
            until(lambda model=model: serves(site, worker, model), "not swapped: " + site.logs())
            stream.until_more()
        registry.promote(altered)
        until(lambda: site.metrics(worker)["weir_bundles_refused_total"] == 1, "not refused: " + site.logs())
        stream.until_more()
        assert serves(site, worker, second)
        registry.promote(first)
        until(lambda: serves(site, worker, first), "not swapped: " + site.logs())
        stream.until_more()
    sent = set(trained.history["transaction_id"][: stream.n_sent])
    site.until_answered(sent)

    found = checked(site, scores_of(site))
    assert (found.n_answers, found.n_repeated, found.n_different, found.n_mixed) == (stream.n_sent, 0, 0, 0)
    assert {tuple(models) for models in found.sequences.values()} == {(first, second, third, second, first)}
    assert site.metrics(worker)["weir_model_swaps_total"] == 4
    events = {event["id"]: event for event in events_of(site)}
    assert events[f"bundle_refused:{altered}"]["event"] == "bundle_refused"
    assert "model.onnx" in events[f"bundle_refused:{altered}"]["sentence"]
    promoted = [event for event in events_of(site) if event["event"] == "model_promoted"]
    assert [event["model"] for event in promoted] == [second, third, second, first]
    assert (promoted[0]["previous"], promoted[0]["who"], promoted[0]["why"]) == (first, "ann", "better on the last folds")
    assert site.stop(worker) == 0


def test_a_rollout_and_a_live_policy_come_and_go_without_a_restart(site, trained):
    registry = registry_of(site.settings)
    first = registry.aliases()["champion"]
    second = sibling_of(site.settings, "champion", slope=0.8)
    blocked = sorted(set(trained.history["card_id"][:3_000]))[::5]
    policy = LivePolicy(rules=Rules(lists=(ListRule(name="stolen-cards", field="card_id", values=tuple(blocked), outcome="decline"),)))
    version = policies_of(site.settings).write(policy, signing_key_of(site.settings))
    worker = site.start_worker(**POLL)
    stream = Stream(site, trained.history)
    changes = (
        lambda: registry.shadow(second), lambda: registry.canary(second, 30.0), lambda: registry.set_policy(version),
        registry.end_rollout, lambda: registry.set_policy(""),
    )  # fmt: skip

    with stream.flowing():
        stream.until_more()
        for n, change in enumerate(changes, start=1):
            change()
            until(lambda n=n: site.metrics(worker)["weir_model_swaps_total"] == n, "not followed: " + site.logs())
            stream.until_more()
    site.until_answered(set(trained.history["transaction_id"][: stream.n_sent]))

    scores = scores_of(site)
    found = checked(site, scores)
    assert (found.n_answers, found.n_repeated, found.n_different, found.n_mixed) == (stream.n_sent, 0, 0, 0)
    started_ms = next(event.rollout.started_ms for event in registry.history() if event.event == "canary")
    challenged = sorted({score.card_id for score in scores if score.variant == "challenger"})
    assert len(challenged) > 20
    assert (uniform(challenged, b"weir canary %d" % started_ms) < 0.3).all()
    for score in scores:
        assert (score.variant == "challenger") == (score.model == second)
        assert score.shadow is None or score.shadow.model == (first if score.model == second else second)
        assert score.rule is None or (score.rule, score.decision, score.card_id in blocked) == ("stolen-cards", "decline", True)
    ruled = [score for score in scores if score.rule is not None]
    assert {score.variant for score in ruled} == {"champion", "challenger"}
    assert len({(score.model, score.policy) for score in scores}) == 4
    assert_counted(site, scores)
    assert_duplicates_say_what_was_said_first(site, trained, ruled[:40])
    kinds = [event["event"] for event in events_of(site)]
    assert sorted(kinds) == ["policy_changed"] * 2 + ["rollout_ended"] * 2 + ["rollout_started"] * 2
    assert site.stop(worker) == 0


def assert_counted(site: Installation, scores: list[Score]) -> None:
    """Check what the worker tells the fleet about who answered."""
    until(lambda: workers(site.settings)[0].transactions == len(scores), "not all is counted")
    [state] = workers(site.settings)
    counts = {(count.variant, count.model): (count.n, count.n_alerts, count.n_not_full) for count in state.variants}
    for variant, model in {(score.variant, score.model) for score in scores}:
        mine = [score for score in scores if (score.variant, score.model) == (variant, model)]
        assert counts.pop((variant, model)) == (len(mine), sum(score.decision != "approve" for score in mine), 0)
    shadows = [score.shadow.model for score in scores if score.shadow is not None]
    assert {model: n for (_, model), (n, _, _) in counts.items()} == {model: shadows.count(model) for model in set(shadows)}
    assert {variant for variant, _ in counts} == {"shadow"}


def assert_duplicates_say_what_was_said_first(site: Installation, trained, scores: list[Score]) -> None:
    """Send transactions again, when who answered them does not answer any more."""
    n = site.n_records("scores.v1")
    again = trained.history.filter(pl.col("transaction_id").is_in([score.transaction_id for score in scores]))
    site.send_history(again, 0, len(again))
    until(lambda: site.n_records("scores.v1") == n + len(scores), "duplicates stayed without an answer: " + site.logs())
    given = site.answers()
    for score in scores:
        [duplicate] = [found for found in given[score.transaction_id] if found.source != score.source]
        same = ("probability", "decision", "model", "variant", "policy", "rule", "tier")
        assert {name: getattr(duplicate, name) for name in same} == {name: getattr(score, name) for name in same}
        assert "duplicate" in duplicate.flags


def test_a_backlog_is_answered_by_the_small_model_until_time_is_enough_again(site, trained):
    model, history = registry_of(site.settings).aliases()["champion"], trained.history
    second = sibling_of(site.settings, "champion", slope=0.8)
    registry_of(site.settings).shadow(second)
    site.send_history(history, 0, 1_000)
    worker = site.start_worker(WEIR_SCORING_LATENCY_BUDGET_MS="2000")
    site.until_answered(set(history["transaction_id"][:1_000]))
    assert site.metrics(worker)["weir_sheddings_total"] == 1
    n_sent = 1_000

    def is_calm() -> bool:
        nonlocal n_sent
        site.send_history(history, n_sent, n_sent + 10)
        n_sent += 10
        return site.metrics(worker)["weir_shedding"] == 0

    until(is_calm, "the small model goes on answering: " + site.logs())
    site.send_history(history, n_sent, n_sent + 100)
    site.until_answered(set(history["transaction_id"][: n_sent + 100]))

    scores = scores_of(site)
    found = checked(site, scores)
    assert (found.n_answers, found.n_repeated, found.n_different, found.n_mixed) == (n_sent + 100, 0, 0, 0)
    assert {score.model for score in scores} == {model}
    tiers = Counter(score.tier.value for score in scores if score.transaction_id in set(history["transaction_id"][:1_000]))
    assert tiers.keys() == {"full", "small"}
    assert tiers["small"] >= 500
    assert "full" in {score.tier.value for score in scores if score.transaction_id in set(history["transaction_id"][n_sent:][:100])}
    assert {score.tier.value for score in scores if score.shadow is not None} == {"full"}
    assert site.stop(worker) == 0
