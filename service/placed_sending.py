"""Send a few records to Kafka and learn where each of them came to lie."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final, Self

from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from domain.errors import ConfigError, Unavailable
from service.sending import started_producer
from stream.connection import KafkaConnection
from stream.records import Message

#: A record larger than this is a batch of its own, so that one too large takes no other with it.
_BATCH_BYTES: Final = 64 * 1024


class PlacedSender:
    """An idempotent producer (acks=all) that tells offsets. Use as `async with PlacedSender(connection) as sender`."""

    def __init__(self, connection: KafkaConnection) -> None:
        self._connection = connection
        self._producer: Any = None

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            Unavailable: Kafka does not answer.
        """
        self._producer = await started_producer(self._connection, batch_bytes=_BATCH_BYTES)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Disconnect."""
        await self._producer.stop()

    async def send(self, messages: Sequence[Message]) -> list[int | None]:
        """Send `messages` (each names its partition), in their order within a partition, and wait for the broker.

        Returns:
            The offset of each; None: it is larger than its topic takes, and was not written.

        Raises:
            Unavailable: The broker did not confirm one of them; perhaps some are written.
            ConfigError: A topic or partition does not exist.
        """
        left: dict[tuple[str, int], list[int]] = {}
        for number, message in enumerate(messages):
            if message.partition is None:
                raise ValueError(f"a message for {message.topic} names no partition")
            left.setdefault((message.topic, message.partition), []).append(number)
        offsets: list[int | None] = [None] * len(messages)
        while left:
            parts = await asyncio.gather(*(self._send_part(messages, *at, numbers) for at, numbers in left.items()), return_exceptions=True)
            for at, part in zip(list(left), parts, strict=True):
                if isinstance(part, BaseException):
                    raise part
                for number, offset in zip(left[at], part, strict=False):
                    offsets[number] = offset
                left[at] = left[at][len(part) :]
                if None in part:  # the broker waits for the sequence number of what it refused: begin a new sequence
                    await self._producer.stop()
                    await self.__aenter__()
            left = {at: numbers for at, numbers in left.items() if numbers}
        return offsets

    async def _send_part(self, messages: Sequence[Message], topic: str, partition: int, numbers: Sequence[int]) -> list[int | None]:
        """Return the offsets of the first of `numbers`: of all of them, or up to the first batch that is too large."""
        at, offsets = 0, list[int | None]()
        try:
            if partition not in await self._producer.partitions_for(topic):
                raise ConfigError(f"topic {topic} has no partition {partition}; see: weir topics check")
            while at < len(numbers) and None not in offsets[-1:]:
                batch, first = self._producer.create_batch(), at
                while at < len(numbers) and _append(batch, messages[numbers[at]]):
                    at += 1
                batch.close()
                future = await self._producer.send_batch(batch, topic, partition=partition)
                offsets += await self._offsets(future, at - first)
        except KafkaError as error:
            raise Unavailable(f"Kafka at {self._connection.bootstrap} did not confirm a record for {topic}: {error}") from error
        return offsets

    async def _offsets(self, future: Any, n_records: int) -> list[int | None]:
        try:
            delivered = await future
        except MessageSizeTooLargeError:
            return [None] * n_records
        return list(range(delivered.offset, delivered.offset + n_records))


def _append(batch: Any, message: Message) -> bool:
    return batch.append(key=message.key, value=message.value, timestamp=None, headers=list(message.headers)) is not None
