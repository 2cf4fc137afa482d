import hashlib
import importlib.util
import json
import os
import re
import subprocess
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import settings

from service import cli
from service.settings import environment_name, names

ROOT = Path(__file__).parents[2]
TARGETS = ["demo", "test", "setup", "fmt", "lint", "types", "arch", "unit", "integration", "e2e", "bench", "docs"]
TARGETS += ["parity", "mlflow", "tracking", "stores", "crash-matrix", "long-outage", "up", "down", "clean", "help"]
MAKEFILE = (ROOT / "Makefile").read_text()


def schema_errors(document, name):
    """Return what is wrong with `document` by the schema that check-jsonschema carries (no network)."""
    found = importlib.util.find_spec("check_jsonschema")
    folder = Path(found.submodule_search_locations[0]) / "builtin_schemas" / "vendor"
    schema = json.loads((folder / f"{name}.json").read_text())
    validator = jsonschema.validators.validator_for(schema)(schema)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]


def is_command(words):
    """Tell whether `words` are arguments that the command line takes: a command, its subcommands, existing options."""
    context, command = cli.click.Context(cli.weir), cli.weir
    while isinstance(command, cli.click.Group) and words and not words[0].startswith("-"):
        command, words = command.get_command(context, words[0]), words[1:]
    options = {option for parameter in command.params for option in parameter.opts} if command else set()
    return command is not None and all(word in options for word in words if word.startswith("-"))


def test_every_target_is_documented_and_bare_make_prints_them():
    shown = subprocess.run(["make", "--no-print-directory", "-C", str(ROOT)], check=True, capture_output=True, text=True).stdout

    assert sorted(re.findall(r"^  make ([\w-]+)", shown, re.MULTILINE)) == sorted(TARGETS)
    assert set(TARGETS) == set(re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)[1].split())


@pytest.mark.parametrize("words", [["demo"], ["up"], ["down"]])
def test_the_makefile_calls_commands_that_exist(words):
    assert f"$(BIN)/weir {words[0]}" in MAKEFILE
    assert words[0] in cli.weir.list_commands(cli.click.Context(cli.weir))


def test_nothing_is_made_again_when_it_is_up_to_date(tmp_path):
    for path in [*(ROOT / "requirements").iterdir(), ROOT / "Makefile", ROOT / "pyproject.toml"]:
        target = tmp_path / path.relative_to(ROOT)
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(path.read_bytes())
    (tmp_path / ".venv").mkdir()
    for stamp in (".made", ".installed-run", ".installed-dev"):
        (tmp_path / ".venv" / stamp).touch()

    def would_do():
        return subprocess.run(["make", "-n", "setup"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    assert "Nothing to be done" in would_do()
    later = (tmp_path / ".venv" / ".installed-dev").stat().st_mtime + 60
    os.utime(tmp_path / "requirements" / "runtime.txt", (later, later))
    assert "--require-hashes" in would_do()


def test_without_a_suitable_python_make_says_so(tmp_path):
    (tmp_path / "Makefile").write_text(MAKEFILE)
    (tmp_path / "requirements").mkdir()
    for lock in ("runtime", "train", "embedded", "dev"):
        (tmp_path / "requirements" / f"{lock}.txt").touch()
    (tmp_path / "pyproject.toml").touch()
    tools = tmp_path / "bin"
    tools.mkdir()
    broken = tools / "python3"
    broken.write_text("#!/bin/sh\nexit 127\n")  # as a version manager's shim without a version
    broken.chmod(0o755)
    for name in ("sh", "touch", "rm"):
        (tools / name).symlink_to(f"/bin/{name}" if Path(f"/bin/{name}").exists() else f"/usr/bin/{name}")
    make = subprocess.run(["sh", "-c", "command -v make"], check=True, capture_output=True, text=True).stdout.strip()
    found = subprocess.run([make, "setup"], cwd=tmp_path, check=False, capture_output=True, text=True, env={"PATH": str(tools)})

    assert found.returncode != 0
    assert "install Python 3.11 or newer" in found.stderr


@pytest.mark.parametrize("lock", sorted((ROOT / "requirements").glob("*.txt")), ids=lambda path: path.stem)
def test_every_locked_package_is_pinned_and_has_hashes(lock):
    text = lock.read_text()
    entries = re.split(r"\n(?=[a-z0-9])", text.strip())

    assert all(re.match(r"[a-z0-9._\[\],-]+==\S+", entry) and "--hash=sha256:" in entry for entry in entries if not entry.startswith("#"))
    assert "://" not in text
    assert "--index" not in text


def test_continuous_integration_does_what_a_developer_does():
    workflow = yaml.load((ROOT / ".github" / "workflows" / "ci.yml").read_text(), yaml.BaseLoader)  # BaseLoader: `on` is no Boolean here
    run = ROOT / ".ci" / "run"

    assert workflow["jobs"]["test"]["steps"][-1]["run"] == ".ci/run"
    assert os.access(run, os.X_OK)
    assert "set -euo pipefail" in run.read_text()
    assert "make test" in run.read_text()


def test_every_night_the_long_checks_run():
    workflow = yaml.load((ROOT / ".github" / "workflows" / "nightly.yml").read_text(), yaml.BaseLoader)
    checks = {check for job in workflow["jobs"].values() for check in job["strategy"]["matrix"]["check"]}

    assert checks == {"parity", "mlflow", "tracking", "stores", "crash-matrix", "long-outage"}
    assert checks <= set(TARGETS)
    assert all(job["steps"][-1]["run"] == "make ${{ matrix.check }}" for job in workflow["jobs"].values())


def test_what_runs_every_night_is_thorough():
    recipe = subprocess.run(["make", "-n", "parity"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    profile = re.search(r"HYPOTHESIS_PROFILE=(\w+) ", recipe)[1]

    assert settings.get_profile(profile).max_examples > settings.get_profile("ci").max_examples


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / ".github" / "workflows").iterdir()))
def test_a_workflow_is_valid_and_its_actions_are_pinned_by_hash(name):
    text = (ROOT / ".github" / "workflows" / name).read_text()
    document = {("on" if key is True else key): value for key, value in yaml.safe_load(text).items()}

    assert schema_errors(document, "github-workflows") == []
    assert all(re.search(r"@[0-9a-f]{40} # v", line) for line in text.splitlines() if "uses:" in line)


def test_every_name_in_the_example_environment_is_a_setting():
    found = re.findall(r"^(WEIR_\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)

    assert {name.removesuffix("_FILE") for name in found} <= {environment_name(name) for name in names()}


def test_the_license_is_apache_2_whole():
    text = (ROOT / "LICENSE").read_text()

    assert "Version 2.0, January 2004" in text
    assert "APPENDIX: How to apply the Apache License to your work." in text
    assert hashlib.sha256(text.encode()).hexdigest() == "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"


@pytest.mark.parametrize(
    "name", ["docs/operations.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "README.md", "docker-compose.yml"]
)
def test_commands_shown_in_the_papers_exist(name):
    text = (ROOT / name).read_text()
    shown = re.findall(r"(?:`|^|\.venv/bin/)weir ((?:--config \S+ )?[a-z].*?)(?:`|$| #|;|\||&)", text, re.MULTILINE)
    commands = [re.sub(r"^--config \S+ ", "", line).split() for line in shown]

    assert [words for words in commands if not is_command(words)] == []


def test_settings_named_in_the_operations_guide_exist():
    sections = {name.partition(".")[0] for name in names()}
    found = re.findall(r"`([a-z]+\.[a-z_]+)`", (ROOT / "docs" / "operations.md").read_text())

    assert [name for name in found if name.partition(".")[0] in sections and name not in names()] == []
