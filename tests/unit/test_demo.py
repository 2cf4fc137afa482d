"""The demo's parts that need no services: its world, its settings, its screen, and the supervised worker."""

import asyncio
import io
import os
import signal
import stat
import sys
import threading
import time
import tomllib
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

import service.demo as demo_module
from domain.errors import CardNumberRejected, InvalidRecord, MalformedRecord, RejectedRecord
from domain.transaction import decode_transaction
from features.history import SCHEMA, read_history, write_history
from service import supervised_worker
from service.audit import Audit
from service.demo import Demo, DemoOptions, free_port, is_ready, write_settings
from service.demo_screen import Screen, summary_table
from service.demo_world import DAY_MS, N_CARDS, PAST_DAYS, SEED, World, make_world
from service.settings import Settings, load
from service.supervised_worker import SupervisedWorker
from tests.unit.test_audit import TOPICS, alert, answer, audit, dead, score

DEADLINE_S = 20.0


def history(times_ms: list[int], stories: list[str | None]) -> pl.DataFrame:
    rows = [
        {"transaction_id": f"t{i}", "event_time_ms": time_ms, "card_id": "c", "amount_minor": 1, "currency": "EUR", "merchant_id": "m"}
        for i, time_ms in enumerate(times_ms)
    ]
    frame = pl.DataFrame([{name: row.get(name) for name in SCHEMA} for row in rows], schema=SCHEMA, orient="row")
    return frame.with_columns(story=pl.Series(stories, dtype=pl.String))


def test_what_is_streamed_begins_at_the_start_and_its_frauds_are_those_with_a_story():
    world = World(Path("unused"), history([1, 9, 10, 11], ["clone", None, "clone", None]), 10)

    assert world.streamed["transaction_id"].to_list() == ["t2", "t3"]
    assert world.frauds() == {"t2"}


def test_a_kept_world_is_played_again_from_the_same_day(tmp_path):
    first_ms = 1_700_006_400_000 + 5_000
    path = tmp_path / f"history-{N_CARDS}-{SEED}.parquet"
    write_history(history([first_ms, first_ms + 100 * DAY_MS], [None, None]), path)
    progress: list[float] = []

    world = make_world(tmp_path, now_ms=first_ms + 500 * DAY_MS, progress=progress.append)

    assert progress == []
    assert world.history.equals(read_history(path))
    assert world.start_ms == 1_700_006_400_000 // DAY_MS * DAY_MS + PAST_DAYS * DAY_MS


def test_each_broken_record_is_refused_for_another_reason():
    def error_of(record: bytes) -> type:
        try:
            decode_transaction(record)
        except RejectedRecord as error:
            return type(error)
        return type(None)

    assert [error_of(record) for record in demo_module._BROKEN] == [MalformedRecord, InvalidRecord, CardNumberRejected]


def demo(environ: dict[str, str], folder: Path) -> Settings:
    loaded = load(Path("/dev/null"), {"WEIR_EMBEDDED_DIRECTORY": str(folder)} | environ)
    return Demo(loaded, DemoOptions(None, 60.0), Console(file=io.StringIO()))._loaded.settings


def test_a_demo_on_embedded_services_keeps_to_a_folder_of_its_own(tmp_path):
    found = demo({}, tmp_path)

    assert found.embedded.directory == str(tmp_path / "demo")
    assert found.model.registry == str(tmp_path / "demo" / "registry")
    assert (found.kafka.prefix, found.redis.prefix) == ("", "weir:")
    assert found.monitoring.bind == "127.0.0.1"
    assert found.monitoring.port > 0


def test_a_demo_on_foreign_services_uses_names_that_nobody_else_has(tmp_path):
    found = demo({"WEIR_KAFKA_BOOTSTRAP": "k:1", "WEIR_KAFKA_PREFIX": "mine.", "WEIR_REDIS_URL": "redis://r"}, tmp_path)

    assert (found.kafka.bootstrap, found.redis.url) == ("k:1", "redis://r")
    assert found.kafka.prefix.startswith("mine.demo-")
    assert found.redis.prefix.startswith("weir:demo-")


def test_the_settings_file_of_the_worker_means_the_same_and_is_its_owners_alone(tmp_path):
    settings = demo(
        {"WEIR_REDIS_URL": "redis://:hunter2@r", "WEIR_KAFKA_SASL_PASSWORD": 'a"\\\U0001f600', "WEIR_KAFKA_BOOTSTRAP": "k:1"}, tmp_path
    )
    path = tmp_path / "weir.toml"
    path.write_text("old")
    path.chmod(0o644)

    write_settings(settings, path)

    assert load(path, {}).settings == settings
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert set(tomllib.loads(path.read_text("utf-8"))) <= {"kafka", "redis", "model", "monitoring", "web", "archive", "embedded"}


def test_a_worker_is_ready_when_it_says_so():
    class Answer(BaseHTTPRequestHandler):
        status = 503

        def do_GET(self):
            self.send_response(self.status if self.path == "/readyz" else 404)
            self.end_headers()

        def log_message(self, *arguments):
            """Be silent."""

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        found = [is_ready(server.server_port)]
        Answer.status = 200
        found.append(is_ready(server.server_port))
        server.shutdown()
        thread.join()

    assert found == [False, True]
    assert not is_ready(free_port())


def test_the_screen_says_plain_lines_off_a_terminal():
    out = io.StringIO()
    found = audit([answer(score(0)), answer(score(1))], [dead(2)])
    with Screen(Console(file=out, width=200), found, speedup=60, model="m@1", minutes=1) as screen:
        screen.alerts(Audit(TOPICS, ()).take([alert(7)]))
        screen.update(produced=3_000, event_time_ms=1, restarts=0)
        screen.update(produced=4_000, event_time_ms=1, restarts=0)

    text = out.getvalue()
    assert "t7" in text
    assert "\x1b" not in text
    assert "produced 3,000, scored 2" in text
    assert "dead letters 1" in text
    assert "4,000" not in text  # a line every 10 s


def test_the_screen_draws_a_table_on_a_terminal():
    out = io.StringIO()
    found = audit([answer(score(0)), answer(score(1, decision="review"))])
    with Screen(Console(file=out, force_terminal=True, width=100), found, speedup=60, model="m@1", minutes=None) as screen:
        moment = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
        screen.update(produced=12_345, event_time_ms=int(moment.timestamp() * 1000), restarts=2)
        table = screen._table(12_345, int(moment.timestamp() * 1000), 2)

    cells = [cell for column in table.columns for cell in column.cells]
    assert "12,345" in cells
    assert any("2026-01-02" in str(cell) for cell in cells)
    assert "Ctrl-C" in table.title


def test_the_closing_table_shows_every_figure_also_without_alerts():
    empty = audit([answer(score(0))]).summary(produced=2, seconds_to_first_alert=None)
    full = audit([answer(score(0))], [alert(0)], frauds={"t0"}).summary(produced=1, seconds_to_first_alert=1.0)
    for summary, precision, first in ((empty, "-", "-"), (full, "100.0%", "1.0 s")):
        cells = dict(zip(*(list(column.cells) for column in summary_table(summary).columns), strict=True))
        assert cells["precision of alerts"] == precision
        assert cells["first alert after"] == first
        assert cells["missing"] == str(summary.missing)


@pytest.fixture
def worker(tmp_path):
    found = SupervisedWorker(config=tmp_path / "weir.toml", log=tmp_path / "worker.log")
    yield found
    found.stop()


def commanded(worker: SupervisedWorker, code: str) -> SupervisedWorker:
    worker._command = [sys.executable, "-c", code]
    return worker


async def until(condition, what: str) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, what
        await asyncio.sleep(0.02)


SLEEPER = "import time, sys; print('here', flush=True); time.sleep(600)"


def test_it_runs_the_worker_command_with_its_settings_file(worker, tmp_path):
    assert worker._command[1:] == ["-m", "service", "--config", str(tmp_path / "weir.toml"), "worker"]
    assert worker.pid is None


def test_a_worker_that_ends_by_itself_is_started_again(worker):
    async def run():
        commanded(worker, SLEEPER).start()
        stop = asyncio.Event()
        watching = asyncio.create_task(worker.watch(stop))
        first = worker.pid
        await until(lambda: worker.log.read_text().count("here") == 1, "not started")
        os.kill(first, signal.SIGKILL)
        await until(lambda: worker.restarts == 1 and worker.pid not in (None, first), "not started again")
        await until(lambda: worker.log.read_text().count("here") == 2, "not running again")
        stop.set()
        await watching
        return worker.pid

    assert asyncio.run(run()) is not None
    worker.stop()
    assert worker.pid is None
    assert worker.restarts == 1


def test_a_worker_that_ends_again_and_again_is_given_up(worker, monkeypatch):
    monkeypatch.setattr(supervised_worker, "_MOST_RESTARTS", 2)
    monkeypatch.setattr(supervised_worker, "_LOOK_S", 0.01)

    async def run():
        commanded(worker, "print('no settings', flush=True)").start()
        await worker.watch(asyncio.Event())

    with pytest.raises(RuntimeError, match=r"ended 2 times; .*worker\.log says why"):
        asyncio.run(run())
    assert worker.log.read_text().count("no settings") >= 2


def test_stopping_one_that_never_started_does_nothing(worker):
    worker.stop()

    assert worker.pid is None
