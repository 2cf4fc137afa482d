"""Which policy is in force, and which one an earlier answer names."""

from pathlib import Path

import pytest

from domain.decision import Tier
from models.policy import LivePolicy, Thresholds, effective
from models.policy_store import PolicyStore
from models.registry import Registry
from service.policies import Policies
from tests.unit.models_synthetic import trained
from tests.unit.web_scenes import KEY, registry_of


@pytest.fixture
def scene(tmp_path: Path) -> tuple[Registry, str]:
    return registry_of(tmp_path)


def set_live(folder: Path, registry: Registry, review: float, model: str) -> LivePolicy:
    live = LivePolicy({Tier.FULL: Thresholds(review, 0.99)}, model)
    registry.set_policy(PolicyStore(folder / "registry").write(live, KEY), model=model)
    return live


def test_an_earlier_answer_names_a_policy_that_can_be_told(scene, tmp_path: Path):
    registry, champion = scene
    default = trained().manifest.policy
    known = Policies(registry, PolicyStore(tmp_path / "registry"), KEY)
    first, second = (effective(default, set_live(tmp_path, registry, review, champion), champion) for review in (0.4, 0.5))
    registry.set_policy("")

    assert known.in_force(champion, default) == default
    for policy in (default, first, second):
        assert known.named(policy.version, champion, default) == policy
    assert known.named("0badcafe", champion, default) is None
    assert known.named(first.version, "another@1", default) is None


def test_an_altered_policy_is_neither_in_force_nor_told(scene, tmp_path: Path):
    registry, champion = scene
    default = trained().manifest.policy
    known = Policies(registry, PolicyStore(tmp_path / "registry"), KEY)
    live = set_live(tmp_path, registry, 0.4, champion)
    assert known.in_force(champion, default).thresholds[Tier.FULL].review == 0.4
    path = tmp_path / "registry" / "policies" / f"{live.version}.json"
    path.write_bytes(path.read_bytes().replace(b"0.4", b"0.1"))

    assert known.in_force(champion, default) == default
    assert known.named(effective(default, live, champion).version, champion, default) is None
