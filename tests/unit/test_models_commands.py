"""`weir models` and `weir policy`: what they say, what they change, and whose name is on it."""

import getpass
import json
import shutil
import sys
from pathlib import Path

import pytest

from domain.errors import ConfigError, ModelError
from models.registry_history import State
from service.authorship import os_user
from tests.unit.registry_samples import Installation

POLICY = """
[thresholds.full]
review = 0.3
decline = 0.6

[[rules.lists]]
name = "stolen"
field = "card_id"
values = ["card-zz", "c8"]
outcome = "decline"

[[rules.amounts]]
name = "large"
amount_minor = 500_000
outcome = "review"

[[rules.velocities]]
name = "fast"
feature = "card_count_1h"
bound = 20
outcome = "review"
"""


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path)


@pytest.fixture
def models(installation: Installation) -> tuple[str, str]:
    """Two models; the first is champion."""
    return installation.add("one"), installation.add("two")


def said(installation: Installation, *arguments: str) -> str:
    found = installation.run(*arguments)
    assert found.exit_code == 0, found.exception
    return found.output


def test_without_who_it_is_the_user_of_the_operating_system(installation: Installation, models):
    _, two = models
    said(installation, "models", "shadow", two)

    assert installation.registry.history()[-1].who == os_user() == getpass.getuser()


@pytest.mark.parametrize(
    ("arguments", "event"),
    [
        (["promote", "two"], "promoted"),
        (["shadow", "two"], "shadow"),
        (["canary", "two", "--percent", "2.5"], "canary"),
    ],
)
def test_who_and_why_stand_in_the_history(installation: Installation, models, arguments: list[str], event: str):
    _, two = models
    said(installation, "models", *(two if each == "two" else each for each in arguments), "--who", "ann", "--why", "a test")

    found = installation.registry.history()[-1]
    assert (found.event, found.model, found.who, found.why) == (event, two, "ann", "a test")
    line = said(installation, "models", "history", two).splitlines()[0]
    assert two in line
    assert line.endswith("by ann: a test")


def test_a_rollout_from_shadow_to_champion_and_back_can_be_read_in_the_history(installation: Installation, models):
    one, two = models
    said(installation, "models", "shadow", two)
    said(installation, "models", "canary", "challenger", "--percent", "5")
    assert "alias" in said(installation, "models", "list")
    assert "challenger" in said(installation, "models", "list")
    said(installation, "models", "promote", "challenger")
    said(installation, "models", "rollback", "--who", "ann", "--why", "worse")
    said(installation, "models", "shadow", two)
    said(installation, "models", "end")

    lines = said(installation, "models", "history").splitlines()
    assert [line.split("  ", 1)[1].split(" by ")[0] for line in lines[:6]] == [
        f"{two} no longer on trial",
        f"{two} scores beside the champion",
        f"{one} champion again after a rollback",
        f"{two} promoted to champion",
        f"{two} decides for 5 % of the cards",
        f"{two} scores beside the champion",
    ]
    assert [event["event"] for event in json.loads(said(installation, "models", "history", "--last", "2", "--json"))] == ["ended", "shadow"]


def test_json_says_what_is_in_force_then(installation: Installation, models):
    one, two = models

    found = json.loads(said(installation, "models", "canary", two, "--percent", "5", "--json"))

    assert found["aliases"] == {"champion": one, "challenger": two}
    assert found["rollout"]["percent"] == 5
    assert found["policy"] == ""


def test_verify_names_every_model_and_its_exit_code_tells_of_a_bad_one(installation: Installation, models):
    one, two = models
    assert said(installation, "models", "verify").splitlines() == [f"{one}: verified", f"{two}: verified"]
    (installation.registry.resolve(two) / "card.md").write_text("another")

    found = installation.run("models", "verify", "--json")

    assert found.exit_code == 1
    verdicts = {verdict["model"]: verdict for verdict in json.loads(found.output)}
    assert verdicts[one]["ok"] is True
    assert "card.md" in verdicts[two]["problem"]
    assert installation.run("models", "verify", "champion").exit_code == 0


def test_a_bundle_that_cannot_be_read_is_named_and_the_list_goes_on(installation: Installation, models):
    one, two = models
    (installation.registry.resolve(two) / "manifest.json").write_text("{")

    found = installation.run("models", "list")

    assert found.exit_code == 0
    assert one in found.output
    assert f"{two} cannot be read: weir models verify {two}" in found.stderr


def test_show_tells_what_happened_to_the_model(installation: Installation, models):
    _, two = models
    said(installation, "models", "promote", two, "--who", "ann", "--why", "a test")

    assert f"{two} promoted to champion by ann: a test" in said(installation, "models", "show", two)


def test_gc_deletes_nothing_young_and_a_dry_run_deletes_nothing(installation: Installation, models):
    assert "no model is old" in said(installation, "models", "gc", "--keep", "0")
    history = installation.root / "history.jsonl"
    lines = [json.loads(line) | {"time_ms": 1} for line in history.read_text().splitlines()]
    history.write_text("".join(json.dumps(line) + "\n" for line in lines))
    one, two = models

    assert said(installation, "models", "gc", "--keep", "0", "--dry-run") == f"{two} would be deleted\n"
    assert installation.registry.names() == [one, two]
    assert json.loads(said(installation, "models", "gc", "--keep", "0", "--json")) == [two]
    assert installation.registry.names() == [one]


def test_without_mlflow_the_mirror_says_how_to_install_it(installation: Installation, models, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)

    found = installation.run("models", "mirror", "sqlite:///mlflow.db")

    assert isinstance(found.exception, ConfigError)
    assert "requirements/mlflow.txt" in str(found.exception)


def test_a_change_between_the_look_and_the_promotion_is_noticed(installation: Installation, models, monkeypatch: pytest.MonkeyPatch):
    """Somebody else sets a policy while the bundle is being loaded."""
    from models import bundle

    _, two = models
    load = bundle.load_bundle

    def slow(*arguments: object) -> object:
        installation.registry.set_policy("0badcafe")
        return load(*arguments)

    monkeypatch.setattr(bundle, "load_bundle", slow)

    found = installation.run("models", "promote", two)

    assert isinstance(found.exception, ModelError)
    assert "somebody else changed the registry" in str(found.exception)
    assert installation.registry.state().champion == models[0]


def test_a_policy_is_signed_set_shown_and_taken_back(installation: Installation, models, tmp_path: Path):
    one, two = models
    path = tmp_path / "policy.toml"
    path.write_text(POLICY)
    assert "no live policy is set" in said(installation, "policy", "show")

    set_ = json.loads(said(installation, "policy", "set", str(path), "--who", "ann", "--why", "holidays", "--json"))

    version = installation.registry.state().policy
    assert set_ == {"policy": version, "before": "", "is_set": True}
    event = installation.registry.history()[-1]
    assert (event.event, event.model, event.policy, event.who, event.why) == ("policy", one, version, "ann", "holidays")
    shown = said(installation, "policy", "show")
    assert f"live policy {version}" in shown
    assert "review from 0.3, decline from 0.6" in shown
    assert "list stolen: decline 2 card_id values" in shown
    assert "limit large: review from 500000 minor units on" in shown
    assert "limit fast: review where card_count_1h is 20 or more" in shown
    assert "card-zz" not in shown
    said(installation, "policy", "set", "--default")
    assert installation.registry.state() == State({"champion": one})
    assert two in installation.registry.names()


def test_the_shown_policy_can_be_set_again_and_is_the_same(installation: Installation, models, tmp_path: Path):
    toml, copy = tmp_path / "policy.toml", tmp_path / "policy.json"
    toml.write_text(POLICY)
    said(installation, "policy", "set", str(toml))
    version = installation.registry.state().policy
    copy.write_text(said(installation, "policy", "show", "--json"))
    said(installation, "policy", "set", "--default")

    said(installation, "policy", "set", str(copy))

    assert installation.registry.state().policy == version


def test_after_a_promotion_the_new_champion_keeps_its_own_thresholds_and_it_is_said(installation: Installation, models, tmp_path: Path):
    one, two = models
    path = tmp_path / "policy.toml"
    path.write_text(POLICY)
    said(installation, "policy", "set", str(path))
    assert "which does not serve" not in said(installation, "policy", "show")
    said(installation, "models", "promote", two)

    shown = said(installation, "policy", "show")

    assert f"its thresholds are for {one}, which does not serve" in shown
    assert "review from 0.3, decline from 0.6" not in shown
    assert "list stolen" in shown


def test_a_dry_run_checks_the_file_and_changes_nothing(installation: Installation, models, tmp_path: Path):
    path = tmp_path / "policy.toml"
    path.write_text(POLICY)
    before = installation.registry.stamp()

    assert "can be set; nothing was changed" in said(installation, "policy", "set", str(path), "--dry-run")
    assert installation.registry.stamp() == before
    assert not (installation.root / "policies").exists()


def test_an_earlier_policy_can_still_be_shown(installation: Installation, models, tmp_path: Path):
    path = tmp_path / "policy.toml"
    path.write_text(POLICY)
    said(installation, "policy", "set", str(path))
    version = installation.registry.state().policy
    said(installation, "policy", "set", "--default")

    assert json.loads(said(installation, "policy", "show", "--version", version, "--json"))["thresholds"]["full"]["review"] == 0.3


@pytest.mark.parametrize("arguments", [[], ["--default", "FILE"]])
def test_set_takes_a_file_or_the_default_and_not_both(installation: Installation, models, tmp_path: Path, arguments: list[str]):
    path = tmp_path / "policy.toml"
    path.write_text(POLICY)

    found = installation.run("policy", "set", *(str(path) if each == "FILE" else each for each in arguments))

    assert found.exit_code == 2
    assert "give a FILE, or --default" in found.output


def test_an_installation_that_only_verifies_sets_no_policy(installation: Installation, models, tmp_path: Path):
    path = tmp_path / "policy.toml"
    path.write_text(POLICY)
    public = "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="

    found = installation.run("policy", "set", str(path), WEIR_MODEL_SIGNING_KEY="", WEIR_MODEL_VERIFY_KEY=public)

    assert isinstance(found.exception, ConfigError)
    assert "signs none" in str(found.exception)
    assert installation.registry.state().policy == ""
    shutil.rmtree(tmp_path / "registry" / "policies", ignore_errors=True)
