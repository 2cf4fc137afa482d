"""Send records to Kafka in batches, every one confirmed by the broker."""

import asyncio
import random
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from aiokafka.partitioner import murmur2

from domain.errors import ConfigError, Unavailable
from stream.connection import KafkaConnection

REQUEST_TIMEOUT_MS: Final = 30_000
"""A record that the broker has not taken by then is given up."""
#: Larger than any topic's limit, so that the broker decides what is too large.
_LARGEST_REQUEST_BYTES: Final = 8 * 1024 * 1024
_BATCH_BYTES: Final = 512 * 1024

Ends = dict[tuple[str, int], int]
"""(topic, partition) -> offset after the last confirmed record."""


@lru_cache(maxsize=1 << 17)
def partition_of(key: bytes, n_partitions: int) -> int:
    """Return the partition of `key`, as the Java client chooses it.

    >>> partition_of(b"c1", 1)
    0
    """
    return int(murmur2(key) & 0x7FFFFFFF) % n_partitions


async def started_producer(connection: KafkaConnection, *, batch_bytes: int) -> Any:
    """Return a connected, idempotent aiokafka producer (acks=all) for clients; the broker decides what is too large.

    Raises:
        Unavailable: Kafka does not answer.
    """
    producer = AIOKafkaProducer(
        **connection.aiokafka(),
        enable_idempotence=True,
        max_batch_size=batch_bytes,
        max_request_size=_LARGEST_REQUEST_BYTES,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
    )
    try:
        await producer.start()
    except KafkaError as error:
        await producer.stop()
        raise Unavailable(f"Kafka at {connection.bootstrap} (setting kafka.bootstrap) does not answer: {error}") from error
    return producer


class Sender:
    """An idempotent producer (acks=all) that keeps the order of records within a partition.

    Use as `async with Sender(connection) as sender`.

    Attributes:
        ends: The offset after the last confirmed record of each partition written to; up to date after `flush`.
    """

    def __init__(self, connection: KafkaConnection) -> None:
        self._connection = connection
        self._producer: Any = None
        self._unconfirmed: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self.ends: Ends = {}

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            Unavailable: Kafka does not answer.
        """
        self._producer = await started_producer(self._connection, batch_bytes=_BATCH_BYTES)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Disconnect; what was sent and not flushed is still delivered if the broker answers."""
        await self._producer.stop()

    async def require(self, *topics: str) -> None:
        """Check that `topics` exist.

        Raises:
            ConfigError: One does not; the message says how to make it.
        """
        cluster = await self._producer.client.fetch_all_metadata()
        if missing := [topic for topic in topics if not cluster.partitions_for_topic(topic)]:
            raise ConfigError(
                f"topic {', '.join(missing)} does not exist on {self._connection.bootstrap}; make it with: weir topics create"
            )

    async def send(self, topic: str, keys: Sequence[bytes | None], values: Sequence[bytes]) -> None:
        """Queue records in their order; waits while too much is unconfirmed.

        Raises:
            Unavailable: The broker did not confirm an earlier record.
        """
        n_partitions = len(await self._producer.partitions_for(topic))
        parts: list[list[int]] = [[] for _ in range(n_partitions)]
        for place, key in enumerate(keys):
            part = random.randrange(n_partitions) if key is None else partition_of(key, n_partitions)  # noqa: S311 - spreads load
            parts[part].append(place)
        for partition, places in enumerate(parts):
            await self._send_part(topic, partition, [(keys[i], values[i]) for i in places])

    async def flush(self) -> None:
        """Wait until every record sent so far is confirmed.

        Raises:
            Unavailable: One was not.
        """
        while self._unconfirmed:
            await asyncio.wait(self._unconfirmed)
        self._raise_failure()

    async def _send_part(self, topic: str, partition: int, records: Sequence[tuple[bytes | None, bytes]]) -> None:
        at = 0
        while at < len(records):
            self._raise_failure()
            batch = self._producer.create_batch()
            start = at
            while at < len(records) and batch.append(key=records[at][0], value=records[at][1], timestamp=None) is not None:
                at += 1
            batch.close()
            future = await self._producer.send_batch(batch, topic, partition=partition)
            task = asyncio.create_task(self._confirm(future, (topic, partition), at - start))
            self._unconfirmed.add(task)
            task.add_done_callback(self._unconfirmed.discard)

    async def _confirm(self, future: Any, place: tuple[str, int], n_records: int) -> None:
        try:
            delivered = await future
        except KafkaError as error:
            self._failure = self._failure or error
            return
        self.ends[place] = max(self.ends.get(place, 0), delivered.offset + n_records)

    def _raise_failure(self) -> None:
        if isinstance(self._failure, MessageSizeTooLargeError):
            raise ConfigError("a record is larger than its topic takes (max.message.bytes); leave it out or raise the topic's limit")
        if self._failure is not None:
            raise Unavailable(f"Kafka at {self._connection.bootstrap} did not confirm a record: {self._failure}") from self._failure
