"""The dashboard over a real worker: what every view shows is what the topics hold."""

import json
import os
import subprocess
import sys
import urllib.parse
import urllib.request
from collections import Counter
from contextlib import contextmanager

import jsonschema

from monitoring.packed import HOUR_MS
from tests.e2e.installation import REPOSITORY, until

N = 2_000
DOCUMENT = json.loads((REPOSITORY / "docs" / "openapi.json").read_bytes())


@contextmanager
def dashboard(installation):
    """Run `weir web`; yield a function that asks it and checks every answer against the document."""
    folder = installation.folder
    environ = {"WEIR_MONITORING_DIRECTORY": str(folder / "monitoring"), "WEIR_ARCHIVE_DIRECTORY": str(folder / "archive")}
    log = (folder / "worker-web.log").open("ab")
    process = subprocess.Popen(
        [sys.executable, "-m", "service", "--config", str(installation.config), "web", "--port", "0", "--json"],
        stdout=subprocess.PIPE, stderr=log, text=True, cwd=REPOSITORY, env=os.environ | environ,
    )  # fmt: skip
    try:
        url = json.loads(process.stdout.readline())["url"]

        def ask(path, template=None):
            with urllib.request.urlopen(f"{url}api/v1/{path}", timeout=60) as answer:
                found = json.load(answer)
            content = DOCUMENT["paths"][f"/api/v1/{template or path.partition('?')[0]}"]["get"]["responses"]["200"]["content"]
            jsonschema.validate(found, {**content["application/json"]["schema"], "components": DOCUMENT["components"]})
            return found

        yield ask
    finally:
        process.terminate()
        process.wait(30)


def test_every_view_shows_what_the_topics_hold(installation, trained):
    streamed = trained.history[:N]
    with dashboard(installation) as ask:
        installation.start_worker()
        installation.send_history(streamed, 0, N)
        answers = installation.until_answered(set(streamed["transaction_id"].to_list()))
        until(lambda: sum(ask("live")["decisions"].values()) > 0, "no decisions: " + installation.logs())
        alerts = [json.loads(record.value) for record in installation.records("alerts.v1")]
        until(lambda: len(ask("live")["alerts"]) == min(50, len(alerts)), "not all alerts: " + installation.logs())

        newest_ms = streamed["event_time_ms"].max()
        until(lambda: ask("live")["event_ms"] == newest_ms, "not the newest event: " + installation.logs())
        live = ask("live")
        [worker] = live["workers"]
        assert (worker["partitions"], worker["state"]) == ([0, 1, 2, 3], "well")
        newest = {alert["transaction_id"]: alert for alert in alerts}
        for alert in live["alerts"]:
            known = newest[alert["transaction_id"]]
            assert (alert["probability"], alert["decision"]) == (known["probability"], known["decision"])
            assert [reason["text"] for reason in alert["reasons"]] == [reason["text"] for reason in known["reasons"]]

        over = streamed["event_time_ms"].max() // HOUR_MS
        inside = Counter(score[0].event_time_ms // HOUR_MS for score in answers.values())
        for window, length_h in (("24h", 24), ("7d", 168)):
            expected = sum(n for hour, n in inside.items() if over - length_h <= hour < over)
            until(lambda: ask(f"drift?window={window}")["n_rows"] == expected, f"drift has not counted {expected} of {window}")  # noqa: B023
        drift = ask("drift?window=7d")
        assert drift["model"] == worker["model"] == ask("models")["champion"]
        assert len(drift["features"]) == 188
        opened = ask("drift/card_count_24h?window=7d", "drift/{feature}")
        assert opened["row"]["psi"] == next(row["psi"] for row in drift["features"] if row["feature"] == "card_count_24h")

        installation.weir(
            "archive", "--until-end", WEIR_ARCHIVE_DIRECTORY=str(installation.folder / "archive"),
            WEIR_MONITORING_DIRECTORY=str(installation.folder / "monitoring"),
        )  # fmt: skip
        until(lambda: (ask("quality")["report"] or {"days": []})["days"], "no quality: " + installation.logs(), patience_s=150)
        assert sum(day["n"] for day in ask("quality")["report"]["days"]) == N

        name = live["alerts"][0]["transaction_id"]
        explained = ask(f"transactions/{urllib.parse.quote(name)}", "transactions/{transaction_id}")
        assert explained["score"]["probability"] == newest[name]["probability"]
        assert ask(f"models/{worker['model']}", "models/{model}")["row"]["n_workers"] == 1
        status = ask("status")
        assert {sentence["href"].partition("?")[0] for sentence in status["sentences"]} >= {"#/live", "#/drift", "#/quality", "#/models"}
