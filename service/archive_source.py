"""The archived topics as they are now, read from where the files of the archive end."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from domain.errors import ConfigError, StaleTopic, Unavailable
from features.archive_files import Partition, by_partition, files_of
from service.archive_buffer import Buffer, Limits
from service.archive_coverage import Coverage
from service.consumer_closing import close_consumer
from stream.connection import LARGEST_REQUEST_BYTES, KafkaConnection
from stream.topic_identity import TopicIdentity

_WAIT_MS: Final = 200
_ANSWER_S: Final = 3.0


class Lost(NamedTuple):
    """Offsets that Kafka no longer has and no file holds."""

    partition: Partition
    first: int
    last: int
    """Included."""


class ArchiveSource:
    """Reads each partition from where its files end; the files alone tell where that is. Use as `async with`."""

    def __init__(self, connection: KafkaConnection, directory: Path, topics: Sequence[str], limits: Limits = Limits()) -> None:  # noqa: B008 - immutable
        """Prepare.

        Args:
            connection: Where.
            directory: The archive.
            topics: Names without the installation's prefix; all exist.
            limits: When files are closed.
        """
        self._connection = connection
        self._directory = directory
        self._limits = limits
        self._names = {connection.topic(topic): topic for topic in topics}
        self._identity = TopicIdentity(connection, tuple(self._names))
        self._consumer: Any = None
        self._ends: dict[TopicPartition, int] = {}
        self.buffers: dict[TopicPartition, Buffer] = {}
        self.uuids: dict[str, str] = {}
        """Name without prefix -> UUID of the topic that is read."""
        self.lost: list[Lost] = []
        """To be written by whoever reads; added to by `begin` and `read`."""

    async def __aenter__(self) -> Self:
        """Connect, and go to where the files end.

        Raises:
            Unavailable: Kafka does not answer.
            StaleTopic: A topic is being deleted or made anew just now.
            ConfigError: A topic ends before the archive does: Kafka has lost records.
        """
        self._consumer = AIOKafkaConsumer(
            **self._connection.aiokafka(),
            enable_auto_commit=False,
            auto_offset_reset="none",  # else a gap would be skipped in silence
            max_partition_fetch_bytes=LARGEST_REQUEST_BYTES,
        )
        try:
            await self._consumer.start()
            await self._begin()
        except KafkaError as error:
            await self._close()
            raise self._unavailable(error) from error
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Disconnect."""
        await self._close()

    async def read(self) -> int:
        """Read what has come, wait a little if nothing has; return the number of records.

        Raises:
            StaleTopic: A topic was deleted.
            Unavailable: Kafka refuses.
            ConfigError: A topic ends before the archive does: Kafka has lost records.
        """
        try:
            found = await self._consumer.getmany(timeout_ms=_WAIT_MS)
        except OffsetOutOfRangeError as error:
            await self.confirm()
            await self._seek(list(error.args[0]))
            return 0
        except KafkaError as error:
            raise self._unavailable(error) from error
        for place, records in found.items():
            if not self.buffers[place].add(records):
                await self._seek([place])
        return sum(map(len, found.values()))

    async def confirm(self) -> None:
        """Make sure that everything read so far came from the topics as they were at the beginning.

        Raises:
            StaleTopic: A topic was deleted (and perhaps created anew).
            Unavailable: Kafka does not answer now.
        """
        known = {full: self.uuids[topic] for full, topic in self._names.items()}
        try:
            await asyncio.wait_for(self._identity.confirm(known), _ANSWER_S)
        except TimeoutError as error:
            raise Unavailable(f"kafka at {self._connection.bootstrap} does not answer") from error
        for buffer in self.buffers.values():
            buffer.confirm()

    async def sort_out(self) -> dict[str, int]:
        """After `StaleTopic`: forget records that may be of the new topic; return topic -> number of these.

        What was read of a deleted topic since the last confirmation cannot be told from the first records of its successor.

        Raises:
            Unavailable: Kafka does not answer now.
        """
        found = await self._identity.uuids()
        dropped: dict[str, int] = {}
        for place, buffer in self.buffers.items():
            topic = self._names[place.topic]
            if found.get(place.topic) == self.uuids[topic]:
                buffer.confirm()
            elif n_dropped := buffer.drop_unconfirmed():
                dropped[topic] = dropped.get(topic, 0) + n_dropped
        return dropped

    async def is_at_end(self) -> bool:
        """Tell whether everything that was there at the beginning has been read."""
        for place, end in self._ends.items():
            if await self._consumer.position(place) < end:
                return False
        return True

    async def has_new_partitions(self) -> bool:
        """Tell whether a topic has other partitions than are read.

        Raises:
            Unavailable: Kafka does not answer now.
        """
        return await self._partitions() != list(self.buffers)

    def lag(self) -> int:
        """Return how many offsets wait in Kafka, about."""
        ends = ((self._consumer.highwater(place) or 0, buffer.position) for place, buffer in self.buffers.items())
        return sum(max(0, end - position) for end, position in ends)

    async def _begin(self) -> None:
        found = await self._identity.uuids()
        self.uuids = {topic: found[full] for full, topic in self._names.items() if full in found}
        if len(self.uuids) < len(self._names):
            missing = ", ".join(full for full, topic in self._names.items() if topic not in self.uuids)
            raise StaleTopic(f"topic {missing} does not exist; make it with: weir topics create")
        places = await self._partitions()
        files = {topic: by_partition(files_of(self._directory, topic)) for topic in self.uuids}
        for place in places:
            topic = self._names[place.topic]
            partition = Partition(topic, self.uuids[topic][:8], place.partition)
            self.buffers[place] = Buffer(partition, Coverage.of(files[topic].get(partition, ())), self._limits)
        self._consumer.assign(places)
        self._ends = await self._consumer.end_offsets(places)
        await self._seek(places)
        await self.confirm()

    async def _seek(self, places: Sequence[TopicPartition]) -> None:
        """Go on reading at the buffers' positions, or behind what Kafka no longer has."""
        try:
            first = await self._consumer.beginning_offsets(places)
            end = await self._consumer.end_offsets(places)
        except KafkaError as error:
            raise self._unavailable(error) from error
        for place in places:
            buffer = self.buffers[place]
            self.lost += [Lost(buffer.partition, *offsets) for offsets in buffer.lose(first[place])]
            if buffer.position > end[place]:
                await self.confirm()  # of a topic made anew this would be no news
                raise ConfigError(
                    f"{place.topic} partition {place.partition} ends at offset {end[place]}, the archive at {buffer.position}: "
                    "Kafka has lost records that were archived; make the topic anew, or archive into another --directory"
                )
            self._consumer.seek(place, buffer.position)

    async def _partitions(self) -> list[TopicPartition]:
        try:
            cluster = await self._consumer._client.fetch_all_metadata()  # noqa: SLF001 - `topics()` hides which topic is missing
        except KafkaError as error:
            raise self._unavailable(error) from error
        return [TopicPartition(full, number) for full in self._names for number in sorted(cluster.partitions_for_topic(full) or ())]

    def _unavailable(self, error: KafkaError) -> Unavailable:
        return Unavailable(f"Kafka at {self._connection.bootstrap} (setting kafka.bootstrap) does not let the archiver read: {error}")

    async def _close(self) -> None:
        self._identity.close()
        await close_consumer(self._consumer)
