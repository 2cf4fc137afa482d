"""`python -m benchmarks.dashboard REGISTRY`: what `weir web` costs with 10 workers and 10 alerts a second, and with 1,000 features.

Kafka and Redis are real and embedded; the workers are played by this process through the storage that workers use.
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import click
import httpx
import msgspec
import numpy as np
from aiokafka import AIOKafkaProducer
from redis.asyncio import Redis

from domain.decision import Alert, Tier
from features.redis_wire import SingleWire
from monitoring.drift_windows import WINDOWS_H
from monitoring.fleet import WorkerState
from monitoring.packed import HOUR_MS, MINUTE_MS, Counts, pack
from monitoring.profile import N_BINS, SCORE, Profile
from service import embedded
from service.demo import free_port, settings_toml
from service.redis_fleet import FleetStorage
from service.settings import Settings, load
from service.supervised_worker import SupervisedWorker
from service.times import now_ms
from service.web.drift import DriftView
from service.web.evaluation import ModelDrift
from service.web.hours import HourLog
from service.web.shelf import Shelf
from service.wiring import kafka_connection, registry_of, signing_key_of
from stream.topic_admin import create

N_WORKERS: Final = 10
ALERTS_PER_S: Final = 10
N_FEATURES: Final = 1_000
_WARM_S: Final = 15.0
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_ALERT: Final = Alert(
    transaction_id="t", card_id="c1", event_time_ms=5, scored_at_ms=6, probability=0.5, decision="review", tier=Tier.FULL, flags=(),
    model="weir@1", variant="champion", policy="p", spec="s", source=(0, 0), amount_minor=1999, currency="EUR", merchant_id="m1",
    reasons=(),
)  # fmt: skip


@click.command()
@click.argument("registry", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--seconds", type=click.FloatRange(5), default=30.0, show_default=True, help="Length of each measurement.")
def main(registry: Path, seconds: float) -> None:
    """Print the figures as JSON; REGISTRY holds a champion, such as that of a demo."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = load(environ={
            "WEIR_EMBEDDED_DIRECTORY": name, "WEIR_MODEL_REGISTRY": str(registry.resolve()), "WEIR_WEB_PORT": str(free_port()),
            "WEIR_MONITORING_DIRECTORY": str(folder / "monitoring"), "WEIR_ARCHIVE_DIRECTORY": str(folder / "archive"),
        }).settings  # fmt: skip
        found = {"features": _many_features(settings, folder)}
        with embedded.services(settings.embedded, kafka=True, redis=True, report=lambda _: None) as running:
            replace = msgspec.structs.replace
            settings = replace(
                settings, kafka=replace(settings.kafka, bootstrap=running.bootstrap), redis=replace(settings.redis, url=running.redis_url)
            )
            create(kafka_connection(settings))
            found["process"] = asyncio.run(_process(settings, folder, seconds))
    print(json.dumps(found, indent=2))


async def _process(settings: Settings, folder: Path, seconds: float) -> dict[str, Any]:
    config = folder / "weir.toml"
    config.write_text(settings_toml(settings), "utf-8")
    web = SupervisedWorker(config=config, log=folder / "web.log", command=("web",))
    await asyncio.to_thread(web.start)
    url = f"http://127.0.0.1:{settings.web.port}"
    try:
        async with _fleet(settings), httpx.AsyncClient(base_url=url, timeout=60.0) as client:
            found: dict[str, Any] = {}
            await _until_ready(client)
            await asyncio.sleep(_WARM_S)
            for n_browsers in (0, 1, 100):
                async with _browsers(url, n_browsers):
                    await asyncio.sleep(2.0)
                    before = _cpu_s(web.pid)
                    await asyncio.sleep(seconds)
                    found[f"core_share_{n_browsers}_browsers"] = round((_cpu_s(web.pid) - before) / seconds, 4)
            for view in ("status", "live", "drift", "drift/card_count_24h", "quality", "models"):
                began_s = time.perf_counter()
                answer = await client.get(f"/api/v1/{view}")
                found[f"{view}_ms"], found[f"{view}_bytes"] = round(1000 * (time.perf_counter() - began_s), 1), len(answer.content)
            return found
    finally:
        await asyncio.to_thread(web.stop)


@asynccontextmanager
async def _fleet(settings: Settings) -> AsyncIterator[None]:
    """Ten workers that speak and count once a second, and ten alerts a second."""
    shelf = Shelf(registry_of(settings), signing_key_of(settings))
    model = await asyncio.to_thread(shelf.get, "champion")
    wire = SingleWire(Redis.from_url(settings.redis.url))
    storage, connection = FleetStorage(wire, settings.redis.prefix), kafka_connection(settings)
    began_ms = now_ms()
    content = pack(_counts(model.profile, 1))

    async def speak() -> None:
        async with AIOKafkaProducer(**connection.aiokafka()) as producer:
            for second in range(1 << 30):
                now = now_ms()
                for worker in range(N_WORKERS):
                    name = f"{worker:08x}"
                    await storage.put_minutes(name, model.reference, {now // MINUTE_MS: content}, now_ms=now)
                    await storage.put_hours(name, model.reference, {now // HOUR_MS: content}, now_ms=now)
                    await storage.put_state(_state(name, model.reference, now, began_ms, second))
                for number in range(ALERTS_PER_S):
                    alert = msgspec.structs.replace(_ALERT, transaction_id=f"t{second}-{number}")
                    await producer.send_and_wait(connection.topic("alerts.v1"), msgspec.json.encode(alert))
                await asyncio.sleep(max(0.0, 1.0 - (now_ms() - now) / 1000))

    task = asyncio.create_task(speak())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await wire.close()


def _state(worker: str, model: str, now: int, began_ms: int, second: int) -> WorkerState:
    return WorkerState(
        worker=worker, at_ms=now, started_ms=began_ms, model=model, spec="s", policy="p", partitions=[0], lag=0, event_ms=now,
        transactions=1_000 * second, labels=second, decisions={"approve:full": 990 * second, "review:full": 10 * second},
        flags={"late": second}, dead_letters=0, latency_edges_s=[0.001, 0.01, 0.1, 1.0],
        latency_counts=[0, 900 * second, 100 * second, 0, 0],
        redis="ok", problem="", metrics="",
    )  # fmt: skip


@asynccontextmanager
async def _browsers(url: str, n: int) -> AsyncIterator[None]:
    async def look(client: httpx.AsyncClient) -> None:
        async with client.stream("GET", "/api/v1/events", timeout=None) as answer:
            async for _ in answer.aiter_raw():
                pass

    async with httpx.AsyncClient(base_url=url, limits=httpx.Limits(max_connections=None)) as client:
        tasks = [asyncio.create_task(look(client)) for _ in range(n)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _until_ready(client: httpx.AsyncClient) -> None:
    for _ in range(600):
        with suppress(httpx.HTTPError):
            if (await client.get("/healthz")).is_success:
                return
        await asyncio.sleep(0.1)
    sys.exit("the dashboard is not ready after a minute")


def _many_features(settings: Settings, folder: Path) -> dict[str, Any]:
    """Return what 1,000 features cost: an hour of ten workers taken in, an evaluation, a view of each window."""
    champion = Shelf(registry_of(settings), signing_key_of(settings)).get("champion")
    rng = np.random.default_rng(0)
    names = [f"feature_{i}" for i in range(N_FEATURES)]
    profile = Profile.of(names, rng.normal(size=(5_000, N_FEATURES)).astype(np.float32), rng.random(5_000))
    shelved = champion._replace(profile=profile, importance=dict.fromkeys(names, 1 / N_FEATURES))
    log = HourLog(folder / "many" / "hours.sqlite")
    drift = ModelDrift(shelved, log)
    packed = [pack(_counts(profile, seed)) for seed in range(24)]
    first = 497_000
    for hour in range(24 * 7):
        drift.put("00000000", {first + hour: packed[hour % 24]})
    last = first + 24 * 7
    found: dict[str, Any] = {"n_features": N_FEATURES}

    began_s = time.perf_counter()
    for worker in range(N_WORKERS):
        drift.put(f"{worker:08x}", {last: packed[worker]})
    found["hour_of_10_workers_ms"] = round(1000 * (time.perf_counter() - began_s), 1)
    began_s = time.perf_counter()
    drift.advance(last + 1)
    found["evaluation_ms"] = round(1000 * (time.perf_counter() - began_s), 1)
    view = DriftView(drift, "EUR")
    for window in WINDOWS_H:
        for which in ("first", "again"):
            began_s = time.perf_counter()
            body = msgspec.json.encode(view.answer(window, now_ms=0, notices=[], models=[]))
            found[f"view_{window}_{which}_ms"] = round(1000 * (time.perf_counter() - began_s), 1)
        found[f"view_{window}_bytes"] = len(body)
    began_s = time.perf_counter()
    view.feature("feature_7", "24h", now_ms=0)
    found["feature_ms"] = round(1000 * (time.perf_counter() - began_s), 1)
    log.close()
    return found


def _counts(profile: Profile, seed: int, n: int = 10_000) -> Counts:
    rng = np.random.default_rng(seed)
    bins = np.zeros((len(profile.names), N_BINS + 1), np.int64)
    bins[:, :N_BINS] = rng.multinomial(n, np.full(N_BINS, 1 / N_BINS), size=len(profile.names))
    assert profile.names[-1] == SCORE
    return Counts(n, n // 200, bins)


def _cpu_s(pid: int | None) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


if __name__ == "__main__":
    main()
