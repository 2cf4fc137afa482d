"""A running installation for the browser: a worker, an archive and `weir web`, over days streamed at full speed."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import msgspec
import polars as pl

from service.demo import settings_toml
from service.times import format_time
from simulate.drift import Drift
from simulate.generate import generate
from tests.e2e.installation import REPOSITORY, Installation, until

DAY_MS = 86_400_000
LIVE_RATE_PER_S = 60


class Web:
    """One `weir web` process."""

    def __init__(self, config: Path, log: Path, port: int = 0) -> None:
        self._log = log.open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "service", "--config", str(config), "web", "--port", str(port), "--json"],
            stdout=subprocess.PIPE, stderr=self._log, cwd=REPOSITORY, env=os.environ.copy(),
        )  # fmt: skip
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"weir web ended: {log.read_text('utf-8', 'replace')[-1500:]}"
        self.url = json.loads(line)["url"].rstrip("/")

    @property
    def port(self) -> int:
        return int(re.search(r":(\d+)$", self.url)[1])

    def get(self, path: str) -> dict:
        """Return the JSON at `/api/v1/<path>`."""
        with urlopen(f"{self.url}/api/v1/{path}", timeout=10) as answer:
            return json.load(answer)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)
        self.process.stdout.close()
        self._log.close()


class World:
    """A stream that has run for `n_days` and goes on at a few transactions a second while the browser looks."""

    def __init__(self, installation: Installation, *, first_day: int, n_days: int, n_cards: int, seed: int) -> None:
        self.installation = installation
        folder = installation.folder
        replace = msgspec.structs.replace
        installation.settings = replace(
            installation.settings,
            archive=replace(installation.settings.archive, directory=str(folder / "archive")),
            monitoring=replace(installation.settings.monitoring, directory=str(folder / "monitoring")),
        )
        installation.config.write_text(settings_toml(installation.settings), "utf-8")
        # The last days differ: people buy online what they bought in shops.
        drifts = (Drift("channel_shift", first_day + n_days - 1),)
        history = generate(n_days=first_day + n_days + 2, n_cards=n_cards, seed=seed, drifts=drifts)
        start_ms = int(history["event_time_ms"][0]) // DAY_MS * DAY_MS
        self._from_ms = start_ms + first_day * DAY_MS
        self._live_ms = self._from_ms + n_days * DAY_MS
        self._history = folder / "history.parquet"
        history.filter(pl.col("event_time_ms") >= self._from_ms).write_parquet(self._history)
        self._live: subprocess.Popen[bytes] | None = None

    def run(self) -> None:
        """Stream the days, write the archive, and begin the live traffic."""
        self.installation.start_worker()
        self.installation.weir("produce", str(self._history), "--from", format_time(self._from_ms), "--to", format_time(self._live_ms))
        self.installation.weir("archive", "--until-end")
        self._live = subprocess.Popen(
            [sys.executable, "-m", "service", "--config", str(self.installation.config), "produce", str(self._history),
             "--from", format_time(self._live_ms), "--rate", str(LIVE_RATE_PER_S)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=REPOSITORY,
        )  # fmt: skip

    def web(self, port: int = 0) -> Web:
        """Start the dashboard; it is known to see the worker when this returns."""
        found = Web(self.installation.config, self.installation.folder / "web.log", port)
        until(lambda: found.get("live")["workers"], "the dashboard sees no worker")
        return found

    def close(self) -> None:
        if self._live is not None:
            self._live.terminate()
            self._live.wait(20)
        self.installation.close()


def wait_for_views(web: Web, patience_s: float = 60.0) -> None:
    """Wait until drift and quality have been evaluated once."""
    deadline_s = time.monotonic() + patience_s
    while time.monotonic() < deadline_s:
        if web.get("drift")["features"] and web.get("quality")["report"]:
            return
        time.sleep(0.2)
    raise AssertionError("drift or quality was not evaluated")
