"""Publish messages in batches, one per topic and partition, and know when the broker has them all."""

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from typing import Any, Final

import aiokafka
from aiokafka.errors import KafkaError
from aiokafka.partitioner import murmur2

from domain.errors import WeirError
from stream.connection import LARGEST_REQUEST_BYTES, KafkaConnection
from stream.records import Message

#: Most bytes that a record adds to its key, value and headers: the batch's head and the record's own lengths.
_OVERHEAD_BYTES: Final = 512
_NO_HEADERS: Final[list[tuple[str, bytes]]] = []
_BATCH_BYTES: Final = 256 * 1024
_REQUEST_TIMEOUT_MS: Final = 30_000


class DeliveryFailed(WeirError):
    """The broker did not confirm a message; whatever it answers must not be acknowledged."""


def new_producer(connection: KafkaConnection) -> aiokafka.AIOKafkaProducer:
    """Return a producer that waits for all in-sync replicas and never lingers (a chunk is a batch already), not started."""
    return aiokafka.AIOKafkaProducer(
        **connection.aiokafka(),
        acks="all",
        linger_ms=0,
        max_batch_size=_BATCH_BYTES,
        max_request_size=LARGEST_REQUEST_BYTES + _OVERHEAD_BYTES,
        request_timeout_ms=_REQUEST_TIMEOUT_MS,
        metadata_max_age_ms=60_000,
    )


class Publisher:
    """Hands messages to a started aiokafka producer. Used by one event loop."""

    def __init__(self, producer: Any) -> None:
        self._producer = producer
        self._n_partitions: dict[str, int] = {}

    async def publish(self, messages: Sequence[Message]) -> Awaitable[None]:
        """Send `messages`, in their order per topic and partition, and return an awaitable of all their deliveries.

        The awaitable ends when the broker has confirmed every message, or raises `DeliveryFailed`.

        Raises:
            DeliveryFailed: A message can never be sent: it is larger than 2 MiB, or its topic or partition does not exist.
        """
        batches: dict[tuple[str, int], list[Any]] = {}
        try:
            for message in messages:
                topic, key, value, partition, headers, _ = message
                if partition is None:
                    partition = await self._partition_of(topic, key)
                listed = list(headers) if headers else _NO_HEADERS
                place = (topic, partition)
                found = batches.get(place)
                if found is None:
                    found = batches[place] = [self._producer.create_batch()]
                # None: the batch is full. It is closed then, and the message begins the next one.
                if found[-1].append(key=key, value=value, timestamp=None, headers=listed) is None:
                    found.append(self._producer.create_batch())
                    found[-1].append(key=key, value=value, timestamp=None, headers=listed)
            futures = []
            for (topic, partition), found in batches.items():
                for batch in found:
                    if batch.size() > LARGEST_REQUEST_BYTES + _OVERHEAD_BYTES:
                        raise _too_large(topic, batch.size())
                    futures.append(await self._producer.send_batch(batch, topic, partition=partition))
        except (KafkaError, AssertionError) as error:
            raise DeliveryFailed(f"cannot publish: {error!r}") from error
        return _confirmed(futures)

    async def n_partitions(self, topic: str) -> int:
        """Return the number of partitions of a topic."""
        return len(await self._producer.partitions_for(topic))

    async def _partition_of(self, topic: str, key: bytes | None) -> int:
        """Return the partition of a key as Kafka's own clients choose it (murmur2); without a key, the first."""
        n_partitions = self._n_partitions.get(topic)
        if n_partitions is None:
            n_partitions = self._n_partitions[topic] = len(await self._producer.partitions_for(topic))
        return (murmur2(key) & 0x7FFFFFFF) % n_partitions if key is not None else 0


async def _confirmed(futures: Iterable[asyncio.Future[Any]]) -> None:
    results = await asyncio.gather(*futures, return_exceptions=True)
    for error in results:
        if isinstance(error, BaseException):
            raise DeliveryFailed(f"the broker did not confirm a message: {error!r}") from error


def _too_large(topic: str, size: int) -> DeliveryFailed:
    return DeliveryFailed(f"a message of {size} bytes for {topic} is larger than the largest, {LARGEST_REQUEST_BYTES} bytes")
