"""The demo: services, history, model, worker and traffic on this machine, under one supervisor."""

import asyncio
import json
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.error import URLError
from urllib.request import urlopen

import msgspec
from aiokafka import AIOKafkaProducer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

from domain.errors import WeirError
from service import embedded
from service.audit import Audit, Summary, Topics
from service.demo_baseline import set_baseline
from service.demo_beside import Beside
from service.demo_screen import Screen
from service.demo_world import World, make_world, train_champion
from service.history_records import HistoryRecords
from service.producing import HistoryProducer, Pace, Sent
from service.settings import Loaded, Settings, WebSettings, with_addresses
from service.supervised_worker import SupervisedWorker
from service.tailing import Tail
from service.times import now_ms
from service.wiring import kafka_connection, keys_of, rates_of, redis_client
from stream.topics import ALERTS, SCORES, TRANSACTIONS, TRANSACTIONS_DEAD

if TYPE_CHECKING:
    from stream.connection import KafkaConnection

_DRAIN_S: Final = 40.0
_TICK_S: Final = 0.25
_READY_S: Final = 90.0
#: What a broken client sends now and then: no JSON, a missing field, a card number (of the public test range).
_BROKEN: Final = (
    b"{not json",
    b'{"transaction_id":"broken-1","card_id":"c1","currency":"EUR","merchant_id":"m1","event_time_ms":1700000000000}',
    b'{"transaction_id":"broken-2","card_id":"4111111111111111","amount_minor":1,"currency":"EUR","merchant_id":"m1","event_time_ms":1}',
)
_BROKEN_EVERY_S: Final = 20.0


class DemoOptions(NamedTuple):
    """How the demo runs."""

    minutes: float | None
    """None: until Ctrl-C, or the simulated days are over."""
    speedup: float
    """Event time per real time."""
    port: int | None = None
    """Of the dashboard; None: that of the settings if it is free."""
    opens_browser: bool = True
    """Whether the dashboard is shown in a browser, where there is one."""


class Demo:
    """One run; `prepare` everything, then `play`."""

    def __init__(self, loaded: Loaded, options: DemoOptions, console: Console) -> None:
        self._options = options
        self._console = console
        self._began_s = time.monotonic()
        self.directory = Path(loaded.settings.embedded.directory) / "demo"
        self._loaded = self._isolated(loaded)
        self._first_alert_s: float | None = None
        self._n_broken = 0
        self._sent = Sent()

    @contextmanager
    def services(self) -> Iterator[None]:
        """Run Kafka and Redis for the length of the block, with nothing of an earlier demo in them."""
        settings = self._loaded.settings
        kafka, redis = embedded.is_embedded(self._loaded, "kafka"), embedded.is_embedded(self._loaded, "redis")
        self.directory.mkdir(parents=True, exist_ok=True)
        if (kafka or redis) and embedded.running(self.directory) is None:
            embedded.purge(settings.embedded)
        with embedded.services(settings.embedded, kafka=kafka, redis=redis, report=self._say) as running:
            self._loaded = with_addresses(self._loaded, bootstrap=running.bootstrap, redis_url=running.redis_url)
            for kept in (settings.monitoring.directory, settings.archive.directory):  # their hours are those that are played again
                shutil.rmtree(kept, ignore_errors=True)
            yield

    def prepare(self) -> tuple[World, str, Path]:
        """Return world, model and the settings file for the worker (and for other terminals); topics and state are made."""
        from stream.topic_admin import create

        settings = self._loaded.settings
        config = self.directory / "weir.toml"
        write_settings(settings, config)
        create(kafka_connection(settings))
        with _steps(self._console) as step:
            world = make_world(
                self.directory, now_ms=now_ms(), progress=lambda share: step("simulating cards, merchants and frauds", share)
            )
            model = train_champion(world, settings, step)
            limits = partial(step, "measuring the noise limits of drift")
            set_baseline(world.path, settings, model, self.directory, limits)
            asyncio.run(warm_state(world, settings, lambda share: step("building the feature state", share)))
        return world, model, config

    async def play(self, world: World, model: str, config: Path, stop: asyncio.Event) -> Summary:
        """Stream the world through a worker until the time is over or `stop` is set; return what it came to."""
        settings, connection = self._loaded.settings, kafka_connection(self._loaded.settings)
        topics = Topics(*(connection.topic(t) for t in (TRANSACTIONS, SCORES, ALERTS, TRANSACTIONS_DEAD)))
        audit = Audit(topics, world.frauds())
        worker = SupervisedWorker(config=config, log=self.directory / "worker.log")
        beside = Beside(settings, self.directory, config, self._say)
        screen = Screen(self._console, audit, speedup=self._options.speedup, model=model, minutes=self._options.minutes)
        ended = asyncio.Event()
        await asyncio.to_thread(worker.start)
        try:
            self._say(f"in another terminal: .venv/bin/weir --config {config} tail alerts")
            self._say("waiting for the worker")
            await _until_ready(settings.monitoring.port, worker, stop)
            async with Tail(connection, topics, from_beginning=True, until_end=False) as tail, asyncio.TaskGroup() as tasks:
                with screen:
                    reader = tasks.create_task(self._read(tail, audit, screen, ended))
                    watcher = tasks.create_task(worker.watch(ended))
                    shown = tasks.create_task(beside.run(ended, opens_browser=self._options.opens_browser and self._console.is_terminal))
                    await self._send(world, connection, settings, screen, worker, stop)
                    await self._drain(audit, screen, worker)
                    n_alarms = await beside.n_alarms()
                    ended.set()
                    await asyncio.gather(reader, watcher, shown)
        finally:
            ended.set()
            await asyncio.to_thread(beside.stop)
            await asyncio.to_thread(worker.stop)
        return audit.summary(produced=self._produced, seconds_to_first_alert=self._first_alert_s, drift_alarms=n_alarms)

    @property
    def _produced(self) -> int:
        return self._sent.n_transactions + self._n_broken

    async def _send(
        self, world: World, connection: "KafkaConnection", settings: Settings, screen: Screen, worker: SupervisedWorker,
        stop: asyncio.Event,
    ) -> None:  # fmt: skip
        """Stream until the time is over, `stop` is set or the world ends."""

        def note(sent: Sent) -> None:
            self._sent = sent

        halt = asyncio.Event()
        producer = HistoryProducer(connection, group=settings.kafka.group, on_progress=note)
        records = HistoryRecords(world.history, from_ms=world.start_ms)
        sending = asyncio.create_task(producer.run(records, Pace(speedup=self._options.speedup), halt))
        deadline_s = time.monotonic() + 60 * self._options.minutes if self._options.minutes else float("inf")
        next_broken_s = time.monotonic() + 2.0
        async with AIOKafkaProducer(**connection.aiokafka()) as broken_client:
            while not sending.done() and not stop.is_set() and time.monotonic() < deadline_s:
                if time.monotonic() >= next_broken_s:
                    await broken_client.send_and_wait(connection.topic(TRANSACTIONS), _BROKEN[self._n_broken % len(_BROKEN)])
                    self._n_broken += 1
                    next_broken_s += _BROKEN_EVERY_S
                screen.update(produced=self._produced, event_time_ms=self._sent.event_time_ms, restarts=worker.restarts)
                with suppress(TimeoutError):
                    await asyncio.wait_for(asyncio.shield(sending), _TICK_S)
        halt.set()
        self._sent = await sending

    async def _drain(self, audit: Audit, screen: Screen, worker: SupervisedWorker) -> None:
        """Wait until everything sent is answered, at most 40 s."""
        deadline_s = time.monotonic() + _DRAIN_S
        while audit.scored + audit.dead_lettered < self._produced and time.monotonic() < deadline_s:
            screen.update(produced=self._produced, event_time_ms=self._sent.event_time_ms, restarts=worker.restarts)
            await asyncio.sleep(_TICK_S)
        await asyncio.sleep(2 * _TICK_S)  # an answer given twice comes right behind the first

    async def _read(self, tail: Tail, audit: Audit, screen: Screen, ended: asyncio.Event) -> None:
        async for records in tail.batches(ended):
            alerts = audit.take(records)
            if alerts and self._first_alert_s is None:
                self._first_alert_s = time.monotonic() - self._began_s
            screen.alerts(alerts)

    def _isolated(self, loaded: Loaded) -> Loaded:
        """Return the settings of the demo: folders, and on foreign services names, of its own."""
        settings, mark = loaded.settings, f"demo-{now_ms()}."
        changes: dict[str, msgspec.Struct] = {
            "embedded": msgspec.structs.replace(settings.embedded, directory=str(self.directory)),
            "monitoring": msgspec.structs.replace(
                settings.monitoring, bind="127.0.0.1", port=free_port(), directory=str(self.directory / "monitoring")
            ),
            "archive": msgspec.structs.replace(settings.archive, directory=str(self.directory / "archive")),
            "web": msgspec.structs.replace(settings.web, port=self._web_port(settings.web)),
            "model": msgspec.structs.replace(settings.model, registry=str(self.directory / "registry")),
        }
        if embedded.is_embedded(loaded, "kafka"):
            changes["kafka"] = msgspec.structs.replace(settings.kafka, bootstrap="")
        else:
            changes["kafka"] = msgspec.structs.replace(settings.kafka, prefix=settings.kafka.prefix + mark)
        if embedded.is_embedded(loaded, "redis"):
            changes["redis"] = msgspec.structs.replace(settings.redis, url="")
        else:
            changes["redis"] = msgspec.structs.replace(settings.redis, prefix=settings.redis.prefix + mark)
        return Loaded(msgspec.structs.replace(settings, **changes), {})

    def _web_port(self, web: WebSettings) -> int:
        """Return a free port for the dashboard, the wanted one if possible."""
        wanted = self._options.port if self._options.port is not None else web.port
        return wanted if self._options.port or is_free(web.bind, wanted) else free_port()

    def _say(self, line: str) -> None:
        self._console.print(line, style="dim", highlight=False, markup=False, soft_wrap=True)


def free_port() -> int:
    """Return a port of this machine that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def is_free(bind: str, port: int) -> bool:
    """Return whether nobody listens on a port of this machine; 0 is nobody's."""
    if not port:
        return False
    try:
        socket.create_server((bind, port)).close()
    except OSError:
        return False
    return True


async def warm_state(world: World, settings: Settings, progress: Callable[[float], None]) -> None:
    """Build the feature state as of the first streamed moment."""
    from features.redis_rebuild import rebuild

    client = redis_client(settings)
    try:
        await rebuild(
            client, keys_of(settings), world.history, settings.features.definition(), rates_of(settings),
            end_ms=world.start_ms, index_days=settings.features.index_days, replace=True, progress=progress,
        )  # fmt: skip
    finally:
        await client.aclose()


async def _until_ready(port: int, worker: SupervisedWorker, stop: asyncio.Event) -> None:
    """Wait until the worker has its partitions and its model.

    Raises:
        WeirError: It has not within 90 s, or ended.
    """
    deadline_s = time.monotonic() + _READY_S
    while not stop.is_set() and not await asyncio.to_thread(is_ready, port):
        if worker.pid is None:
            raise WeirError(f"the worker did not start; {worker.log} says why")
        if time.monotonic() > deadline_s:
            raise WeirError(f"the worker is not ready after {_READY_S:.0f} s; {worker.log} says why")
        await asyncio.sleep(_TICK_S)


def is_ready(port: int) -> bool:
    """Tell whether a worker of this machine has its partitions and its model."""
    try:
        with urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2.0) as answer:
            return bool(answer.status == HTTPStatus.OK)
    except (URLError, OSError):
        return False


@contextmanager
def _steps(console: Console) -> Iterator[Callable[[str, float], None]]:
    """Yield a function that shows a step and the share of it that is done: a bar on a terminal, a line elsewhere."""
    if not console.is_terminal:
        said: set[str] = set()

        def say(text: str, _share: float) -> None:
            if text not in said:
                said.add(text)
                console.print(text, highlight=False, markup=False)

        yield say
        return
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), console=console, transient=True
    ) as bar:
        tasks: dict[str, TaskID] = {}

        def show(text: str, share: float) -> None:
            if text not in tasks:
                tasks[text] = bar.add_task(text, total=1.0)
            bar.update(tasks[text], completed=share)

        yield show


def write_settings(settings: Settings, path: Path) -> None:
    """Write the settings file; only its owner may read it, since passwords stand in it."""
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(settings_toml(settings), "utf-8")


def settings_toml(settings: Settings) -> str:
    """Return what differs from the defaults, as a settings file."""
    lines = []
    for section in msgspec.structs.fields(Settings):
        chosen, default = getattr(settings, section.name), section.default
        changed = [f.name for f in msgspec.structs.fields(chosen) if getattr(chosen, f.name) != getattr(default, f.name)]
        if changed:
            lines += [f"[{section.name}]", *(f"{name} = {_toml(getattr(chosen, name))}" for name in changed)]
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    """Return a value as TOML writes it: as JSON does, but for characters beyond 16 bits and DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
