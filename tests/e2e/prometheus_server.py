"""A real Prometheus that scrapes what a test runs, with the project's own configuration and rules."""

import json
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import yaml

from service.demo import free_port
from tests.prometheus_binary import binary

FOLDER = Path(__file__).parents[2] / "deploy" / "prometheus"


class PrometheusServer:
    """Listens on a free port of loopback, keeps its data in `folder`; `stop` ends it."""

    def __init__(self, folder: Path, targets: dict[str, list[str]]) -> None:
        """Start; `targets` gives each job of the configuration its host:port."""
        configuration = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
        configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        configuration["rule_files"] = [str(FOLDER / name) for name in configuration["rule_files"]]
        for job in configuration["scrape_configs"]:
            job["static_configs"] = [{"targets": targets[job["job_name"]]}]
        place = folder / "prometheus.yml"
        place.write_text(yaml.safe_dump(configuration), "utf-8")
        self._log_file = folder / "prometheus.log"
        self._url = f"http://127.0.0.1:{(port := free_port())}"
        with self._log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    binary("prometheus"), f"--config.file={place}", f"--storage.tsdb.path={folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{port}", "--web.enable-lifecycle",
                ],
                stdout=log, stderr=log,
            )  # fmt: skip

    def query(self, expression: str) -> list[dict]:
        """Return what a PromQL expression gives now: `metric` (labels) and `value` (time, text) of each series.

        Nothing while Prometheus does not listen yet; a wrong expression fails the test.
        """
        assert self._process.poll() is None, self.log()
        query = urllib.parse.urlencode({"query": expression})
        try:
            with urllib.request.urlopen(f"{self._url}/api/v1/query?{query}", timeout=10) as answer:
                return json.load(answer)["data"]["result"]
        except urllib.error.HTTPError as error:
            if error.code == 503:  # it starts
                return []
            raise AssertionError(f"{expression}: {error.read().decode()}") from error
        except OSError:
            return []

    def values(self, expression: str) -> list[float]:
        """Return the values alone."""
        return [float(series["value"][1]) for series in self.query(expression)]

    def log(self) -> str:
        """Return the end of its log."""
        return self._log_file.read_text("utf-8", "replace")[-2000:]

    def stop(self) -> None:
        """End it, without waiting for its data."""
        self._process.kill()
        self._process.wait()
