from pathlib import Path

import pytest

from service.embedded_jars import pinned_digests
from service.embedded_kafka import properties
from service.embedded_server import free_ports
from stream.topics import LARGEST_DEAD_LETTER_BYTES, TOPICS


def written(retention_bytes):
    return dict(line.split("=", 1) for line in properties((21000, 21001), retention_bytes=retention_bytes).splitlines())


@pytest.mark.parametrize("retention_bytes", [256 << 20, 2 << 30, 10 << 30])
def test_all_topics_together_keep_no_more_than_the_retention_set(retention_bytes):
    found = written(retention_bytes)
    partitions = sum(topic.partitions for topic in TOPICS) + int(found["offsets.topic.num.partitions"])

    assert partitions * (int(found["log.retention.bytes"]) + int(found["log.segment.bytes"])) <= retention_bytes


def test_the_largest_dead_letter_fits_into_a_message_and_a_segment_even_with_the_smallest_retention():
    found = written(64 << 20)

    assert int(found["message.max.bytes"]) > LARGEST_DEAD_LETTER_BYTES
    assert int(found["replica.fetch.max.bytes"]) > LARGEST_DEAD_LETTER_BYTES
    assert int(found["log.segment.bytes"]) > int(found["message.max.bytes"])


def test_nothing_listens_beyond_loopback():
    found = written(2 << 30)

    assert found["listeners"] == "PLAINTEXT://127.0.0.1:21000,CONTROLLER://127.0.0.1:21001"
    assert found["advertised.listeners"] == "PLAINTEXT://127.0.0.1:21000"


def test_every_jar_of_kafka_has_a_pinned_digest_and_one_version():
    pinned = pinned_digests()
    names = [Path(path).parts[-3] for path in pinned]

    assert len(names) == len(set(names))
    assert "org/apache/kafka/kafka-clients/4.2.0/kafka-clients-4.2.0.jar" in pinned
    assert all(len(digest) == 64 for digest in pinned.values())


def test_ports_chosen_together_differ():
    assert len(set(free_ports(50))) == 50
