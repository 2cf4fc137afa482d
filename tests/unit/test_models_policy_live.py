"""The live policy: what it replaces, what it leaves, and that only a signed one is ever in force."""

import json
from pathlib import Path

import msgspec
import pytest

from domain.decision import Tier
from domain.errors import PolicyRejected
from models.policy import LivePolicy, Policy, Thresholds, effective
from models.policy_store import PolicyStore, decode_policy
from models.rules import AmountLimit, Rules

KEY = b"a key"
BUNDLE = Policy({Tier.FULL: Thresholds(0.2, 0.6), Tier.SMALL: Thresholds(0.3, 0.7)})
RULES = Rules(amounts=(AmountLimit(name="large", amount_minor=500_000, outcome="review"),))


@pytest.fixture
def store(tmp_path: Path) -> PolicyStore:
    return PolicyStore(tmp_path / "registry")


def test_without_a_live_policy_the_bundles_own_is_in_force():
    assert effective(BUNDLE, None, "weir@1") == BUNDLE
    assert effective(BUNDLE, LivePolicy(), "weir@1").version == BUNDLE.version


def test_the_version_of_a_bundles_policy_is_that_of_its_thresholds_alone():
    """Bundles of earlier releases hold no rules; their versions stand in scores and logs."""
    policy = Policy({Tier.FULL: Thresholds(0.2, 0.6)})

    assert msgspec.json.encode(policy) == b'{"thresholds":{"full":{"review":0.2,"decline":0.6}}}'
    assert policy.version == "d67f3ee0"


def test_live_thresholds_replace_those_of_their_model_tier_by_tier():
    live = LivePolicy({Tier.FULL: Thresholds(0.4, 0.5)}, "weir@1")

    assert effective(BUNDLE, live, "weir@1").thresholds == {Tier.FULL: Thresholds(0.4, 0.5), Tier.SMALL: Thresholds(0.3, 0.7)}


def test_another_model_keeps_its_thresholds_and_gets_the_rules():
    live = LivePolicy({Tier.FULL: Thresholds(0.4, 0.5)}, "weir@1", RULES)

    found = effective(BUNDLE, live, "weir@2")

    assert found.thresholds == BUNDLE.thresholds
    assert found.rules == RULES


def test_the_version_differs_with_every_part_and_is_the_same_for_the_same():
    versions = {
        LivePolicy().version,
        LivePolicy(rules=RULES).version,
        LivePolicy({Tier.FULL: Thresholds(0.4, 0.5)}, "weir@1").version,
        LivePolicy({Tier.FULL: Thresholds(0.4, 0.6)}, "weir@1").version,
        LivePolicy({Tier.FULL: Thresholds(0.4, 0.6)}, "weir@2").version,
    }

    assert len(versions) == 5
    one, other = (effective(BUNDLE, LivePolicy(rules=rules), "weir@1").version for rules in (RULES, Rules()))
    assert one != other == BUNDLE.version
    order = {Tier.SMALL: Thresholds(0.3, 0.7), Tier.FULL: Thresholds(0.2, 0.6)}
    assert Policy(order).version == BUNDLE.version


def test_a_policy_is_read_as_it_was_written_and_nothing_is_none(store: PolicyStore):
    policy = LivePolicy({Tier.FULL: Thresholds(0.4, 0.5)}, "weir@1", RULES)

    assert store.read(store.write(policy, KEY), KEY) == policy
    assert store.write(policy, KEY) == policy.version
    assert store.read("", KEY) is None


def test_every_altered_byte_is_found(store: PolicyStore, tmp_path: Path):
    version = store.write(LivePolicy({Tier.FULL: Thresholds(0.4, 0.5)}, "weir@1", RULES), KEY)
    for path in sorted((tmp_path / "registry" / "policies").iterdir()):
        whole = path.read_bytes()
        for place in range(len(whole)):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            with pytest.raises(PolicyRejected, match="altered"):
                store.read(version, KEY)
        path.write_bytes(whole)
    store.read(version, KEY)


def test_another_key_a_missing_signature_and_a_missing_policy_are_refused(store: PolicyStore, tmp_path: Path):
    version = store.write(LivePolicy(), KEY)

    with pytest.raises(PolicyRejected, match="another key"):
        store.read(version, b"another")
    (tmp_path / "registry" / "policies" / f"{version}.sig").unlink()
    with pytest.raises(PolicyRejected, match="cannot be read"):
        store.read(version, KEY)
    with pytest.raises(PolicyRejected, match="cannot be read"):
        store.read("0badcafe", KEY)


def test_a_signed_policy_under_another_version_is_refused(store: PolicyStore, tmp_path: Path):
    version = store.write(LivePolicy(), KEY)
    folder = tmp_path / "registry" / "policies"
    for kind in ("json", "sig"):
        (folder / f"{version}.{kind}").rename(folder / f"0badcafe.{kind}")

    with pytest.raises(PolicyRejected, match=f"holds the policy {version}"):
        store.read("0badcafe", KEY)


@pytest.mark.parametrize("version", ["../../secret", "0BADCAFE", "0badcaf", "0badcafe\n"])
def test_what_is_no_version_reads_no_file(store: PolicyStore, version: str):
    with pytest.raises(PolicyRejected, match="not a version"):
        store.read(version, KEY)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"thresholds": {"full": {"review": 0.6, "decline": 0.2}}, "model": "weir@1"}, "out of order"),
        ({"thresholds": {"full": {"review": -0.1, "decline": 0.2}}, "model": "weir@1"}, "out of order"),
        ({"thresholds": {"full": {"review": 0.1, "decline": 1.2}}, "model": "weir@1"}, "out of order"),
        ({"thresholds": {"full": {"review": 0.1}}, "model": "weir@1"}, "decline"),
        ({"thresholds": {"whole": {"review": 0.1, "decline": 0.2}}, "model": "weir@1"}, "whole"),
        ({"thresholds": {"full": {"review": 0.1, "decline": 0.2}}}, "name no model"),
        ({"threshold": {}}, "unknown field"),
        ([], "Expected `object`"),
    ],
)
def test_what_cannot_be_meant_is_no_policy(content: object, sentence: str):
    with pytest.raises(PolicyRejected, match=sentence):
        decode_policy(json.dumps(content).encode())


def test_not_a_number_is_no_threshold():
    with pytest.raises(ValueError, match="out of order"):
        Thresholds(float("nan"), 0.5)
