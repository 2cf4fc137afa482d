"""The registry as a real MLflow on SQLite shows it. Run by `make mlflow`, which brings MLflow."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from domain.errors import ConfigError
from models.bundle import verify_bundle
from service.mlflow_mirror import Mirrored, mirror
from tests.unit.registry_samples import KEY, Installation

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An empty database of MLflow: making one takes ten seconds."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path.read_bytes()


@pytest.fixture
def uri(tmp_path: Path, template: bytes, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database of its own; files go beside it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlflow.db").write_bytes(template)
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path)


def aliases_of(client: MlflowClient, *names: str) -> dict[str, str]:
    """Alias -> the weir model that MLflow has under it."""
    return {
        alias: client.get_model_version(name, version).tags["weir.model"]
        for name in names
        for alias, version in client.get_registered_model(name).aliases.items()
    }


def test_each_bundle_is_a_finished_run_with_its_metrics_and_a_registered_version(installation: Installation, uri: str):
    one = installation.add("weir")
    two = installation.add("other")

    assert mirror(installation.registry, uri) == Mirrored([one, two], {"champion": one})

    client = MlflowClient(uri)
    [version] = client.search_model_versions("name = 'weir'")
    run = client.get_run(version.run_id)
    manifest = installation.registry.entries()[0].manifest
    assert (run.info.run_name, run.info.status, run.info.start_time) == (one, "FINISHED", installation.registry.entries()[0].registered_ms)
    assert run.data.metrics["ensemble.average_precision"] == manifest.metrics["ensemble"]["average_precision"]
    assert run.data.params["window.n_rows"] == str(manifest.window.n_rows)
    assert run.data.params["options.alert_rate"] == str(manifest.options.alert_rate)


def test_what_is_downloaded_by_alias_is_the_bundle_and_its_signature_holds(installation: Installation, uri: str, tmp_path: Path):
    champion = installation.add("weir")
    mirror(installation.registry, uri)

    client = MlflowClient(uri)
    version = client.get_model_version_by_alias("weir", "champion")
    folder = Path(client.download_artifacts(version.run_id, "bundle", str(tmp_path)))

    manifest, digest, _ = verify_bundle(folder, KEY)
    assert f"{manifest.name}@{digest}" == champion


def test_aliases_follow_the_registry_through_a_rollout_also_across_names(installation: Installation, uri: str):
    one, two = installation.add("weir"), installation.add("other")
    client, registry = MlflowClient(uri), installation.registry
    for change in (
        lambda: registry.shadow(two), lambda: registry.canary(two, 5), lambda: registry.promote(two), registry.rollback,
        lambda: registry.shadow(two), registry.end_rollout,
    ):  # fmt: skip
        change()
        mirror(registry, uri)
        assert aliases_of(client, "weir", "other") == registry.aliases()
    assert registry.aliases()["champion"] == one


def test_mirroring_again_adds_nothing(installation: Installation, uri: str):
    champion = installation.add("weir")
    mirror(installation.registry, uri)

    assert mirror(installation.registry, uri) == Mirrored([], {"champion": champion})
    client = MlflowClient(uri)
    [experiment] = client.search_experiments(filter_string="name = 'weir'")
    assert len(client.search_runs([experiment.experiment_id])) == len(client.search_model_versions("name = 'weir'")) == 1


def test_an_interrupted_mirroring_is_finished_by_the_next(installation: Installation, uri: str):
    """A run that was begun and never finished, as a kill leaves it."""
    champion = installation.add("weir")
    client = MlflowClient(uri)
    begun = client.create_run(client.create_experiment("weir"), tags={"weir.model": champion}).info.run_id

    assert mirror(installation.registry, uri).added == [champion]
    [version] = client.search_model_versions("name = 'weir'")
    assert version.run_id != begun
    assert client.get_run(version.run_id).info.status == "FINISHED"


def test_a_version_that_people_added_in_mlflow_and_their_aliases_stay(installation: Installation, uri: str, tmp_path: Path):
    installation.add("weir")
    mirror(installation.registry, uri)
    client = MlflowClient(uri)
    own = client.create_model_version("weir", str(tmp_path)).version
    client.set_registered_model_alias("weir", "theirs", own)

    mirror(installation.registry, uri)

    assert {alias: str(version) for alias, version in client.get_registered_model("weir").aliases.items()} == {
        "champion": "1", "theirs": str(own),
    }  # fmt: skip


def test_the_command_says_what_it_did(installation: Installation, uri: str):
    champion = installation.add("weir")

    found = installation.run("models", "mirror", uri, "--json")

    assert found.exit_code == 0, found.exception
    assert json.loads(found.stdout.splitlines()[-1]) == {"added": [champion], "aliases": {"champion": champion}}


def test_an_mlflow_that_does_not_answer_is_a_sentence(installation: Installation):
    installation.add("weir")
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]

    for uri in (f"http://127.0.0.1:{port}", "ftp://nowhere"):
        with pytest.raises(ConfigError, match="refused the registry"):
            mirror(installation.registry, uri)


def test_mlflow_tells_nobody_about_the_installation():
    """In a process of its own: under a test MLflow is silent by itself."""
    program = (
        "from service import mlflow_mirror; mlflow_mirror.require_mlflow(); import mlflow.telemetry as t; print(t.get_telemetry_client())"
    )
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": os.pathsep.join(sys.path)}

    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True, timeout=120)

    assert found.stdout == "None\n"
