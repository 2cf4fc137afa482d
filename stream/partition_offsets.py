"""Where partitions stand in Kafka: as of a time, and as a consumer group committed. For programs that run while no worker does."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from domain.errors import Unavailable
from stream.connection import KafkaConnection
from stream.topic_admin import admin_client, topic_uuids

_TIMEOUT_MS: Final = 10_000


class PartitionOffset(NamedTuple):
    """A place in one partition."""

    topic: str
    """Full name."""
    topic_uuid: str
    partition: int
    offset: int


def offsets_at(connection: KafkaConnection, topics: Sequence[str], time_ms: int) -> list[PartitionOffset]:
    """Return each partition's first offset with append time >= `time_ms`; where all are older, its end.

    Topics that do not exist are left out.

    Raises:
        ConfigError: Kafka is not reachable.
        Unavailable: Kafka does not answer now.
    """
    return _ask(connection, topics, lambda consumer, places: _at_time(consumer, places, time_ms))


def committed_offsets(connection: KafkaConnection, topics: Sequence[str], group: str) -> list[PartitionOffset]:
    """Return what a group committed for each partition; where it never did, the beginning.

    Topics that do not exist are left out.

    Args:
        connection: Where.
        topics: Full names.
        group: Full name.

    Raises:
        ConfigError: Kafka is not reachable.
        Unavailable: Kafka does not answer now.
    """
    return _ask(connection, topics, _committed, group)


def _ask(connection: KafkaConnection, topics: Sequence[str], question: Any, group: str | None = None) -> list[PartitionOffset]:
    with admin_client(connection) as admin:
        uuids = topic_uuids(admin, topics)
    if not uuids:
        return []
    try:
        consumer = KafkaConsumer(
            **connection.kafka_python(), group_id=group, enable_auto_commit=False, request_timeout_ms=_TIMEOUT_MS,
        )  # fmt: skip
        try:
            found_partitions = {topic: consumer.partitions_for_topic(topic) or () for topic in uuids}
            places = [TopicPartition(topic, p) for topic, partitions in found_partitions.items() for p in sorted(partitions)]
            found = question(consumer, places)
        finally:
            consumer.close()
    except (KafkaError, OSError, ValueError) as error:
        raise Unavailable(f"kafka at {connection.bootstrap} does not tell offsets: {error}") from error
    return [PartitionOffset(place.topic, uuids[place.topic], place.partition, found[place]) for place in places]


def _at_time(consumer: Any, places: Sequence[TopicPartition], time_ms: int) -> dict[TopicPartition, int]:
    found, ends = consumer.offsets_for_times(dict.fromkeys(places, time_ms)), consumer.end_offsets(list(places))
    return {place: ends[place] if found.get(place) is None else found[place].offset for place in places}


def _committed(consumer: Any, places: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
    first = consumer.beginning_offsets(list(places))
    committed = {place: consumer.committed(place) for place in places}
    return {place: first[place] if committed[place] is None else committed[place] for place in places}
