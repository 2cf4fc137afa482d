"""Read topics from a place on, in batches, without a consumer group."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from domain.errors import ConfigError, Unavailable
from service.consumer_closing import close_consumer
from stream.connection import LARGEST_REQUEST_BYTES, KafkaConnection
from stream.records import Record

_WAIT_MS: Final = 200


class Tail:
    """Reads topics; commits nothing and disturbs no group. Use as `async with Tail(connection, topics, ...) as tail`.

    Records of one partition come in their order; partitions are not ordered among each other.
    """

    def __init__(
        self, connection: KafkaConnection, topics: Sequence[str], *, from_beginning: bool, until_end: bool, n_last: int = 0
    ) -> None:
        """Prepare.

        Args:
            connection: Where.
            topics: Full names.
            from_beginning: True: from the oldest record kept; False: only what comes from now on.
            until_end: True: stop at the ends found when the reading began; False: go on for ever.
            n_last: Unless from the beginning: so many of the records that each partition holds already come first.
        """
        self._connection = connection
        self._topics = topics
        self._from_beginning, self._until_end, self._n_last = from_beginning, until_end, n_last
        self._consumer: Any = None
        self._ends: dict[TopicPartition, int] = {}
        self.n_ahead = 0
        """Records that were there before the reading began and come first; unless from the beginning."""

    async def __aenter__(self) -> Self:
        """Connect and take the ends.

        Raises:
            Unavailable: Kafka does not answer.
            ConfigError: A topic does not exist.
        """
        self._consumer = AIOKafkaConsumer(
            **self._connection.aiokafka(),
            enable_auto_commit=False,
            auto_offset_reset="earliest" if self._from_beginning else "latest",
            max_partition_fetch_bytes=LARGEST_REQUEST_BYTES,
        )
        try:
            await self._consumer.start()
            await self._assign()
        except KafkaError as error:
            await close_consumer(self._consumer)
            raise Unavailable(f"Kafka at {self._connection.bootstrap} (setting kafka.bootstrap) does not answer: {error}") from error
        except BaseException:
            await close_consumer(self._consumer)
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Disconnect."""
        await close_consumer(self._consumer)

    async def batches(self, stop: asyncio.Event) -> AsyncIterator[list[Record]]:
        """Yield records as they come, each batch of one partition, until the ends or until `stop` is set."""
        while not stop.is_set() and not await self._is_done():
            for records in (await self._consumer.getmany(timeout_ms=_WAIT_MS)).values():
                if kept := self._before_end(records):
                    yield kept

    async def check(self, timeout_s: float = 3.0) -> None:
        """Ask whether Kafka still answers: while it does not, `batches` just finds nothing.

        Raises:
            Unavailable: It does not.
        """
        try:
            await asyncio.wait_for(self._consumer.end_offsets(list(self._ends)), timeout_s)
        except (KafkaError, TimeoutError) as error:
            raise Unavailable(f"Kafka at {self._connection.bootstrap} (setting kafka.bootstrap) does not answer") from error

    async def _assign(self) -> None:
        cluster = await self._consumer._client.fetch_all_metadata()  # noqa: SLF001 - `topics()` hides which topic is missing
        partitions = []
        for topic in self._topics:
            found = cluster.partitions_for_topic(topic)
            if not found:
                raise ConfigError(f"topic {topic} does not exist on {self._connection.bootstrap}; make it with: weir topics create")
            partitions += [TopicPartition(topic, number) for number in sorted(found)]
        self._consumer.assign(partitions)
        self._ends = await self._consumer.end_offsets(partitions)
        if not self._from_beginning:
            oldest = await self._consumer.beginning_offsets(partitions) if self._n_last else self._ends
            for partition, end in self._ends.items():
                first = max(oldest[partition], end - self._n_last)
                self.n_ahead += end - first
                self._consumer.seek(partition, first)

    async def _is_done(self) -> bool:
        if not self._until_end:
            return False
        for partition, end in self._ends.items():
            if await self._consumer.position(partition) < end:
                return False
        return True

    def _before_end(self, records: list[Record]) -> list[Record]:
        if not self._until_end or not records:
            return records
        end = self._ends[TopicPartition(records[0].topic, records[0].partition)]
        return records if records[-1].offset < end else [record for record in records if record.offset < end]
