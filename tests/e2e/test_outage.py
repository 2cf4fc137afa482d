"""No Redis for a while, under load: nothing is lost or counted twice, and whoever has to leave leaves in time."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator

import msgspec
import pytest

from service.settings import ScoringSettings
from tests.e2e.crash_matrix import figures
from tests.e2e.crash_world import make_world
from tests.e2e.exactness import await_parked, examine
from tests.e2e.forwarder import Forwarder
from tests.e2e.installation import Installation, until
from tests.e2e.load import Load

OUTAGE_S = float(os.environ.get("OUTAGE_TEST_S", "6"))
HAS_SETTING = "on_outage" in {field.name for field in msgspec.structs.fields(ScoringSettings)}
#: Without the setting a worker pauses.
MODES = ("pause", "degrade") if HAS_SETTING else ("pause",)


@pytest.fixture
def link(redis_server) -> Iterator[Forwarder]:
    found = Forwarder(redis_server.port)
    yield found
    found.refuse()


@pytest.fixture
def other_link(redis_server) -> Iterator[Forwarder]:
    found = Forwarder(redis_server.port)
    yield found
    found.refuse()


@pytest.fixture
def linked(trained, broker, redis_url, link, kafka_prefix, tmp_path) -> Iterator[Installation]:
    """As `installation`, Redis behind `link`; `redis_url` empties it."""
    found = Installation(tmp_path, bootstrap=broker.bootstrap, redis_url=link.url, prefix=kafka_prefix, registry=trained.registry)
    yield found
    found.close()


def leave(worker: subprocess.Popen[bytes]) -> float:
    """Send SIGTERM; return the seconds until the worker has left with exit code 0."""
    began_s = time.monotonic()
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 0
    return time.monotonic() - began_s


def n_members(installation: Installation) -> int:
    """Return how many workers share the partitions of a stable group."""
    from kafka.admin import KafkaAdminClient

    admin = KafkaAdminClient(bootstrap_servers=installation.bootstrap)
    group = installation.connection.group(installation.settings.kafka.group)
    described = admin.describe_groups([group])[group]
    admin.close()
    return len(described["members"]) if described["group_state"] == "Stable" else 0


@pytest.mark.parametrize("mode", MODES)
def test_an_outage_with_a_worker_that_joins_and_one_that_leaves_loses_nothing(linked, link, other_link, redis_server, monkeypatch, mode):
    if HAS_SETTING:
        monkeypatch.setenv("WEIR_SCORING_ON_OUTAGE", mode)
    first, second = linked.start_worker(), linked.start_worker()
    world = make_world(15_000, seed=12, batch_size=100)
    with Load(linked, world) as load:
        until(lambda: linked.n_records("scores.v1") > 1_000, "no answers: " + linked.logs())
        monkeypatch.setenv("WEIR_REDIS_URL", other_link.url)  # the third still reaches Redis while it starts
        link.silence()
        began_s = time.monotonic()
        third = linked.start_worker()
        until(lambda: n_members(linked) == 3, "the third worker did not join: " + linked.logs())
        joined_s = time.monotonic() - began_s
        other_link.refuse()
        left_s = leave(first)
        before, cut_s = linked.n_records("scores.v1"), time.monotonic()
        until(lambda: time.monotonic() - cut_s > OUTAGE_S, "time went backwards")
        n_answered = linked.n_records("scores.v1") - before
        abandoned_s = leave(third)
        link.restore()
        other_link.restore()
        restored_s, n_waiting = time.monotonic(), linked.n_records("transactions.v1")
        until(lambda: linked.n_records("scores.v1") > before + n_answered + 500, "it does not go on: " + linked.logs())
        resumed_s = time.monotonic() - restored_s
        until(lambda: linked.committed("transactions.v1") >= n_waiting, "what waited is not committed: " + linked.logs())
        drained_s = time.monotonic() - restored_s
        linked.start_worker()
        n_sent = load.stop()
    until(lambda: linked.committed("transactions.v1") == n_sent, "not everything is committed: " + linked.logs())
    await_parked(linked.settings)
    found = examine(linked.settings, most_approximate=0.1, parks_labels=True)
    left = f"left {left_s:.1f} s and {abandoned_s:.1f} s"
    print(f"{mode}: joined {joined_s:.1f} s, {left}, resumed {resumed_s:.1f} s, drained {drained_s:.1f} s", figures(found), sep="\n")
    assert second.poll() is None, linked.logs()
    assert max(left_s, abandoned_s) < 10.0
    assert n_answered == 0 or mode == "degrade"
    assert n_answered > 0 or mode == "pause"
    assert found.violations == [], figures(found)
