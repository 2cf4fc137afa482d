"""What came to the topics for a trial since the last look: where there is no archive."""

from service.archive_rows import rows_of
from service.partition_reading import PartitionReader
from service.rollout_pending import PendingDays
from stream.connection import KafkaConnection
from stream.topics import LABELS, SCORES


class TrialTopics:
    """Reads the scores and labels that Kafka still has of a trial, each record once.

    Args:
        connection: To Kafka.
        started_ms: Wall clock of the trial's beginning: what was appended before is not read.
    """

    def __init__(self, connection: KafkaConnection, started_ms: int) -> None:
        self._connection = connection
        self._started_ms = started_ms
        self._next: dict[tuple[str, int], int] = {}

    async def read_into(self, pending: PendingDays) -> None:
        """Add what is new, scores first: labels that come meanwhile are only more than needed.

        Raises:
            Unavailable: Kafka does not answer; the next call goes on where this one ended.
            ConfigError: A topic does not exist.
        """
        async with PartitionReader(self._connection) as reader:
            for topic in (SCORES, LABELS):
                name = self._connection.prefix + topic.name
                for partition in await reader.partitions(name):
                    await self._read(reader, topic.name, name, partition, pending)

    async def _read(self, reader: PartitionReader, topic: str, name: str, partition: int, pending: PendingDays) -> None:
        _, end = await reader.bounds(name, partition)
        begin = self._next.get((topic, partition))
        if begin is None:
            begin = await reader.offset_at(name, partition, self._started_ms)
        if begin is None:
            begin = end
        add = pending.add_scores if topic == SCORES.name else pending.add_labels
        async for records in reader.records(name, partition, begin, end):
            rows = rows_of(topic, "", records)
            add(rows.filter(rows["transaction_id"].is_not_null()))
        self._next[topic, partition] = max(begin, end)
