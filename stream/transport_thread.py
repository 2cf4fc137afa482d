"""The thread that talks to Kafka: aiokafka's consumer, with positions that are set in one step."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import aiokafka
import structlog
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata
from faust.tables.recovery import RebalanceAgain
from faust.transport.drivers import aiokafka as driver

from stream.connection import LARGEST_REQUEST_BYTES, KafkaConnection
from stream.records import Committed, Record, TopicPartition

#: Longest wait of the broker for new records. It bounds how long one topic's wait may hold back another's resume.
_FETCH_MAX_WAIT_MS: Final = 250
#: Most bytes of one fetch, so that memory is bounded whatever the number of partitions.
_FETCH_MAX_BYTES: Final = 8 * 1024 * 1024
_REQUEST_TIMEOUT_MS: Final = 40_000
#: Fewer records than this are worth waiting a round trip for what came after them.
_ENOUGH_RECORDS: Final = 200
_REFRESH_MS: Final = 4

log = structlog.get_logger("weir.transport")


class ConsumerSettings(NamedTuple):
    """How the consumer joins its group."""

    connection: KafkaConnection
    group: str
    """Full name, with the installation's prefix."""
    session_timeout_s: float = 10.0
    heartbeat_interval_s: float = 3.0
    rebalance_timeout_s: float = 20.0


class Fetched(NamedTuple):
    """Records drained from the consumer; they count only while no seek has happened since."""

    records: Mapping[TopicPartition, list[Record]]
    epoch: int


class Health(NamedTuple):
    """What the watchdog wants to know of the coordinator."""

    has_pending_error: bool
    """An error that nobody has looked at: the stock driver stalls on it for good."""
    has_ended: bool
    """The task that keeps the membership is over."""


class ChunkThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]  # Faust has no types that mypy follows
    """Faust's consumer thread; methods without a leading underscore are called from the main loop."""

    epoch: int = 0
    """Number of seeks so far. What was drained in an earlier epoch is drained again."""

    def __init__(self, consumer: Any, *, settings: ConsumerSettings, **kwargs: Any) -> None:
        self.settings = settings
        super().__init__(consumer, **kwargs)

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:  # noqa: ARG002 - Faust's signature
        settings = self.settings
        return aiokafka.AIOKafkaConsumer(
            **settings.connection.aiokafka(),
            client_id=self.app.conf.broker_client_id,
            group_id=settings.group,
            partition_assignment_strategy=[RoundRobinPartitionAssignor],
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_poll_interval_ms=int(self.app.conf.broker_max_poll_interval * 1000),
            max_partition_fetch_bytes=LARGEST_REQUEST_BYTES,
            fetch_max_bytes=_FETCH_MAX_BYTES,
            fetch_max_wait_ms=_FETCH_MAX_WAIT_MS,
            request_timeout_ms=_REQUEST_TIMEOUT_MS,
            session_timeout_ms=int(settings.session_timeout_s * 1000),
            heartbeat_interval_ms=int(settings.heartbeat_interval_s * 1000),
            rebalance_timeout_ms=int(settings.rebalance_timeout_s * 1000),
            metadata_max_age_ms=60_000,
        )

    async def fetch(self, partitions: Iterable[TopicPartition], *, is_urgent: bool, timeout_s: float) -> Fetched:
        """Return what has arrived of `partitions`, waiting at most `timeout_s` (0: not at all); fetches of several topics may overlap.

        Cancelling it may lose drained records until the next seek: cancel only when stopping.
        """
        wanted = self._fetch(list(partitions), is_urgent=is_urgent, timeout_s=timeout_s)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(wanted, self.thread_loop))

    async def committed(self, uuids: Mapping[TopicPartition, str | None]) -> dict[TopicPartition, Committed | None]:
        """Return what is committed of every assigned partition; None where there is no valid one.

        A committed offset is valid only for the topic whose UUID was stored with it.

        Args:
            uuids: Assigned partition -> its topic's UUID as of now; None: there is no such topic.

        Raises:
            RebalanceAgain: The assignment changed meanwhile; another repositioning follows.
        """
        found: dict[TopicPartition, Committed | None] = await self.call_thread(self._committed, uuids)
        return found

    async def reposition(self, starts: Mapping[TopicPartition, int | None]) -> int:
        """Set every assigned partition to its start, or to its beginning where that is None, in one step.

        Args:
            starts: Assigned partition -> offset.

        Returns:
            The new epoch.

        Raises:
            RebalanceAgain: The assignment changed meanwhile; another repositioning follows.
        """
        epoch: int = await self.call_thread(self._reposition, starts)
        return epoch

    async def commit(
        self, offsets: Mapping[TopicPartition, int], uuids: Mapping[str, str] | None = None,
        answered: Mapping[TopicPartition, int] | None = None,
    ) -> bool:  # fmt: skip
        """Tell whether the broker accepted `offsets`, all of them.

        The topics' UUIDs are stored with them, and up to where records behind them are answered without being applied.
        """
        done: bool = await self.call_thread(self._commit, offsets, uuids or {}, answered or {})
        return done

    def lags(self, offsets: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Return the records between `offsets` and the log's end, as far as the last fetch knows it."""
        client = self._ensure_consumer()
        assigned = client.assignment()
        ends = {tp: client.highwater(_client_partition(tp)) for tp in offsets if tp in assigned}
        return {tp: max(0, end - offsets[tp]) for tp, end in ends.items() if end is not None}

    def health(self) -> Health:
        """Return the coordinator's state; callable from any thread."""
        coordinator = getattr(self._consumer, "_coordinator", None)
        if coordinator is None:
            return Health(has_pending_error=False, has_ended=False)
        return Health(coordinator._pending_exception is not None, coordinator._coordination_task.done())  # noqa: SLF001 - see self_check

    async def _fetch(self, partitions: list[TopicPartition], *, is_urgent: bool, timeout_s: float) -> Fetched:
        client = self._ensure_consumer()
        assigned = client.assignment()
        wanted = [_client_partition(tp) for tp in partitions if tp in assigned]
        if not wanted:
            await asyncio.sleep(0.05)
            return Fetched({}, self.epoch)
        if not is_urgent:
            client.resume(*wanted)
        records = await client.getmany(*wanted, timeout_ms=0)
        if timeout_s and not records:
            records = await client.getmany(*wanted, timeout_ms=int(timeout_s * 1000))
        elif timeout_s and is_urgent and sum(map(len, records.values())) < _ENOUGH_RECORDS:
            records = await self._refresh(client, wanted, records)
        # No await from here on: the pause must come before aiokafka's next fetch, the epoch must be that of the drain.
        if (records or not timeout_s) and not is_urgent:
            client.pause(*(tp for tp in wanted if tp in client.assignment()))
        return Fetched(records, self.epoch)

    async def _refresh(self, client: Any, wanted: list[Any], stale: dict[Any, list[Record]]) -> dict[Any, list[Record]]:
        """Return `stale` with what the broker has got since.

        What lies here already was fetched when the last records were taken; all that came later waits at the broker, and
        would wait there for a whole chunk more. Draining let aiokafka ask for it: the answer is a round trip away.
        """
        epoch = self.epoch
        fresh: dict[Any, list[Record]] = await client.getmany(*wanted, timeout_ms=_REFRESH_MS)
        if self.epoch != epoch:  # a seek meanwhile: what was drained before it comes again
            return fresh
        for tp, records in fresh.items():
            stale.setdefault(tp, []).extend(records)
        return stale

    async def _committed(self, uuids: Mapping[TopicPartition, str | None]) -> dict[TopicPartition, Committed | None]:
        client = self._ensure_consumer()
        assigned = client.assignment()
        committed = await client._coordinator.fetch_committed_offsets(list(assigned))  # noqa: SLF001 - the public way hides the metadata
        if client.assignment() != assigned or assigned != uuids.keys():
            raise RebalanceAgain
        found = {TopicPartition(*tp): _decoded(committed.get(tp), uuids.get(tp)) for tp in assigned}
        if forgotten := [f"{tp.topic}:{tp.partition}" for tp, offset in found.items() if offset is None and tp in committed]:
            log.warning("offsets_were_of_another_topic", partitions=forgotten)
        return found

    async def _reposition(self, starts: Mapping[TopicPartition, int | None]) -> int:
        client = self._ensure_consumer()
        assigned = client.assignment()
        first = await client.beginning_offsets([tp for tp in assigned if starts.get(tp) is None])
        if client.assignment() != assigned or assigned != starts.keys():
            raise RebalanceAgain
        # No await from here on: what was drained before belongs to the old epoch, what comes after to the new one.
        self.epoch += 1
        for tp in assigned:
            client.seek(tp, first[tp] if tp in first else starts[tp])
        return self.epoch

    async def _commit(
        self, offsets: Mapping[TopicPartition, int], uuids: Mapping[str, str], answered: Mapping[TopicPartition, int]
    ) -> bool:
        client = self._ensure_consumer()
        marked = {}
        for tp, offset in offsets.items():
            parts = [uuids.get(tp.topic, "")]
            if answered.get(tp, 0) > offset:
                parts.append(str(answered[tp]))
            marked[_client_partition(tp)] = OffsetAndMetadata(offset, " ".join(parts))
        try:
            await client.commit(marked)
        except (KafkaError, ValueError) as error:
            log.warning("commit_refused", reason=str(error) or type(error).__name__)
            return False
        return True


def _client_partition(tp: TopicPartition) -> aiokafka.TopicPartition:
    return aiokafka.TopicPartition(tp.topic, tp.partition)


def _decoded(committed: Any, uuid: str | None) -> Committed | None:
    """Return what was committed for this topic, None for another; without a UUID (another tool's commit) it is trusted."""
    if committed is None:
        return None
    found_uuid, _, answered = committed.metadata.partition(" ")
    if found_uuid not in {"", uuid}:
        return None
    return Committed(committed.offset, max(committed.offset, int(answered)) if answered.isdecimal() else committed.offset)
