"""Old bundles go; what serves, what is on trial and what is young stays."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from domain.errors import ModelError
from models.bundle import CARD
from models.manifest import MANIFEST, SIGNATURE, decode_manifest
from models.registry import Registry
from tests.unit.registry_places import PLACES, SHARED, place_of
from tests.unit.registry_samples import HOUR_MS, Clock, bundle_of


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=PLACES)
def registry(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Registry:
    return Registry(place_of(request.param, tmp_path), clock_ms=clock)


@pytest.fixture
def models(registry: Registry, tmp_path: Path, clock: Clock) -> list[str]:
    """Six models, an hour apart; the first is champion."""
    found = []
    for name in ("a", "b", "c", "d", "e", "f"):
        found.append(registry.register(bundle_of(tmp_path / name, name)))
        clock.now_ms += HOUR_MS
    return found


def test_what_has_an_alias_or_is_on_trial_stays_and_the_newest_others_too(registry: Registry, models, clock: Clock):
    a, b, c, d, e, f = models
    registry.promote(b)
    registry.canary(c, 5)
    clock.now_ms += 48 * HOUR_MS

    assert registry.collect(1, who="ann", why="space") == [d, e]
    assert registry.names() == [a, b, c, f]
    assert [entry.reference for entry in registry.entries()] == [a, b, c, f]
    assert [(event.event, event.model, event.who, event.why) for event in registry.history()[-2:]] == [
        ("collected", d, "ann", "space"), ("collected", e, "ann", "space"),
    ]  # fmt: skip
    assert registry.state().rollout is not None
    with pytest.raises(ModelError, match="no model"):
        registry.resolve(d)


def test_a_model_younger_than_a_day_stays(registry: Registry, models, clock: Clock):
    clock.now_ms = 1_790_000_000_000 + 26 * HOUR_MS  # b is 25 hours old, c 24 exactly

    assert registry.collectable(0) == [models[1]]
    assert registry.collect(0) == [models[1]]
    assert models[2] in registry.names()


def test_manifest_signature_and_card_of_a_collected_model_can_still_be_read(registry: Registry, models, clock: Clock, tmp_path: Path):
    beside = registry.beside(models[5])
    clock.now_ms += 48 * HOUR_MS

    registry.collect(0)

    assert set(beside.names()) == {MANIFEST, SIGNATURE, CARD}
    assert decode_manifest(beside.read(MANIFEST)).name == "f"


def test_a_collected_model_can_be_registered_again(registry: Registry, models, clock: Clock, tmp_path: Path):
    clock.now_ms += 48 * HOUR_MS
    registry.collect(0)

    assert registry.register(tmp_path / "d") == models[3]
    assert registry.history()[-1].event == "registered"
    assert registry.collectable(0) == []


@pytest.mark.parametrize("registry", ["folder"], indirect=True)
def test_what_a_crash_left_of_a_half_copied_bundle_is_no_model_and_goes(registry: Registry, models, tmp_path: Path):
    left = tmp_path / "registry" / "bundles" / f".{models[1]}.4711"
    left.mkdir()
    (left / MANIFEST).write_bytes(b"{")

    assert registry.names() == models
    registry.collect()
    assert not left.exists()
    assert registry.names() == models


_REGISTERING = """
import sys
from pathlib import Path
from models.registry import Registry
from tests.unit.registry_places import place_of
registry = Registry(place_of(sys.argv[1], Path(sys.argv[2])))
for _ in range(40):
    for bundle in sys.argv[3:]:
        registry.register(Path(bundle))
"""


@pytest.mark.parametrize("kind", SHARED)
def test_registering_and_collecting_at_the_same_time_leaves_whole_bundles(kind: str, tmp_path: Path):
    made = [bundle_of(tmp_path / name, name) for name in ("a", "b", "c")]
    root = place_of(kind, tmp_path)
    champion = Registry(root).register(made[0])
    # To the collector everything is two days old.
    collector = Registry(root, clock_ms=lambda: time.time_ns() // 1_000_000 + 48 * HOUR_MS)
    writer = subprocess.Popen([sys.executable, "-c", _REGISTERING, kind, str(tmp_path), *map(str, made)])
    whole = {path.name for path in made[0].iterdir()}
    n_collected = 0
    while writer.poll() is None:
        for model in collector.names():
            shutil.rmtree(tmp_path / "cache", ignore_errors=True)  # a store is asked again
            assert {path.name for path in collector.resolve(model).iterdir()} == whole
        n_collected += len(collector.collect(0))
        assert collector.reference("champion") == champion
    n_collected += len(collector.collect(0))

    assert writer.returncode == 0
    assert n_collected >= 2
    assert collector.names() == [champion]
    assert sum(event.event == "collected" for event in collector.history()) == n_collected
    assert {path.name for path in collector.resolve("champion").iterdir()} == whole
