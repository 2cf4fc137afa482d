"""The embedded Kafka by itself, and the download it needs."""

import os

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic

from domain.errors import ConfigError
from service.embedded_jars import classpath
from service.embedded_kafka import Broker
from stream.topics import LARGEST_DEAD_LETTER_BYTES


def test_messages_and_address_survive_a_killed_broker(broker, kafka_prefix):
    topic, value = f"{kafka_prefix}large", os.urandom(LARGEST_DEAD_LETTER_BYTES - 1000)
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    admin.create_topics([NewTopic(topic, 1, 1, topic_configs={"max.message.bytes": str(LARGEST_DEAD_LETTER_BYTES)})])
    admin.close()
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap, max_request_size=LARGEST_DEAD_LETTER_BYTES)
    producer.send(topic, value).get(30)
    producer.close()
    address = broker.bootstrap
    broker.kill()
    assert broker.process is None
    broker.start()

    assert broker.bootstrap == address
    consumer = KafkaConsumer(bootstrap_servers=address, auto_offset_reset="earliest", consumer_timeout_ms=30_000)
    consumer.assign([TopicPartition(topic, 0)])
    assert next(consumer).value == value
    consumer.close()


def test_another_broker_on_our_port_is_not_taken_for_ours(broker, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "meta.properties").write_text("version=1\ncluster.id=ours\n")
    ours = Broker(tmp_path, heap_mb=256, retention_bytes=64 << 20, is_guarded=True)
    ours.adopt(broker.process, broker.port)

    assert broker.answers()
    assert not ours.answers()


def test_a_refused_download_says_what_to_do(tmp_path, monkeypatch):
    lines = []
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    for name in ("M2_REPO", "JGO_CACHE_DIR", "JGO_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match=r"cannot download Apache Kafka 4\.2\.0 .*refused.*proxy.*WEIR_KAFKA_BOOTSTRAP"):
        classpath(lines.append)

    assert lines == ["loading Apache Kafka 4.2.0 (once, about 45 MB)"]
    assert not list(tmp_path.rglob("*.jar"))


def test_a_broker_that_cannot_start_names_its_log(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "meta.properties").write_text("version=1\ncluster.id=x\nnode.id=99\n")
    with pytest.raises(ConfigError, match=r"Kafka ended while it started; its log .*server\.(log|out) ends with: "):
        Broker(tmp_path, heap_mb=256, retention_bytes=64 << 20, is_guarded=True).start()
