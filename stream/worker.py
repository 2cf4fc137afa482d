"""The worker: a Faust application that consumes transactions and labels in chunks and publishes their answers."""

import asyncio
import gc
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from functools import partial
from typing import Any, NamedTuple

import faust
import numpy as np
import structlog
from mode.supervisors import CrashingSupervisor

from monitoring.metrics import Metrics
from stream import transport_recovery
from stream.chunks import Chunk
from stream.connection import KafkaConnection
from stream.ending import End, ExitCode, end_process
from stream.event_loop import new_event_loop
from stream.gate import Gate
from stream.health import HealthServer, State
from stream.lane import Lane
from stream.outage import Outage
from stream.publisher import Publisher, new_producer
from stream.records import BeforeCommit, Degrade, OnAssigned, OnCommitted, OnPublished, Process, Recorder, TopicPartition
from stream.self_check import check_private_names
from stream.topic_admin import check_start
from stream.topic_identity import TopicIdentity
from stream.topics import LABELS, TOPICS, TRANSACTIONS
from stream.transport import ChunkConsumer, ChunkTransport, TransportSettings
from stream.transport_thread import ConsumerSettings
from stream.watchdog import Limits, Vitals, Watchdog

#: A chunk makes thousands of objects and no cycles: rounds may be rare.
_GC_THRESHOLDS = (50_000, 20, 50)

log = structlog.get_logger("weir.worker")


class WorkerSettings(NamedTuple):
    """How a worker runs."""

    connection: KafkaConnection
    group: str
    """Consumer group, without the installation's prefix."""
    chunk_size: int = 500
    """Most records per chunk."""
    bind: str = "127.0.0.1"
    port: int = 0
    """Of /healthz, /readyz and /metrics; 0 = a free one."""
    limits: Limits = Limits()
    commit_interval_s: float = 0.5


Lags = Callable[[Mapping[TopicPartition, int]], Mapping[TopicPartition, int]]
"""Records behind the log's end from given offsets, where known."""


class Insight(NamedTuple):
    """What a worker knows of itself, for the work beside the chunks."""

    lags: Lags
    partitions: Callable[[], list[int]]
    """Of transactions, assigned now."""
    problem: Callable[[], str]
    """The watchdog's finding; empty: none."""
    address: str
    """`http://host:port` of /healthz and /metrics."""


Beside = Callable[[Publisher, Insight], Coroutine[Any, Any, None]]
"""Goes on until it is cancelled."""


class Pipelines(NamedTuple):
    """What a worker does with what it consumes."""

    transactions: Process
    labels: Process
    on_assigned: OnAssigned | None = None
    before_commit: BeforeCommit | None = None
    on_committed: OnCommitted | None = None
    record: Recorder | None = None
    """Of answers to transactions, before they are published."""
    published: OnPublished | None = None
    """Told of answers to transactions, once they are handed to the producer."""
    gate: Gate | None = None
    """What is passed while a chunk is applied."""
    outage: Outage | None = None
    degrade: Degrade | None = None
    """Answers transactions while there is an outage."""
    beside: Beside | None = None
    """Work that goes on beside the chunks."""
    seek: asyncio.Event | None = None
    """Set when states may have lost their newest records: begin again where they are applied up to."""
    facts: Callable[[], Mapping[str, object]] = dict
    """Conditions of readiness, shown by /healthz; an empty value is not met, as in {"model": ""}."""
    refresh: Callable[[], None] | None = None
    """Sets the metrics that are not counted as they happen; called before they are shown."""


Build = Callable[[], AbstractAsyncContextManager[Pipelines]]
"""Makes the pipelines inside the worker's event loop, and closes what they hold when the worker has drained."""


def run(settings: WorkerSettings, build: Build, metrics: Metrics, *, end: End = end_process) -> int:
    """Consume until SIGTERM or SIGINT, then drain, commit and return 0, within 10 s; a second signal ends at once.

    A failed delivery, an error of a pipeline, a stuck process and a topic made anew end the process at once, without
    acknowledging, with the exit codes of `ExitCode`: whatever was not acknowledged comes again.

    Raises:
        ConfigError: Kafka is not reachable, topics are missing or unfit, the port is taken, or the libraries are not
            those that the transport was written for.
    """
    check_private_names()
    check_start(settings.connection, TOPICS)
    transport_recovery.repair()
    with asyncio.Runner(loop_factory=new_event_loop) as runner, tempfile.TemporaryDirectory(prefix="weir-") as directory:
        return runner.run(_Worker(settings, metrics, end, directory).run(build))


class _App(faust.App):  # type: ignore[misc]  # Faust has no types that mypy follows
    """Faust's application around the chunk transport."""

    transport_settings: TransportSettings

    def _new_transport(self) -> ChunkTransport:
        return ChunkTransport(self.conf.broker_consumer, self, settings=self.transport_settings)

    def _new_producer_transport(self) -> ChunkTransport:
        return self._new_transport()


class _Worker:
    """One run of the worker, inside its event loop."""

    def __init__(self, settings: WorkerSettings, metrics: Metrics, end: End, directory: str) -> None:
        self._settings = settings
        self._metrics = metrics
        self._end = end
        self._directory = directory
        self._topics = tuple(settings.connection.topic(topic) for topic in (TRANSACTIONS, LABELS))
        self._stop = asyncio.Event()
        self._facts: Callable[[], Mapping[str, object]] = dict
        self._refresh_more: Callable[[], None] | None = None
        self._app: Any = None
        self._watchdog: Watchdog | None = None
        self._address = ""

    async def run(self, build: Build) -> int:
        with self._listening_to_signals():
            async with build() as pipelines:
                _settle_memory()
                await self._run(pipelines)
        log.info("worker_stopped")
        return ExitCode.DONE

    async def _run(self, pipelines: Pipelines) -> None:
        self._facts, self._refresh_more = pipelines.facts, pipelines.refresh
        identity = TopicIdentity(self._settings.connection, self._topics)
        self._app = self._new_app(pipelines, identity)
        self._watchdog = self._new_watchdog()
        health = HealthServer(self._state, self._refresh, self._metrics.exposition)
        port = await health.start(bind=self._settings.bind, port=self._settings.port)
        self._address = f"http://{self._settings.bind}:{port}"
        log.info("worker_starts", health=f"{self._address}/healthz", group=self._settings.group)
        beside: list[asyncio.Task[None]] = []
        try:
            self._watchdog.start()
            if pipelines.seek is not None:
                beside.append(asyncio.create_task(self._seek(pipelines.seek)))
            if pipelines.outage is not None:
                beside.append(asyncio.create_task(pipelines.outage.watch()))
            await self._consume(beside, pipelines)
        finally:
            for task in beside:
                task.cancel()
            self._watchdog.stop()
            await health.stop()
            identity.close()

    async def _seek(self, wanted: asyncio.Event) -> None:
        while True:
            await wanted.wait()
            wanted.clear()
            consumer = self._consumer()
            if consumer is not None and consumer.is_assigned:
                log.warning("positions_are_read_again", reason="redis was connected anew")
                await consumer.seek_again()

    async def _consume(self, beside: list[asyncio.Task[None]], pipelines: Pipelines) -> None:
        await self._app.start()
        if pipelines.beside is not None:
            work = asyncio.create_task(pipelines.beside(Publisher(self._app.producer.client), self._insight()))
            work.add_done_callback(self._beside_ended)
            beside.append(work)
        gc.collect()
        gc.freeze()  # models and libraries never become garbage; looking through them again and again would cost pauses of 100 ms
        await self._app.wait(self._stop)
        if self._app.crashed:
            self._end(ExitCode.FAILED, f"the stream engine failed: {self._app.crash_reason!r}")
        log.info("worker_drains")
        await self._app.stop()

    def _new_app(self, pipelines: Pipelines, identity: TopicIdentity) -> Any:
        settings = self._settings
        connection = settings.connection
        group = connection.group(settings.group)
        app = _App(
            group,
            broker=connection.faust_url(),
            env_prefix="WEIR_FAUST_",  # names that weir refuses: Faust is not configured from the environment
            datadir=self._directory,
            agent_supervisor=CrashingSupervisor,
            broker_commit_interval=settings.commit_interval_s,
            broker_max_poll_interval=2_000_000.0,
            broker_session_timeout=10.0,
            broker_heartbeat_interval=3.0,
            producer_linger=0,
            producer_request_timeout=30.0,
            stream_wait_empty=True,
            table_standby_replicas=0,
            topic_allow_declare=False,
            topic_disable_leader=True,
            web_enabled=False,
        )
        app.transport_settings = TransportSettings(
            consumer=ConsumerSettings(connection, group),
            topics=self._topics,
            chunk_size=settings.chunk_size,
            identity=identity,
            end=self._end,
            on_assigned=pipelines.on_assigned,
            before_commit=pipelines.before_commit,
            on_committed=pipelines.on_committed,
            on_lag=lambda lags: self._metrics.set_lags({(tp.topic, tp.partition): records for tp, records in lags.items()}),
            new_producer=lambda: new_producer(connection),
        )
        for topic, process in zip(self._topics, (pipelines.transactions, pipelines.labels), strict=True):
            channel = app.topic(topic, key_type=None, value_type=None, key_serializer="raw", value_serializer="raw")
            answering = {
                "record": pipelines.record, "outage": pipelines.outage, "degrade": pipelines.degrade, "on_published": pipelines.published,
            }  # fmt: skip
            options = {"gate": pipelines.gate, "has_next": partial(self._has_next, topic)} | (answering if topic == self._topics[0] else {})
            app.agent(channel, name=topic)(self._agent(process, options))
        return app

    def _agent(self, process: Process, options: Mapping[str, Any]) -> Callable[[Any], Any]:
        async def serve(stream: Any) -> None:
            publisher = Publisher(self._app.producer.client)
            lane = Lane(process, publisher, self._app.consumer.acknowledge, end=self._end, on_delivered=self._delivered, **options)
            await lane.serve(_chunks(stream))

        return serve

    def _has_next(self, topic: str) -> bool:
        return bool(self._app.consumer.flows[topic].has_new)

    def _delivered(self, chunk: Chunk, publish_s: float) -> None:
        if chunk.topic != self._topics[0]:
            return
        now_ms = time.time() * 1000
        appended_ms = np.fromiter((record.timestamp for record in chunk.records), dtype=np.float64, count=len(chunk.records))
        self._metrics.latency.observe(np.maximum(now_ms - appended_ms, 0.0) / 1000)
        self._metrics.stages["publish"].observe(publish_s)
        self._metrics.chunk_records.observe(len(chunk.records))

    def _new_watchdog(self) -> Watchdog:
        loop = asyncio.get_running_loop()

        def beat(turn: Callable[[], None]) -> None:
            with suppress(RuntimeError):  # the loop is closed: the process is leaving
                loop.call_soon_threadsafe(turn)

        return Watchdog(self._vitals, beat, end=self._end, limits=self._settings.limits)

    def _consumer(self) -> ChunkConsumer | None:
        consumer: ChunkConsumer | None = self._app._consumer  # noqa: SLF001 - `consumer` would make one
        return consumer

    def _vitals(self) -> Vitals:
        consumer = self._consumer()
        if consumer is None:
            return Vitals(is_flowing=False)
        health = consumer.health()
        return Vitals(
            is_flowing=self._app.flow_control.is_active(),
            has_coordinator_error=health.has_pending_error,
            is_coordinator_gone=health.has_ended,
            refused_s=consumer.refused_s,
            stuck_since_s=min((since_s for flow in consumer.flows.values() if (since_s := flow.stuck_since_s) is not None), default=None),
        )

    def _insight(self) -> Insight:
        return Insight(self._lags, self._partitions, lambda: self._state().problem or "", self._address)

    def _partitions(self) -> list[int]:
        consumer = self._consumer()
        assigned = consumer.assignment() if consumer is not None and consumer.is_assigned else ()
        return sorted(tp.partition for tp in assigned if tp.topic == self._topics[0])

    def _lags(self, offsets: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, int]:
        consumer = self._consumer()
        return consumer.lags(offsets) if consumer is not None and consumer.is_assigned else {}

    def _beside_ended(self, work: asyncio.Task[None]) -> None:
        if not work.cancelled() and (error := work.exception()) is not None:
            self._end(ExitCode.FAILED, f"the work beside the stream failed: {error!r}")

    def _state(self) -> State:
        consumer = self._consumer()
        problem = self._watchdog.problem if self._watchdog is not None else None
        return State(problem, is_assigned=consumer is not None and consumer.is_assigned, facts=self._facts())

    def _refresh(self) -> None:
        state, consumer, now_s = self._state(), self._consumer(), time.monotonic()
        self._metrics.set_health(is_alive=state.is_alive, is_ready=state.is_ready)
        for flow in consumer.flows.values() if consumer is not None else ():
            oldest_s = flow.oldest_s
            age_s = 0.0 if oldest_s is None else now_s - oldest_s
            self._metrics.set_chunks(flow.topic, n_uncommitted=flow.n_uncommitted, oldest_age_s=age_s)
        if self._refresh_more is not None:
            self._refresh_more()

    @contextmanager
    def _listening_to_signals(self) -> Iterator[None]:
        """Drain on the first signal, leave on the second; real handlers, so that they run when the loop is stuck, too."""
        loop = asyncio.get_running_loop()
        n_signals = 0

        def stop(*_: object) -> None:
            nonlocal n_signals
            n_signals += 1
            if n_signals > 1:
                self._end(ExitCode.TERMINATED, "a second signal came before everything was drained")
            if self._watchdog is not None:
                self._watchdog.stopping()
            loop.call_soon_threadsafe(self._stop.set)

        before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _settle_memory() -> None:
    """Leave what is loaded now out of the collector's rounds: the libraries' half million objects would stop the stream for long."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)


async def _chunks(stream: Any) -> AsyncIterator[Chunk]:
    async for event in stream.noack().events():
        yield event.value
