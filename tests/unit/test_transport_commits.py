"""Which offsets are committed, and what a seek in the middle of a commit leaves of it."""

import asyncio

from stream.chunks import Flow
from stream.connection import KafkaConnection
from stream.records import TopicPartition
from stream.transport import ChunkConsumer, TransportSettings
from stream.transport_thread import ConsumerSettings
from tests.consumed import Record

P0 = TopicPartition("t", 0)


class Kafka:
    """Where topics are confirmed and offsets committed; each call may be long, and something may happen in it."""

    def __init__(self) -> None:
        self.while_confirming = self.while_committing = lambda: None
        self.commits = []

    async def confirm(self, uuids) -> None:
        self.while_confirming()

    async def commit(self, offsets, uuids, answered) -> bool:
        self.while_committing()
        self.commits.append(offsets)
        return True


class Consumer(ChunkConsumer):
    """A consumer of one partition, without the threads that fetch."""

    def __init__(self, kafka: Kafka) -> None:
        self.told = []
        reading = ConsumerSettings(KafkaConnection(bootstrap=""), "g")
        self.settings = TransportSettings(reading, ("t",), 10, kafka, lambda *_: None, on_committed=self.told.append)
        self.flows = {"t": Flow("t", chunk_size=10)}
        self._uuids, self._bases, self._told, self._n_voids, self._thread = {}, {}, {}, 0, kafka

    def assignment(self):
        return {P0}

    def answer(self, first: int, n: int) -> None:
        flow = self.flows["t"]
        flow.put({P0: [Record("t", 0, first + i) for i in range(n)]})
        flow.acknowledge(flow.next(0.0))

    def commit_now(self) -> bool:
        return asyncio.run(self._commit_tps(None, False))


def test_what_was_acknowledged_is_committed_once():
    kafka = Kafka()
    consumer = Consumer(kafka)
    consumer.answer(0, 5)
    assert consumer.commit_now()
    assert not consumer.commit_now()
    assert kafka.commits == consumer.told == [{P0: 5}]


def test_nothing_is_committed_that_a_seek_voided_while_the_topic_was_being_confirmed():
    kafka = Kafka()
    consumer = Consumer(kafka)
    consumer.answer(0, 5)
    kafka.while_confirming = consumer._void
    assert not consumer.commit_now()
    assert kafka.commits == consumer.told == []


def test_a_seek_while_a_commit_is_under_way_is_not_overtaken_by_its_end():
    kafka = Kafka()
    consumer = Consumer(kafka)
    consumer.answer(0, 5)

    def seek() -> None:
        consumer._void()
        consumer.answer(2, 1)

    kafka.while_committing = seek
    assert consumer.commit_now()
    assert (kafka.commits, consumer.told, consumer._bases) == ([{P0: 5}], [], {})
    kafka.while_committing = lambda: None
    assert consumer.commit_now()
    assert consumer.told == [{P0: 3}]
