"""What a benchmark plays on: real services, a trained model and a worker, on this machine and gone afterwards."""

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
import polars as pl
from rich.console import Console

from service import embedded
from service.demo import free_port, is_ready, settings_toml, warm_state
from service.demo_world import World, make_world, train_champion
from service.settings import Settings
from service.supervised_worker import SupervisedWorker
from service.times import now_ms
from service.wiring import kafka_connection
from stream.connection import KafkaConnection
from stream.topic_admin import create

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_READY_S = 120.0


class CpuTimes(NamedTuple):
    """Processor seconds used so far."""

    worker: float
    redis: float
    broker: float


class Stage(NamedTuple):
    """A running installation."""

    settings: Settings
    connection: KafkaConnection
    running: embedded.Running
    world: World
    directory: Path

    def cpu(self, worker: SupervisedWorker) -> CpuTimes:
        """Return the processor time of the three processes."""
        return CpuTimes(*(_cpu_s(pid) for pid in (worker.pid, self.running.redis_pid, self.running.kafka_pid)))

    def feature_records(self) -> pl.DataFrame:
        """Return the transactions to stream."""
        return self.world.streamed


@contextmanager
def stage(directory: Path, console: Console) -> Iterator[Stage]:
    """Run Kafka and Redis in `directory`; world and model are kept there for the next run."""
    directory.mkdir(parents=True, exist_ok=True)
    default = Settings()
    settings = msgspec.structs.replace(
        default,
        embedded=msgspec.structs.replace(default.embedded, directory=str(directory), retention_bytes=8 << 30),
        model=msgspec.structs.replace(default.model, registry=str(directory / "registry")),
        monitoring=msgspec.structs.replace(default.monitoring, port=free_port()),
    )
    say = lambda line: console.print(line, style="dim")  # noqa: E731 - one line
    embedded.purge(settings.embedded)
    with embedded.services(settings.embedded, report=say) as running:
        settings = msgspec.structs.replace(
            settings,
            kafka=msgspec.structs.replace(settings.kafka, bootstrap=running.bootstrap or ""),
            redis=msgspec.structs.replace(settings.redis, url=running.redis_url or ""),
        )
        create(kafka_connection(settings))
        world = make_world(directory, now_ms=now_ms(), progress=lambda _: None)
        train_champion(world, settings, lambda _text, _share: None)
        asyncio.run(warm_state(world, settings, lambda _: None))
        (directory / "weir.toml").write_text(settings_toml(settings), "utf-8")
        yield Stage(settings, kafka_connection(settings), running, world, directory)


@contextmanager
def worker_of(place: Stage) -> Iterator[SupervisedWorker]:
    """Run a worker, ready when the block begins."""
    worker = SupervisedWorker(config=place.directory / "weir.toml", log=place.directory / "worker.log")
    worker.start()
    try:
        deadline_s = time.monotonic() + _READY_S
        while not is_ready(place.settings.monitoring.port):
            if worker.pid is None or time.monotonic() > deadline_s:
                raise RuntimeError(f"the worker did not start; {worker.log} says why")
            time.sleep(0.1)
        yield worker
    finally:
        worker.stop()


def memory_mb(pid: int | None) -> float:
    """Return the resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
        if line.startswith("VmHWM"):
            return round(int(line.split()[1]) / 1024, 1)
    return 0.0


def _cpu_s(pid: int | None) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
