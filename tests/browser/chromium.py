"""Chromium of this machine: found, or installed from the distribution's own packages."""

import os
import shutil
import subprocess

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_ARGUMENTS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
_INSTALL_S = 300


def chromium() -> str:
    """Return the path of a Chromium.

    Where there is none, root installs Debian's. Where that cannot be, the test is skipped - but never in continuous
    integration, which must have looked at the pages.
    """
    found = _on_path()
    if found is None and hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get"):
        _install()
        found = _on_path()
    if found is None:
        sentence = "no Chromium on this machine: install the package `chromium` (and `fonts-dejavu-core`)"
        if os.environ.get("CI"):
            pytest.fail(sentence)
        pytest.skip(sentence)
    return found


def launch(playwright):
    """Return a running Chromium without a window."""
    return playwright.chromium.launch(executable_path=chromium(), args=_ARGUMENTS)


def _on_path() -> str | None:
    return next((path for path in map(shutil.which, _NAMES) if path), None)


def _install() -> None:
    quiet = {"capture_output": True, "timeout": _INSTALL_S, "env": os.environ | {"DEBIAN_FRONTEND": "noninteractive"}}
    wanted = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium", "fonts-dejavu-core"]
    if subprocess.run(wanted, check=False, **quiet).returncode:
        subprocess.run(["apt-get", "update", "-qq"], check=False, **quiet)
        subprocess.run(wanted, check=False, **quiet)
