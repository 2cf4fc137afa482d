"""A running installation for the browser: a worker, an archive and `weir web`, over days streamed at full speed."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import msgspec
import polars as pl

from domain.decision import Alert
from service.demo import settings_toml
from service.times import format_time
from tests.e2e.installation import REPOSITORY, Installation, until

DAY_MS = 86_400_000
LIVE_RATE_PER_S = 60


class Web:
    """One `weir web` process."""

    def __init__(self, config: Path, log: Path, port: int = 0, **environment: str) -> None:
        self._log = log.open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "service", "--config", str(config), "web", "--port", str(port), "--json"],
            stdout=subprocess.PIPE, stderr=self._log, cwd=REPOSITORY, env=os.environ | environment,
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
    """A stream that has run for `n_days` and goes on at a few transactions a second while the browser looks.

    Args:
        installation: Its archive and monitoring folders become ones of its own.
        history: Transactions and labels, from before `from_ms` if `is_warm`.
        from_ms: The model was trained up to here; the stream begins here.
        n_days: Days of event time to stream at full speed.
        is_warm: Build the feature state of the time before first.
    """

    def __init__(self, installation: Installation, history: pl.DataFrame, *, from_ms: int, n_days: int, is_warm: bool) -> None:
        self.installation = installation
        folder = installation.folder
        replace = msgspec.structs.replace
        installation.settings = replace(
            installation.settings,
            archive=replace(installation.settings.archive, directory=str(folder / "archive")),
            monitoring=replace(installation.settings.monitoring, directory=str(folder / "monitoring")),
        )
        installation.config.write_text(settings_toml(installation.settings), "utf-8")
        self._from, self._live_from = format_time(from_ms), format_time(from_ms + n_days * DAY_MS)
        self._history = folder / "history.parquet"
        history.write_parquet(self._history)
        self._is_warm = is_warm
        self._live: subprocess.Popen[bytes] | None = None

    def run(self) -> None:
        """Stream the days, write the archive, and begin the live traffic."""
        weir, history = self.installation.weir, str(self._history)
        if self._is_warm:
            weir("rebuild", history, "--to", self._from)
        self.installation.start_worker()
        weir("produce", history, "--from", self._from, "--to", self._live_from)
        weir("archive", "--until-end")
        self._live = subprocess.Popen(
            [sys.executable, "-m", "service", "--config", str(self.installation.config), "produce", history,
             "--from", self._live_from, "--rate", str(LIVE_RATE_PER_S)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=REPOSITORY,
        )  # fmt: skip

    def web(self, port: int = 0, **environment: str) -> Web:
        """Start the dashboard."""
        return Web(self.installation.config, self.installation.folder / "web.log", port, **environment)

    def told_alert(self) -> str:
        """Return the id of the most certain alert among the streamed frauds, else of any alert."""
        alerts = [msgspec.json.decode(record.value, type=Alert) for record in self.installation.records("alerts.v1")]
        frauds = set(pl.read_parquet(self._history).filter(pl.col("is_fraud"))["transaction_id"])
        return max(alerts, key=lambda alert: (alert.transaction_id in frauds, alert.probability)).transaction_id

    def close(self) -> None:
        if self._live is not None:
            self._live.terminate()
            self._live.wait(20)
        self.installation.close()


def until_filled(web: Web) -> None:
    """Wait until every page has something to show."""
    until(lambda: web.get("live")["workers"] and web.get("live")["alerts"], "the dashboard sees no worker, or no alert")
    until(lambda: web.get("drift")["features"], "drift is not evaluated")
    until(lambda: web.get("quality")["report"], "quality is not evaluated")
