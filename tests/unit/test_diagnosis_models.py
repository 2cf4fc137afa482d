"""`weir doctor` on the registry: a champion that loads, and a live policy whose signature fits."""

from pathlib import Path

import pytest

from models.policy import LivePolicy
from models.policy_store import PolicyStore
from models.rules import AmountLimit, Rules
from service.diagnosis import diagnose
from tests.unit.web_scenes import KEY, registry_of, settings_of


def said(folder: Path, name: str) -> tuple[bool, str, str]:
    [check] = [check for check in diagnose(settings_of(folder)) if check.name == name]
    return check.ok, check.detail, check.advice


@pytest.mark.parametrize("content", [None, b"altered"])
def test_the_live_policy_is_verified(tmp_path: Path, content: bytes | None):
    registry, champion = registry_of(tmp_path)
    assert said(tmp_path, "policy") == (True, "each model's own", "")
    live = LivePolicy(rules=Rules(amounts=(AmountLimit(name="large", amount_minor=1, outcome="review"),)))
    registry.set_policy(PolicyStore(tmp_path / "registry").write(live, KEY))
    if content is not None:
        (tmp_path / "registry" / "policies" / f"{live.version}.json").write_bytes(content)

    ok, detail, advice = said(tmp_path, "policy")

    assert ok is (content is None)
    assert live.version in detail
    assert bool(advice) is (content is not None)
    assert champion in said(tmp_path, "registry")[1]
