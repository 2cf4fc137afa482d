"""The import contracts can fail: each is broken once in a copy of the tree."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PACKAGES = ("domain", "features", "models", "monitoring", "stream", "simulate", "service")


@pytest.mark.parametrize(
    ("module", "planted", "contract"),
    [
        ("features/keys.py", "import stream.records", "One arrow"),
        ("monitoring/profile.py", "import models.policy", "One arrow"),
        ("simulate/places.py", "import monitoring.profile", "The simulator knows"),
        ("models/policy.py", "import simulate.places", "Only the service"),
        ("features/kernel.py", "import time", "The core does no I/O"),
        ("domain/label.py", "import redis", "The core does no I/O"),
        ("stream/journal_ring.py", "import os", "The core does no I/O"),
        ("stream/pipeline.py", "import faust", "Faust stays"),
        ("features/store.py", "import redis", "Redis stays"),
        ("stream/publisher.py", "import prometheus_client", "Prometheus stays"),
    ],
)
def test_a_planted_import_breaks_its_contract(tmp_path, module, planted, contract):
    for package in PACKAGES:
        shutil.copytree(REPOSITORY / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__", "lua", "commands"))
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    (tmp_path / module).write_text(f"{planted}\n{(tmp_path / module).read_text()}")

    found = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache"],
        cwd=tmp_path, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(tmp_path), "COLUMNS": "200", "PATH": ""},
    )  # fmt: skip

    assert found.returncode == 1, found.stdout + found.stderr
    assert any(contract in line and "BROKEN" in line for line in found.stdout.splitlines()), found.stdout
