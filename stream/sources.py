"""Registered ids of the partitions a worker consumes: what makes a record's place unique for ever."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from domain.errors import Unavailable
from features.layout import OFFSET_BITS
from stream.records import Record, TopicPartition


class SourceRegistry(Protocol):
    """Where ids are registered; see `features.store.FeatureStore`."""

    async def source_ids(self, topic_uuid: str, partitions: Sequence[int]) -> dict[int, int]:
        """Return the id of each partition of a topic, registering new ones."""
        ...


class Sources:
    """Ids of the assigned partitions. A topic created anew has another UUID, hence other ids."""

    def __init__(self, registry: SourceRegistry) -> None:
        self.registry = registry
        self._ids: dict[TopicPartition, int] = {}

    async def know(self, uuid: str, places: Sequence[TopicPartition]) -> None:
        """Register partitions of one topic that are perhaps not assigned here.

        Raises:
            Unavailable: Redis does not answer.
        """
        missing = [place for place in places if place not in self._ids]
        if missing:
            ids = await self.registry.source_ids(uuid, [place.partition for place in missing])
            self._ids.update({place: ids[place.partition] for place in missing})

    async def assign(self, topics: Mapping[str, str], partitions: Sequence[TopicPartition]) -> None:
        """Register what is assigned now.

        Args:
            topics: Topic -> UUID.
            partitions: Assigned now.

        Raises:
            Unavailable: Redis does not answer; assign again.
        """
        for topic, uuid in topics.items():
            mine = [p.partition for p in partitions if p.topic == topic]
            ids = await self.registry.source_ids(uuid, mine) if mine else {}
            self._ids.update({TopicPartition(topic, partition): source for partition, source in ids.items()})

    def id_of(self, place: TopicPartition) -> int:
        """Return the id of an assigned partition."""
        return self._ids[place]

    def of(self, records: Sequence[Record]) -> NDArray[np.int64]:
        """Return source id << 48 | offset of each record, int64 (n,).

        Raises:
            Unavailable: The partitions were assigned in an outage and have no ids yet.
        """
        ids = self._ids
        try:
            return np.fromiter(
                ((ids[r.topic, r.partition] << OFFSET_BITS) | r.offset for r in records),  # type: ignore[index]  # a TopicPartition equals its tuple
                np.int64,
                len(records),
            )
        except KeyError as error:
            raise Unavailable(f"partition {error} was assigned without Redis: positions are still to be read") from None
