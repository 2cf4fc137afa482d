"""A Faust transport whose events carry chunks: the records of a fetch, of several partitions, in one event.

Three ideas make the difference between 100 us and 2 us a record, and between 130 ms and 6 ms at the 99th percentile:
1. one event per chunk instead of one per record;
2. fetch on demand, per topic: only when nothing of that topic is unacknowledged, or a backlog runs low. With Faust's own back-pressure
   single partitions drop out of the fetch, and aiokafka then pauses the whole node for 100 ms;
3. topics do not hold each other back. The urgent topic is never paused in aiokafka: its fetch is always under way. The
   others are paused as long as they have no room, because records of theirs that nobody takes would pause the node, too.

What can be lost, and why it is not: see `stream.chunks` (order, acknowledgement, commit) and `ChunkThread.reposition` (seek).
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, NamedTuple

import structlog
from faust.tables.recovery import RebalanceAgain, ServiceStopped
from faust.transport.drivers import aiokafka as driver
from faust.types import ConsumerMessage
from mode import Service

from domain.errors import StaleTopic, Unavailable
from stream.backoff import retrying
from stream.chunks import Chunk, Flow
from stream.ending import End, ExitCode
from stream.event_loop import new_event_loop
from stream.records import BeforeCommit, Committed, OnAssigned, OnCommitted, Record, TopicPartition
from stream.topic_identity import TopicIdentity
from stream.transport_thread import ChunkThread, ConsumerSettings, Health

#: Longest wait of one call for records; an assignment that changes is noticed after it at the latest.
_FETCH_TIMEOUT_S: Final = 1.0
_IDENTITY_INTERVAL_S: Final = 2.0

log = structlog.get_logger("weir.transport")


class TransportSettings(NamedTuple):
    """What the chunk transport needs to know."""

    consumer: ConsumerSettings
    topics: tuple[str, ...]
    """Full names; the first is the urgent one, never paused."""
    chunk_size: int
    identity: TopicIdentity
    end: End
    on_assigned: OnAssigned | None = None
    before_commit: BeforeCommit | None = None
    on_committed: OnCommitted | None = None
    on_lag: Callable[[Mapping[TopicPartition, int]], None] | None = None
    """Given records behind the log's end per assigned partition after each commit."""
    new_producer: Callable[[], Any] | None = None
    """Makes the aiokafka producer of this worker, not started."""


class ChunkConsumer(driver.Consumer):  # type: ignore[misc]  # Faust has no types that mypy follows
    """Faust's consumer with chunks instead of messages."""

    _thread: ChunkThread

    def __init__(self, transport: Any, *args: Any, **kwargs: Any) -> None:
        self.settings: TransportSettings = transport.settings
        self.flows = {topic: Flow(topic, chunk_size=self.settings.chunk_size) for topic in self.settings.topics}
        self._uuids: dict[str, str] = {}
        self._epoch = 0
        self._is_announced = asyncio.Event()
        self._seeking = asyncio.Lock()
        self._bases: dict[TopicPartition, int] = {}
        self._told: Mapping[TopicPartition, int] = {}
        self._n_voids = 0
        self.refused_s = 0.0
        """Monotonic time at which an assignment was last refused because the other side is away; 0: never."""
        super().__init__(transport, *args, **kwargs)

    def _new_consumer_thread(self) -> ChunkThread:
        return ChunkThread(self, loop=self.loop, thread_loop=new_event_loop(), beacon=self.beacon, settings=self.settings.consumer)

    def acknowledge(self, chunk: Chunk) -> None:
        """Mark `chunk` as answered: the broker has confirmed every message that answers its records."""
        self.flows[chunk.topic].acknowledge(chunk)

    @property
    def is_assigned(self) -> bool:
        """Whether records flow: partitions are assigned and announced, and no rebalance is under way."""
        return self._is_announced.is_set() and bool(self.flow_active)

    def lags(self, offsets: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Return the records between `offsets` and the log's end, as far as the last fetch knows it."""
        return self._thread.lags(offsets)

    def health(self) -> Health:
        """Return the coordinator's state; callable from any thread."""
        return self._thread.health()

    # -- fetching and delivering --

    async def _drain_messages(self, fetcher: Any) -> None:
        feeds = [asyncio.ensure_future(self._feed(flow, fetcher)) for flow in self.flows.values()]
        try:
            await asyncio.gather(*feeds)
        except self.consumer_stopped_errors:
            if not self.transport.app.should_stop:
                raise
        except asyncio.CancelledError:
            if not self.transport.app.should_stop:
                raise
        except StaleTopic as error:
            self.settings.end(ExitCode.STALE_TOPIC, str(error))
        except Exception as error:
            log.exception("fetching_failed")
            self.settings.end(ExitCode.FAILED, f"fetching failed: {error!r}")
            raise
        finally:
            for feed in feeds:
                feed.cancel()

    async def _feed(self, flow: Flow, fetcher: Any) -> None:
        """Fetch and deliver one topic; the other topics have feeds of their own."""
        while not (self.should_stop or fetcher.should_stop):
            await self._is_announced.wait()
            if not self.flow_active:
                await self.can_resume_flow.wait()
            elif chunk := flow.next(time.monotonic()):
                await self._deliver(chunk)
            elif flow.wants_records:
                await self._fetch(flow)
            else:
                await flow.change(timeout_s=0.2)

    async def _fetch(self, flow: Flow) -> None:
        partitions = [tp for tp in self._get_active_partitions() if tp.topic == flow.topic]
        if not partitions:
            await asyncio.sleep(0.1)
            return
        is_urgent = flow.topic == self.settings.topics[0]
        # While there is work only what has come already is taken: the next chunk must not wait for this.
        timeout_s = _FETCH_TIMEOUT_S if flow.is_idle else 0.0
        fetched = await self._thread.fetch(partitions, is_urgent=is_urgent, timeout_s=timeout_s)
        # A fetch that ends just after a seek is ahead of us; dropping its records would lose them.
        while fetched.epoch > self._epoch:
            await flow.change(timeout_s=0.2)
        # A seek since the drain makes these records come again; only then may they be dropped.
        if not fetched.records or fetched.epoch < self._epoch:
            flow.caught_up()
            return
        if flow.goes_back(fetched.records):
            with suppress(Unavailable):  # then the watch below asks again
                await self.settings.identity.confirm(self._uuids)
        flow.put(fetched.records)

    async def _deliver(self, chunk: Chunk) -> None:
        tp, end = next(iter(chunk.ends.items()))
        await self.callback(_message(chunk, tp, end - 1, chunk.records[-1], self.app.consumer_generation_id))

    # -- committing --

    async def _commit_tps(self, tps: Any, start_new_transaction: bool) -> bool:  # noqa: ARG002, FBT001 - Faust's signature
        if not self._committable() or not await self._is_confirmed():
            await self._tell_answered()
            return False
        offsets, n_voids = self._committable(), self._n_voids  # as of now: asking Kafka took its time
        if not offsets or not await self._may_commit(offsets):
            await self._tell_answered()
            return False
        answered = self._answered()
        if not await self._thread.commit(offsets, self._uuids, answered):
            return False
        if n_voids != self._n_voids:  # meanwhile everything began again, perhaps before these offsets
            return True
        self._bases.update(offsets)
        self._told = answered
        for flow in self.flows.values():
            flow.committed({tp: end for tp, end in offsets.items() if tp.topic == flow.topic})
        if self.settings.on_committed is not None:
            self.settings.on_committed(offsets)
        if self.settings.on_lag is not None:
            self.settings.on_lag(self._thread.lags(offsets))
        return True

    def _committable(self) -> dict[TopicPartition, int]:
        assigned = self.assignment()
        return {tp: end for flow in self.flows.values() for tp, end in flow.committable().items() if tp in assigned}

    def _answered(self) -> dict[TopicPartition, int]:
        """Return how far records are answered without being applied, as of now: asking Redis before took its time."""
        assigned = self.assignment()
        return {tp: end for flow in self.flows.values() for tp, end in flow.answered().items() if tp in assigned}

    async def _tell_answered(self) -> None:
        """Commit the offsets that are committed again, with how far records behind them are answered in an outage.

        So whoever gets these partitions next knows that their answers are second ones.
        """
        answered = self._answered()
        offsets = {tp: self._bases.get(tp, 0) for tp in answered}
        if answered and answered != self._told and await self._thread.commit(offsets, self._uuids, answered):
            self._told = answered

    async def _is_confirmed(self) -> bool:
        """Tell whether the topics are still those that were consumed."""
        try:
            await self.settings.identity.confirm(self._uuids)
        except StaleTopic as error:
            self.settings.end(ExitCode.STALE_TOPIC, str(error))
            return False
        except Unavailable as error:
            log.warning("commit_postponed", reason=str(error))
            return False
        return True

    async def _may_commit(self, offsets: Mapping[TopicPartition, int]) -> bool:
        try:
            return self.settings.before_commit is None or await self.settings.before_commit(offsets)
        except Unavailable as error:
            log.warning("commit_postponed", reason=str(error))
            return False

    async def wait_empty(self) -> None:
        """Wait until every chunk whose processing has begun is acknowledged, then commit.

        Chunks delivered but not begun were cleared from the agents' queues by Faust: they come again.
        """
        while not self.should_stop and any(flow.is_busy for flow in self.flows.values()):
            busy = next((flow for flow in self.flows.values() if flow.is_busy), None)
            if busy is not None:
                await busy.change(timeout_s=0.2)
        await self.commit_and_end_transactions()

    # -- assignment --

    async def perform_seek(self) -> None:
        """Go to where each topic that exists now is applied up to, and announce the assignment."""
        async with self._seeking:
            generation = self.app.consumer_generation_id
            uuids = await retrying(self._confirmed_uuids, "topic identity")
            assigned = {TopicPartition(*tp): uuids.get(tp.topic) for tp in self.assignment()}
            starts = await self._starts(uuids, await self._thread.committed(assigned))
            self._epoch = await self._thread.reposition(starts)
            self._void()
            self._uuids = uuids
            self._bases = {tp: start for tp, start in starts.items() if start is not None}
            self._told = {}
            if generation == self.app.consumer_generation_id:
                self._is_announced.set()
                log.info("partitions_assigned", partitions=[f"{tp.topic}:{tp.partition}" for tp in sorted(starts)])

    async def seek_again(self) -> None:
        """Void everything under way and begin again where states are applied up to: they may have lost their newest records.

        A rebalance meanwhile does the same.
        """
        self._is_announced.clear()
        self._void()
        with suppress(RebalanceAgain, ServiceStopped):
            await self.perform_seek()

    async def _confirmed_uuids(self) -> dict[str, str]:
        """Return the UUIDs of all topics. Without one of them the assignment is not whole: the process ends."""
        uuids = await self.settings.identity.uuids()
        for topic in self.settings.topics:
            if topic not in uuids or self._uuids.get(topic, uuids[topic]) != uuids[topic]:
                self.settings.end(ExitCode.STALE_TOPIC, f"topic {topic} was deleted; if it is not made anew, run `weir topics create`")
        return uuids

    def _void(self) -> None:
        self._n_voids += 1
        for flow in self.flows.values():
            flow.void()

    async def _starts(
        self, uuids: Mapping[str, str], committed: Mapping[TopicPartition, Committed | None]
    ) -> dict[TopicPartition, int | None]:
        on_assigned = self.settings.on_assigned
        offsets = {tp: None if found is None else found.offset for tp, found in committed.items()}
        if not committed or on_assigned is None:
            return offsets

        async def ask() -> Mapping[TopicPartition, int]:
            if self.transport.app.should_stop:  # stopping does not wait for the other side to come back
                raise ServiceStopped
            try:
                return await on_assigned(uuids, committed)
            except Unavailable:
                self.refused_s = time.monotonic()
                raise

        try:
            earlier = await retrying(ask, "announcing the assignment")
        except ServiceStopped:
            raise
        except Exception as error:
            log.exception("announcing_failed")
            self.settings.end(ExitCode.FAILED, f"announcing the assignment failed: {error!r}")
            raise
        return {tp: earlier.get(tp) if offset is None else min(offset, earlier.get(tp, offset)) for tp, offset in offsets.items()}

    async def on_partitions_revoked(self, revoked: set[Any]) -> None:
        """Let chunks that have begun end and be committed, then forget the rest: it comes again, here or elsewhere."""
        self._is_announced.clear()
        await super().on_partitions_revoked(revoked)
        self._void()

    async def on_partitions_assigned(self, assigned: set[Any], generation_id: int = 0) -> None:
        """Go through Faust's recovery, which ends in `perform_seek`; without a partition there is nothing to seek."""
        await super().on_partitions_assigned(assigned, generation_id)
        if not assigned:
            self._void()
            self._is_announced.set()

    @Service.task  # type: ignore[untyped-decorator]  # Faust has no types that mypy follows
    async def _watch_identity(self) -> None:
        while not self.should_stop:
            await self.sleep(_IDENTITY_INTERVAL_S)
            if not self._is_announced.is_set():
                continue
            try:
                await self.settings.identity.confirm(self._uuids)
            except StaleTopic as error:
                self.settings.end(ExitCode.STALE_TOPIC, str(error))
            except Unavailable as error:
                log.warning("kafka_unreachable", reason=str(error))


class ChunkProducer(driver.Producer):  # type: ignore[misc]  # Faust has no types that mypy follows
    """Faust's producer around the client that the worker publishes with."""

    def _new_producer(self, transactional_id: str | None = None) -> Any:
        new_producer = self.transport.settings.new_producer
        return new_producer() if new_producer is not None else super()._new_producer(transactional_id)

    @property
    def client(self) -> Any:
        """The started aiokafka producer."""
        return self._ensure_producer()


class ChunkTransport(driver.Transport):  # type: ignore[misc]  # Faust has no types that mypy follows
    """The pair of both."""

    Consumer = ChunkConsumer
    Producer = ChunkProducer

    def __init__(self, *args: Any, settings: TransportSettings, **kwargs: Any) -> None:
        self.settings = settings
        super().__init__(*args, **kwargs)


def _message(chunk: Chunk, tp: TopicPartition, offset: int, last: Record, generation: int) -> Any:
    """Return the Faust message that carries `chunk`; its key, size and checksum mean nothing."""
    return ConsumerMessage(
        tp.topic, tp.partition, offset, last.timestamp / 1000, 1, None, None, chunk, None, 0, 0, tp, generation_id=generation
    )  # fmt: skip
