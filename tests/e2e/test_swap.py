"""Models are swapped while transactions flow: everything is answered once, nothing by two models."""

import json
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import msgspec
import numpy as np
import pytest

from benchmarks.sibling import scorer_of, sibling_of
from domain.decision import Score
from features.feature_row import decode_row
from service.wiring import registry_of, verifying_key_of
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


def answers_by_place(site: Installation) -> dict[tuple[int, int], Score]:
    """Return the answer of each transaction by its place; fail if there are two."""
    found = {}
    for record in site.records("scores.v1"):
        score = msgspec.json.decode(record.value, type=Score)
        assert score.source not in found
        found[score.source] = score
    return found


def assert_each_is_the_named_models_answer(site: Installation, answers: dict[tuple[int, int], Score]) -> None:
    """Compute every answer again from the logged vector."""
    rows = [decode_row(record.value) for record in site.records("features.v1")]
    vectors = {(row.partition, row.offset): np.frombuffer(row.vector, np.float32) for row in rows}
    registry, key = registry_of(site.settings), verifying_key_of(site.settings)
    for model in {score.model for score in answers.values()}:
        scorer = scorer_of(registry, model, key)
        mine = [score for score in answers.values() if score.model == model]
        for tier in {score.tier for score in mine}:
            places = [score for score in mine if score.tier == tier]
            expected = scorer.score(np.stack([vectors[score.source] for score in places]), tier=tier)
            assert [score.probability for score in places] == expected.tolist()


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

    answers = answers_by_place(site)
    assert len(answers) == stream.n_sent
    assert {score.model for score in answers.values()} == {first, second, third}
    assert_each_is_the_named_models_answer(site, answers)
    for partition in {partition for partition, _ in answers}:
        models = [answers[place].model for place in sorted(answers) if place[0] == partition]
        swaps = [after for before, after in pairwise(models) if before != after]
        assert swaps == [second, third, second, first][: len(swaps)]
    assert site.metrics(worker)["weir_model_swaps_total"] == 4
    events = {event["id"]: event for event in events_of(site)}
    assert events[f"bundle_refused:{altered}"]["event"] == "bundle_refused"
    assert "model.onnx" in events[f"bundle_refused:{altered}"]["sentence"]
    promoted = [event for event in events_of(site) if event["event"] == "model_promoted"]
    assert [event["model"] for event in promoted] == [second, third, second, first]
    assert (promoted[0]["previous"], promoted[0]["who"], promoted[0]["why"]) == (first, "ann", "better on the last folds")
    assert site.stop(worker) == 0
