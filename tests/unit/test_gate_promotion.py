"""What `weir models promote` does with the gate's verdict."""

import json
from pathlib import Path

import pytest

from models.gate import VERDICT, Check, Outcome, Verdict, write_verdict
from tests.unit.registry_samples import Installation


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path)


def verdict(installation: Installation, model: str, outcome: Outcome, champion: str) -> None:
    check = Check("fairness extra.region", outcome, "good customers of east are stopped 1.90 x as often as others")
    found = Verdict.of(model, champion, [check], made_ms=0, history="h")
    write_verdict(installation.registry.beside(model), found)


def test_a_refused_model_is_not_promoted_and_the_reason_is_said(installation: Installation):
    one, two = installation.add("one"), installation.add("two")
    verdict(installation, two, "refused", one)

    found = installation.run("models", "promote", two)

    assert str(found.exception).startswith(f"the gate refuses {two}: fairness extra.region: good customers of east")
    assert "--force" in str(found.exception)
    assert installation.registry.state().champion == one


def test_force_promotes_a_refused_model_and_the_history_says_so(installation: Installation):
    one, two = installation.add("one"), installation.add("two")
    verdict(installation, two, "refused", one)

    found = installation.run("models", "promote", two, "--force", "--who", "ann", "--why", "an emergency")

    assert found.exit_code == 0
    assert "good customers of east" in found.stderr
    assert installation.registry.history()[-1].is_forced
    assert "promoted to champion although the gate refused it by ann: an emergency" in installation.run("models", "history").stdout


@pytest.mark.parametrize("arguments", [(), ("--force",)])
def test_a_model_that_passed_is_promoted_without_a_word_and_never_as_forced(installation: Installation, arguments: tuple[str, ...]):
    one, two = installation.add("one"), installation.add("two")
    verdict(installation, two, "passed", one)

    found = installation.run("models", "promote", two, *arguments, WEIR_GATE_REQUIRED="true")

    assert (found.exit_code, found.stderr) == (0, "")
    assert not installation.registry.history()[-1].is_forced
    assert installation.registry.state().champion == two


@pytest.mark.parametrize("stale", [False, True], ids=["missing", "against another champion"])
def test_a_missing_verdict_warns_and_is_refused_where_one_is_required(installation: Installation, stale: bool):
    one, two, three = (installation.add(name) for name in ("one", "two", "three"))
    if stale:
        verdict(installation, three, "passed", two)

    refused = installation.run("models", "promote", three, WEIR_GATE_REQUIRED="true")
    assert f"weir models gate {three} HISTORY" in str(refused.exception)
    assert installation.registry.state().champion == one

    found = installation.run("models", "promote", three)
    assert found.exit_code == 0
    assert found.stderr.startswith("warning: ")
    assert not installation.registry.history()[-1].is_forced


def test_the_champion_needs_no_verdict(installation: Installation):
    one = installation.add("one")

    found = installation.run("models", "promote", one, WEIR_GATE_REQUIRED="true")

    assert (found.exit_code, found.stderr) == (0, "")


def test_show_prints_the_verdict(installation: Installation):
    one, two = installation.add("one"), installation.add("two")
    verdict(installation, two, "refused", one)

    assert "fairness extra.region  refused       good customers of east" in installation.run("models", "show", two).stdout
    assert json.loads(installation.run("models", "show", two, "--json").stdout)["verdict"]["outcome"] == "refused"


def test_a_verdict_that_cannot_be_read_promotes_nothing(installation: Installation):
    one, two = installation.add("one"), installation.add("two")
    verdict(installation, two, "passed", one)
    installation.registry.beside(two).write(VERDICT, b"{")

    assert "let the gate judge again" in str(installation.run("models", "promote", two).exception)
    assert installation.registry.state().champion == one
