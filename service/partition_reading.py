"""Read a stretch of one partition, without a consumer group."""

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Any, Final, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from domain.errors import ConfigError, Unavailable
from service.consumer_closing import close_consumer
from stream.connection import LARGEST_REQUEST_BYTES, KafkaConnection
from stream.records import Record

_WAIT_MS: Final = 200
#: Longest time without a record before the other side counts as gone.
_PATIENCE_S: Final = 30.0
#: Records handed over at once; with their values they take 16 MB at most, but for very large ones.
_FETCH_BYTES: Final = 4 * 1024 * 1024
_PIECE: Final = 2_000
#: A fetch beyond the end of one stretch holds up the next one for so long.
_FETCH_WAIT_MS: Final = 20


class PartitionReader:
    """Reads stretches of partitions, one at a time; commits nothing. Use as `async with PartitionReader(connection) as reader`."""

    def __init__(self, connection: KafkaConnection) -> None:
        self._connection = connection
        self._consumer: Any = None

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            Unavailable: Kafka does not answer.
        """
        self._consumer = AIOKafkaConsumer(
            **self._connection.aiokafka(),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=max(_FETCH_BYTES, LARGEST_REQUEST_BYTES),
            fetch_max_bytes=_FETCH_BYTES,
            fetch_max_wait_ms=_FETCH_WAIT_MS,
        )
        try:
            await self._consumer.start()
        except KafkaError as error:
            await close_consumer(self._consumer)
            raise self._gone(error) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        """Disconnect."""
        await close_consumer(self._consumer)

    async def partitions(self, topic: str) -> list[int]:
        """Return the numbers of the topic's partitions.

        Raises:
            ConfigError: The topic does not exist.
            Unavailable: Kafka does not answer.
        """
        try:
            cluster = await self._consumer._client.fetch_all_metadata()  # noqa: SLF001 - `topics()` hides which topic is missing
        except KafkaError as error:
            raise self._gone(error) from error
        found = cluster.partitions_for_topic(topic)
        if not found:
            raise ConfigError(f"topic {topic} does not exist on {self._connection.bootstrap}; make it with: weir topics create")
        return sorted(found)

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """Return the oldest offset kept and the end (the next offset to be written).

        Raises:
            Unavailable: Kafka does not answer.
        """
        place = TopicPartition(topic, partition)
        try:
            begin = await self._consumer.beginning_offsets([place])
            end = await self._consumer.end_offsets([place])
        except KafkaError as error:
            raise self._gone(error) from error
        return begin[place], end[place]

    async def offset_at(self, topic: str, partition: int, time_ms: int) -> int | None:
        """Return the first offset appended at `time_ms` or later; None if there is none.

        Raises:
            Unavailable: Kafka does not answer.
        """
        place = TopicPartition(topic, partition)
        try:
            found = (await self._consumer.offsets_for_times({place: time_ms}))[place]
        except KafkaError as error:
            raise self._gone(error) from error
        return None if found is None else int(found.offset)

    async def records(self, topic: str, partition: int, begin: int, end: int) -> AsyncGenerator[list[Record]]:
        """Yield the records with offsets in `[begin, end)` that are still there, in their order, some at a time.

        Raises:
            Unavailable: Nothing came for half a minute.
        """
        if begin >= end:
            return
        place = TopicPartition(topic, partition)
        self._consumer.assign([place])
        self._consumer.seek(place, begin)
        heard_s = time.monotonic()
        while await self._position(place) < end:
            try:
                found = (await self._consumer.getmany(timeout_ms=_WAIT_MS, max_records=_PIECE)).get(place, [])
            except KafkaError as error:
                raise self._gone(error) from error
            if found:
                heard_s = time.monotonic()
                if kept := found if found[-1].offset < end else [record for record in found if record.offset < end]:
                    yield kept
            elif time.monotonic() - heard_s > _PATIENCE_S:
                raise self._gone(f"nothing of {topic} came for {_PATIENCE_S:.0f} s")

    async def _position(self, place: TopicPartition) -> int:
        try:
            return int(await asyncio.wait_for(self._consumer.position(place), _PATIENCE_S))
        except (KafkaError, TimeoutError) as error:
            raise self._gone(error) from error

    def _gone(self, error: object) -> Unavailable:
        return Unavailable(
            f"Kafka at {self._connection.bootstrap} (setting kafka.bootstrap) does not answer: {error or 'no answer in time'}"
        )
