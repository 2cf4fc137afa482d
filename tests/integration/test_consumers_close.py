"""Consumers close when their broker is gone."""

import asyncio

import pytest

from service.archive_source import ArchiveSource
from service.partition_reading import PartitionReader
from service.tailing import Tail
from stream.connection import KafkaConnection
from stream.topic_admin import create
from stream.topics import SCORES, TRANSACTIONS


@pytest.fixture
def connection(broker, kafka_prefix):
    connection = KafkaConnection(bootstrap=broker.bootstrap, prefix=kafka_prefix)
    create(connection)
    yield connection
    broker.kill()
    broker.start()


def test_consumers_close_while_their_broker_is_gone(connection, broker, tmp_path):
    async def open_and_close():
        topic, stop = connection.topic(SCORES), asyncio.Event()
        async with (
            Tail(connection, [topic], from_beginning=True, until_end=False) as tail,
            ArchiveSource(connection, tmp_path, [TRANSACTIONS.name]) as source,
            PartitionReader(connection) as reader,
        ):
            reading = [
                asyncio.create_task(anext(tail.batches(stop), None)),
                asyncio.create_task(anext(reader.records(topic, 0, 0, 1), None)),
            ]
            await source.read()
            await asyncio.to_thread(broker.kill)
            stop.set()
            reading.pop().cancel()
            assert await reading.pop() is None
        return "closed"

    assert asyncio.run(open_and_close()) == "closed"
