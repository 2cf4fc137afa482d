"""Bundles and policies that must not serve: each is refused with one sentence, and the champion keeps serving."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from domain.decision import Tier
from domain.errors import BundleRejected, FeatureSpecMismatch, ModelError, PolicyRejected, WeirError
from features.spec import FeatureSettings, fingerprint
from models.bundle import CARD, FILES, MEMBERS, load_bundle
from models.manifest import FORMAT, MANIFEST, SIGNATURE, version_of
from models.registry import Registry
from models.signature import sign
from tests.unit.registry_samples import KEY, Installation, bundle_of

SPEC = fingerprint(FeatureSettings())


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    """A registry with a champion."""
    found = Installation(tmp_path)
    found.add("good")
    return found


def refusal(installation: Installation, *arguments: str, **environment: str) -> WeirError:
    """What a command is refused with; the registry is as before, and its champion loads."""
    before, champion = installation.registry.stamp(), installation.registry.state().champion
    found = installation.run(*arguments, **environment)
    assert isinstance(found.exception, WeirError), found.output
    assert installation.registry.stamp() == before
    assert installation.registry.state().champion == champion
    load_bundle(installation.registry.resolve("champion"), KEY, SPEC)
    assert "\n" not in str(found.exception)
    return found.exception


def signed(folder: Path, change: Callable[[dict[str, object]], object]) -> None:
    """Change a bundle's manifest, and sign it with the right key."""
    manifest = json.loads((folder / MANIFEST).read_bytes())
    change(manifest)
    content = json.dumps(manifest).encode()
    (folder / MANIFEST).write_bytes(content)
    (folder / SIGNATURE).write_bytes(sign(content, KEY))


def forged(installation: Installation, change: Callable[[dict[str, object]], object]) -> str:
    """Put a rightly signed bundle with a changed manifest into the registry; return its name."""
    folder = bundle_of(installation.folder / "forged", "evil")
    signed(folder, change)
    target = installation.root / "bundles" / f"evil@{version_of((folder / MANIFEST).read_bytes())}"
    shutil.copytree(folder, target)
    return target.name


@pytest.mark.parametrize("name", [*FILES, MANIFEST, SIGNATURE])
def test_one_altered_byte_in_any_file_is_found_at_its_beginning_middle_and_end(installation: Installation, name: str):
    model = installation.add("evil")
    path = installation.registry.resolve(model) / name
    whole = path.read_bytes()
    for place in (0, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(BundleRejected, match="altered"):
            load_bundle(path.parent, KEY, SPEC)
    found = refusal(installation, "models", "promote", model)

    assert isinstance(found, BundleRejected)
    path.write_bytes(whole)
    load_bundle(path.parent, KEY, SPEC)


def test_an_unsigned_bundle_is_refused(installation: Installation):
    model = installation.add("evil")
    (installation.registry.resolve(model) / SIGNATURE).unlink()

    assert "it is not signed" in str(refusal(installation, "models", "promote", model))


def test_a_bundle_signed_with_another_key_is_refused(installation: Installation):
    model = installation.registry.register(bundle_of(installation.folder / "evil", "evil", key=b"another key"))

    assert "signed with another key" in str(refusal(installation, "models", "shadow", model))


def test_a_bundle_for_other_features_is_refused_with_both_fingerprints(installation: Installation):
    model = installation.add("evil", spec="0123456789abcdef")

    found = refusal(installation, "models", "canary", model)

    assert isinstance(found, FeatureSpecMismatch)
    assert "0123456789abcdef" in str(found)
    assert SPEC in str(found)


def test_a_process_with_other_features_refuses_the_bundle(installation: Installation):
    model = installation.add("other")
    environment = installation.environment | {"WEIR_FEATURES_MATURITY_DAYS": "9"}

    assert isinstance(installation.run("models", "promote", model, **environment).exception, FeatureSpecMismatch)


def test_a_bundle_of_a_newer_format_is_refused_with_what_to_do(installation: Installation):
    model = forged(installation, lambda manifest: manifest.update(format=FORMAT + 1, surprise={"of": "a newer version"}))

    assert f"format {FORMAT + 1}, this process reads up to {FORMAT}; upgrade weir" in str(refusal(installation, "models", "promote", model))


def test_a_bundle_with_thresholds_out_of_order_is_refused(installation: Installation):
    model = forged(
        installation, lambda manifest: manifest["policy"]["thresholds"]["full"].update(review=0.9, decline=0.2)  # type: ignore[index]
    )  # fmt: skip

    assert "thresholds out of order" in str(refusal(installation, "models", "promote", model))


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "sub/file"])
def test_a_manifest_that_names_a_file_elsewhere_is_refused(installation: Installation, name: str):
    model = forged(installation, lambda manifest: manifest["files"].update({name: "0" * 64}))  # type: ignore[attr-defined]

    assert "outside itself" in str(refusal(installation, "models", "promote", model))


class Bomb:
    """A pickle that makes a file when it is opened."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (os.mkdir, (str(self._path),))


def test_a_pickle_that_runs_code_does_not_run_whatever_is_done_with_its_bundle(installation: Installation):
    went_off = installation.folder / "went off"
    content = pickle.dumps(Bomb(went_off))
    model = installation.registry.register(bundle_of(installation.folder / "bomb", "bomb", files={MEMBERS: content}))

    for command in (("verify",), ("show", model), ("shadow", model), ("canary", model), ("promote", model), ("rollback",), ("list",)):
        assert installation.run("models", *command).exit_code == 0
    assert not went_off.exists()
    pickle.loads(content)  # it would have
    assert went_off.exists()


def test_a_pickle_put_into_a_signed_bundle_is_refused_and_does_not_run(installation: Installation):
    went_off = installation.folder / "went off"
    model = installation.add("evil")
    (installation.registry.resolve(model) / MEMBERS).write_bytes(pickle.dumps(Bomb(went_off)))

    assert f"{MEMBERS} of the bundle {model} was altered" in str(refusal(installation, "models", "promote", model))
    assert not went_off.exists()


@pytest.mark.parametrize("n_files", range(len(FILES) + 2))
def test_a_half_copied_bundle_is_refused_however_far_it_came(installation: Installation, n_files: int):
    whole = bundle_of(installation.folder / "whole", "evil")
    half = installation.root / "bundles" / f"evil@{version_of((whole / MANIFEST).read_bytes())}"
    half.mkdir()
    for path in sorted(whole.iterdir())[:n_files]:
        shutil.copyfile(path, half / path.name)
    found = installation.run("models", "list")
    assert found.exit_code == 0
    assert "good@" in found.output

    assert "no readable" in str(refusal(installation, "models", "promote", half.name))


@pytest.mark.parametrize("length", [0, 1, 1_000])
def test_a_bundle_with_a_file_cut_short_is_refused(installation: Installation, length: int):
    model = installation.add("evil")
    path = installation.registry.resolve(model) / FILES[0]
    path.write_bytes(path.read_bytes()[:length])

    assert "was altered" in str(refusal(installation, "models", "promote", model))


@pytest.mark.parametrize("command", [["promote"], ["shadow"], ["canary"], ["show"]])
@pytest.mark.parametrize("name", ["nothing@0123456789ab", "challenger", "previous", "", "../../etc/passwd", "."])
def test_a_name_that_does_not_exist_is_refused_by_every_command(installation: Installation, command: list[str], name: str):
    assert "weir models list" in str(refusal(installation, "models", *command, name))


@pytest.mark.parametrize("name", ["../evil", "Evil", "", ".hidden", "a/b", "a@b"])
def test_a_bundle_whose_name_is_a_path_is_not_registered(installation: Installation, name: str):
    folder = bundle_of(installation.folder / "evil", "evil")
    signed(folder, lambda manifest: manifest.update(name=name))
    before = installation.registry.names()

    with pytest.raises(BundleRejected, match="must be lower-case"):
        installation.registry.register(folder)
    assert installation.registry.names() == before


def test_a_rollback_to_a_broken_bundle_is_refused(installation: Installation):
    first = installation.registry.state().champion
    installation.registry.promote(installation.add("second"))
    (installation.registry.resolve("previous") / FILES[0]).write_bytes(b"")

    assert f"bundle {first} was altered" in str(refusal(installation, "models", "rollback"))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("[thresholds.full]\nreview = 0.9\ndecline = 0.2\n", "thresholds out of order: review from 0.9 on, decline from 0.2 on"),
        ("[thresholds.rules]\nreview = 0.1\ndecline = 0.2\n", "does not answer for the tier rules"),
        ('model = "nothing"\n[thresholds.full]\nreview = 0.1\ndecline = 0.2\n', "no model 'nothing'"),
        ("[threshold.full]\nreview = 0.1\n", "unknown field `threshold`"),
        ("[thresholds", "is not TOML"),
        (
            '[[rules.lists]]\nname = "stolen"\nfield = "card_id"\nvalues = ["4111111111111111"]\noutcome = "decline"\n',
            "holds a card number",
        ),
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused_and_the_one_in_force_stays(installation: Installation, content: str, sentence: str):
    path = installation.folder / "policy.toml"
    path.write_text(content)

    found = refusal(installation, "policy", "set", str(path))

    assert sentence in str(found)
    assert "4111" not in str(found)
    assert isinstance(found, ModelError)


def test_a_policy_altered_in_the_registry_is_refused(installation: Installation):
    path = installation.folder / "policy.toml"
    path.write_text("[thresholds.full]\nreview = 0.3\ndecline = 0.6\n")
    installation.run("policy", "set", str(path))
    [stored] = (installation.root / "policies").glob("*.json")
    stored.write_bytes(stored.read_bytes().replace(b"0.6", b"0.9"))

    found = refusal(installation, "policy", "show")

    assert isinstance(found, PolicyRejected)
    assert "altered" in str(found)


def test_the_command_line_says_it_in_one_sentence_with_code_2(installation: Installation):
    model = installation.add("evil")
    (installation.registry.resolve(model) / CARD).write_text("another card")
    environment = {"PATH": "/usr/bin:/bin"} | installation.environment

    found = subprocess.run(
        [sys.executable, "-m", "service", "models", "promote", model], capture_output=True, text=True, env=environment, check=False,
        timeout=120,
    )  # fmt: skip

    assert found.returncode == 2
    assert found.stdout == ""
    assert found.stderr == f"weir: {CARD} of the bundle {model} was altered; restore the bundle or train again\n"


def test_the_champion_answers_as_before_after_all_of_it(installation: Installation):
    scorer = load_bundle(installation.registry.resolve("champion"), KEY, SPEC)
    before = scorer.score(scorer.golden_vectors, tier=Tier.FULL)
    for model in (installation.add("evil", spec="0" * 16), "nothing"):
        refusal(installation, "models", "promote", model)

    again = load_bundle(Registry(installation.root).resolve("champion"), KEY, SPEC)

    assert (again.score(again.golden_vectors, tier=Tier.FULL) == before).all()
