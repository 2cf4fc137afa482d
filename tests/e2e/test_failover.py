"""Redis dies under load and its replica takes over: nothing is lost, nothing counts twice, no answer differs in silence."""

from collections.abc import Iterator

import msgspec
import pytest
import redis

from service.embedded_redis import RedisServer
from service.settings import RedisSettings
from tests.e2e.crash_matrix import figures
from tests.e2e.crash_world import make_world
from tests.e2e.exactness import await_parked, examine
from tests.e2e.forwarder import HOST, Forwarder
from tests.e2e.installation import Installation, until
from tests.e2e.load import Load


class Pair:
    """A primary and its replica, behind one address that always leads to the primary."""

    def __init__(self, folder) -> None:
        self.primary = RedisServer(folder / "primary", is_guarded=True)
        self.replica = RedisServer(folder / "replica", is_guarded=True)
        self.primary.start()
        self.replica.start()
        with redis.Redis(host=HOST, port=self.replica.port) as client:
            client.config_set("repl-diskless-load", "swapdb")
            client.replicaof(HOST, self.primary.port)
            until(lambda: client.info("replication")["master_link_status"] == "up", "the replica does not follow")
        self.address = Forwarder(self.primary.port)

    def fail_over(self) -> None:
        """Kill the primary, promote the replica, move the address."""
        self.primary.kill()
        with redis.Redis(host=HOST, port=self.replica.port) as client:
            client.replicaof("NO", "ONE")
        self.address.restore(self.replica.port)

    def follow_again(self) -> None:
        """Start the dead primary as the replica of the new one."""
        self.primary.start()
        with redis.Redis(host=HOST, port=self.primary.port) as client:
            client.replicaof(HOST, self.replica.port)

    def detach(self) -> None:
        """Let the replica miss what the primary takes from now on."""
        with redis.Redis(host=HOST, port=self.replica.port) as client:
            client.replicaof(HOST, 1)

    def close(self) -> None:
        self.address.refuse()
        self.primary.kill()
        self.replica.kill()


@pytest.fixture
def pair(tmp_path) -> Iterator[Pair]:
    found = Pair(tmp_path)
    yield found
    found.close()


@pytest.fixture
def replicated(trained, broker, pair, kafka_prefix, tmp_path) -> Iterator[Installation]:
    found = Installation(tmp_path, bootstrap=broker.bootstrap, redis_url=pair.address.url, prefix=kafka_prefix, registry=trained.registry)
    yield found
    found.close()


def waiting_for(n_replicas: int) -> dict[str, str]:
    """Return the environment of a worker that waits for so many replicas before it commits."""
    has_setting = "wait_replicas" in {field.name for field in msgspec.structs.fields(RedisSettings)}
    return {"WEIR_REDIS_WAIT_REPLICAS": str(n_replicas)} if has_setting else {}


@pytest.mark.parametrize("n_replicas", [1, 0], ids=["waiting for the replica", "not waiting"])
def test_a_promoted_replica_goes_on_where_the_dead_primary_was(replicated, pair, monkeypatch, n_replicas):
    for name, value in waiting_for(n_replicas).items():
        monkeypatch.setenv(name, value)
    for _ in range(2):
        replicated.start_worker()
    world = make_world(12_000, seed=11, batch_size=300)
    with Load(replicated, world) as load:
        until(lambda: replicated.n_records("scores.v1") > 1_500, "no answers: " + replicated.logs())
        if not n_replicas:
            pair.detach()
            before = replicated.n_records("scores.v1")
            until(lambda: replicated.n_records("scores.v1") > before + 1_000, "no answers: " + replicated.logs())
        pair.fail_over()
        if n_replicas:
            pair.follow_again()
        answered = replicated.n_records("scores.v1")
        until(lambda: replicated.n_records("scores.v1") > answered + 1_500, "it does not go on: " + replicated.logs())
        n_sent = load.stop()
    until(lambda: replicated.committed("transactions.v1") == n_sent, "not everything is committed: " + replicated.logs())
    await_parked(replicated.settings)
    found = examine(replicated.settings, most_approximate=0.1, parks_labels=True, has_lost_writes=not n_replicas)
    print(figures(found))
    assert found.violations == [], figures(found)
