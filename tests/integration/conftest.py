"""Redis as the tests of this folder share it: one server, and a cluster of three masters."""

from collections.abc import Iterator

import pytest

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
