"""A real Prometheus scrapes what runs, and every query of rules and dashboards has an answer."""

import os
import subprocess
import sys
import urllib.request
from functools import partial

import pytest
import yaml

from monitoring.dashboards import DASHBOARDS
from service.demo import free_port
from tests.e2e.installation import REPOSITORY, until
from tests.e2e.prometheus_server import FOLDER, PrometheusServer
from tests.prometheus_binary import binary, promtool

RULES = [rule["expr"] for group in yaml.safe_load((FOLDER / "rules.yml").read_text())["groups"] for rule in group["rules"]]
OF_WORKERS = [
    query.expression
    for dashboard in DASHBOARDS if dashboard.uid in {"weir-stream", "weir-states"}
    for row in dashboard.rows
    for panel in row.panels
    for query in panel.queries
    if not query.expression.startswith("ALERTS")
]  # fmt: skip
OF_WEB = ["sum by (kind, severity) (weir_incidents_open)", "sum by (state) (weir_fleet_workers)", "max(weir_alarms_untold)"]


@pytest.fixture
def beside(installation, tmp_path):
    """Ports of `weir web` and of `weir archive` beside the workers."""
    web, archive = free_port(), free_port()
    processes = []
    environ = os.environ | {"PYTHONPATH": str(REPOSITORY), "WEIR_ARCHIVE_PORT": str(archive)}
    for arguments in (["web", "--port", str(web)], ["archive"]):
        with (tmp_path / f"{arguments[0]}.log").open("ab") as log:
            line = [sys.executable, "-m", "service", "--config", str(installation.config), *arguments]
            processes.append(subprocess.Popen(line, stdout=log, stderr=log, cwd=tmp_path, env=environ))
    yield {"weir-web": [f"127.0.0.1:{web}"], "weir-archive": [f"127.0.0.1:{archive}"]}
    for process in processes:
        process.kill()
        process.wait()


def test_prometheus_sees_the_stream_and_answers_every_query(installation, trained, beside, tmp_path):
    binary("prometheus")  # skips before anything is started
    worker = installation.start_worker()
    port = installation.port_of(worker)
    data = tmp_path / "prometheus"
    data.mkdir()
    server = PrometheusServer(data, {"weir-worker": [f"127.0.0.1:{port}"], **beside})
    try:
        installation.send_history(trained.history, 0, 300)
        until(lambda: server.values("weir_transactions_total") == [300], "not scraped: " + server.log() + installation.logs())
        installation.send_history(trained.history, 300, 600)
        until(lambda: server.values("weir_transactions_total") == [600], "not grown: " + server.log() + installation.logs())
        logs = [tmp_path / "web.log", tmp_path / "archive.log"]
        until(lambda: server.values("sum(up)") == [3], "not all are up: " + "".join(log.read_text()[-2000:] for log in logs))

        assert server.values("rate(weir_transactions_total[5m]) > 0")
        assert server.values("count by (job) (up == 1)") == [1, 1, 1]
        for expression in [*OF_WORKERS, *OF_WEB]:
            until(partial(server.query, expression.replace("$__rate_interval", "1m")), f"nothing answers {expression}", 30)
        firing = {series["metric"]["alertname"] for series in server.query('ALERTS{alertstate="firing"}')}
        assert not firing, "a healthy installation raises alerts"
        for expression in RULES:
            server.query(expression)

        until(lambda: server.values("count(weir_fleet_workers)") == [3], "no fleet")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            promtool("check", "metrics", text=answer.read().decode())

        worker.kill()
        until(lambda: server.values("ALERTS{alertname='WeirNoWorker', alertstate='pending'}") == [1], "the death was not noticed")
    finally:
        server.stop()
