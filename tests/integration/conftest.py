"""What the tests of this folder share: topics of their own, and Redis as one server and as a cluster of three masters."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.embedded_kafka import Broker
from stream.connection import KafkaConnection
from stream.topic_admin import create
from tests.integration.redis_nodes import Cluster, RedisNode, Site, cluster, single


@pytest.fixture(scope="package")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisNode]:
    """One server. Leave it running, and as it was configured."""
    with single(tmp_path_factory.mktemp("single")) as found:
        yield found


@pytest.fixture(scope="package")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of three masters. Leave them running, and as they were configured; slots may have moved."""
    with cluster(tmp_path_factory.mktemp("cluster")) as found:
        yield found


@pytest.fixture
def single_site(node: RedisNode) -> Site:
    """The server, emptied."""
    return Site([node])


@pytest.fixture
def cluster_site(three: Cluster) -> Site:
    """The cluster, emptied."""
    return Site(three.nodes)


@pytest.fixture(params=["single", "cluster"])
def site(request: pytest.FixtureRequest) -> Site:
    """Each of them, in turn."""
    found: Site = request.getfixturevalue(f"{request.param}_site")
    return found


@pytest.fixture
def connection(broker: Broker, kafka_prefix: str) -> KafkaConnection:
    """How to reach the session's Kafka, with topics that no other test has."""
    connection = KafkaConnection(bootstrap=broker.bootstrap, prefix=kafka_prefix)
    create(connection)
    return connection


@pytest.fixture
def environment(connection: KafkaConnection, tmp_path: Path) -> dict[str, str]:
    """The environment of commands on these topics."""
    named = {"WEIR_KAFKA_BOOTSTRAP": connection.bootstrap, "WEIR_KAFKA_PREFIX": connection.prefix, "WEIR_EMBEDDED_DIRECTORY": str(tmp_path)}
    return os.environ | named
