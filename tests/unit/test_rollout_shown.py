"""A trial is visible where people look: `weir models show`, and the Models page's JSON."""

import json
from pathlib import Path

import jsonschema
import pytest

from domain.decision import Tier
from models.gate import Check, Verdict, write_verdict
from models.policy import LivePolicy, Thresholds
from models.policy_store import PolicyStore
from models.registry import Registry
from service.policies import known_policies
from service.rollout_words import trial_lines
from service.web.steering import sources_of
from tests.unit.registry_samples import bundle_of
from tests.unit.rollout_bank import GOOD_DAY, MATURITY_DAYS, TrialBank
from tests.unit.test_web_api import asked, schema_of
from tests.unit.web_scenes import KEY, settings_of, shelf_of


@pytest.fixture
def bank(tmp_path: Path) -> TrialBank:
    return TrialBank(tmp_path)


def test_models_show_prints_the_trial_with_its_evidence_day_by_day(bank: TrialBank) -> None:
    bank.registry.shadow(bank.challenger)
    steward = bank.steward()
    bank.play(GOOD_DAY, n_days=MATURITY_DAYS + 2)
    bank.look(steward)
    running = bank.installation.run("models", "show", "challenger")
    bank.play(GOOD_DAY, n_days=3)
    bank.look(steward)
    over = bank.installation.run("models", "show", bank.challenger)

    assert f"trial beside {bank.champion}, shadow" in running.output
    assert ": in force" in running.output
    assert "transactions that both scored wait for their labels" in running.output
    assert "2026-01-02" in running.output
    assert ": promoted" in over.output
    assert "(20 is enough)" in over.output


def test_models_show_gives_the_trials_as_json_too(bank: TrialBank) -> None:
    bank.registry.canary(bank.challenger, 5)
    steward = bank.steward()
    bank.play(GOOD_DAY, n_days=MATURITY_DAYS + 1)
    bank.look(steward)
    bank.play(GOOD_DAY)
    bank.look(steward)

    [trial] = json.loads(bank.installation.run("models", "show", "challenger", "--json").output)["trials"]

    assert (trial["mode"], trial["percent"], trial["outcome"]) == ("canary", 5, "running")
    assert trial["evidence"]["n_challenger_only"] == 8


def test_the_models_page_gets_the_comparison_as_documented(bank: TrialBank) -> None:
    bank.registry.shadow(bank.challenger)
    bank.play(GOOD_DAY, n_days=MATURITY_DAYS + 2)
    bank.look(bank.steward())
    folders = {"WEIR_MODEL_SIGNING_KEY": bank.installation.key.decode()}

    everything, one = asked(bank.installation.folder, "/api/v1/models", f"/api/v1/models/{bank.challenger}", **folders)

    jsonschema.validate(everything.json(), schema_of("/api/v1/models"))
    jsonschema.validate(one.json(), schema_of("/api/v1/models/{model}"))
    [trial] = everything.json()["trials"]
    assert one.json()["trials"] == [trial]
    assert trial["evidence"]["verdict"] == "running"
    assert [point[1] for point in trial["course"]] == [trial["evidence"]["e_promote"]]
    assert f"{bank.challenger} is on trial beside it, as a shadow." in everything.json()["sentence"]


def test_a_trial_that_was_not_judged_yet_is_told_in_two_lines_and_what_waits(bank: TrialBank) -> None:
    bank.registry.canary(bank.challenger, 5)
    bank.look(bank.steward())

    lines = trial_lines(bank.trial())

    assert "canary for 5 % of the cards" in lines[0]
    assert len(lines) == 3


def test_the_steward_hears_of_the_gate(tmp_path: Path) -> None:
    shelf, champion = shelf_of(tmp_path)
    settings = settings_of(tmp_path)
    registry = Registry(tmp_path / "registry")
    other = registry.register(bundle_of(tmp_path / "other", "other", key=KEY))
    sources = sources_of(settings, shelf, known_policies(settings))
    before = sources.objection(registry.state(), other)
    check = Check("fairness", "refused", "it is unfair")
    write_verdict(registry.beside(other), Verdict.of(other, champion, [check], made_ms=0, history="h"))

    assert before == ""
    assert "it is unfair" in sources.objection(registry.state(), other)


def test_the_steward_takes_threshold_and_maturity_that_are_in_force(tmp_path: Path) -> None:
    shelf, champion = shelf_of(tmp_path)
    usual = settings_of(tmp_path)
    patient = settings_of(tmp_path, WEIR_MODEL_TRIAL_MATURITY_DAYS="45")
    registry, default = Registry(tmp_path / "registry"), shelf.get(champion).manifest.policy
    before = sources_of(usual, shelf, known_policies(usual))
    live = LivePolicy({Tier.FULL: Thresholds(0.123, 0.9)}, champion)
    registry.set_policy(PolicyStore(tmp_path / "registry").write(live, KEY), model=champion)
    after = sources_of(patient, shelf, known_policies(patient))

    assert (before.maturity_days, after.maturity_days) == (usual.features.maturity_days, 45)
    assert before.connection is None
    assert default.thresholds[Tier.FULL].review != 0.123
    assert after.threshold(registry.state()) == 0.123
