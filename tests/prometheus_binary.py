"""The real Prometheus for tests: of this machine, else Debian's package unpacked beside the embedded services' files."""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

_UNPACKED = Path(__file__).parents[1] / "var" / "prometheus"


def binary(name: str) -> str:
    """Return the path of `prometheus` or `promtool`; skips the test where it cannot be had, which is an error where CI runs."""
    found = shutil.which(name) or _unpacked(name)
    if found is None:
        problem = "Prometheus is not here and cannot be fetched: apt-get install prometheus"
        if os.environ.get("CI"):
            pytest.fail(problem)
        pytest.skip(problem)
    return found


def promtool(*arguments: str | Path, text: str | None = None) -> None:
    """Run promtool; fail with what it says if it is not content."""
    ran = subprocess.run(
        [binary("promtool"), *map(str, arguments)], input=text, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr


def _unpacked(name: str) -> str | None:
    """Unpack the package once, without installing it: no service of the system starts, and no root is needed."""
    place = _UNPACKED / "usr" / "bin" / name
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        return None
    _UNPACKED.mkdir(parents=True, exist_ok=True)
    with (_UNPACKED / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run in several processes
        if not place.exists() and not _fetch():
            if os.getuid() != 0 or not _is_done("apt-get", "update", "-qq"):
                return None
            _fetch()
    return str(place) if place.exists() else None


def _fetch() -> bool:
    if not _is_done("apt-get", "download", "-qq", "prometheus"):
        return False
    return all(_is_done("dpkg-deb", "-x", package.name, ".") for package in _UNPACKED.glob("prometheus_*.deb"))


def _is_done(*command: str) -> bool:
    ran = subprocess.run(command, cwd=_UNPACKED, capture_output=True, check=False, timeout=120)
    return ran.returncode == 0
