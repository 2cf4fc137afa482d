"""Fixtures of all tests: a real Kafka and a real Redis for the session, started by the first test that asks for one."""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from hypothesis import HealthCheck, settings

from service.embedded_kafka import Broker
from service.embedded_redis import RedisServer

settings.register_profile("ci", max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("nightly", max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """The session's Kafka: `.bootstrap`, and `.kill() .stop() .start()` (same port and data). Leave it running."""
    server = Broker(tmp_path_factory.mktemp("kafka"), heap_mb=512, retention_bytes=4 << 30, is_guarded=True)
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """The session's Redis: `.url`, and `.kill() .stop() .start()` (same port and data). Leave it running."""
    server = RedisServer(tmp_path_factory.mktemp("redis"), is_guarded=True)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """Address of the session's Redis; emptied before each test that asks for it (function libraries stay)."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


@pytest.fixture
def redis_client(redis_url: str) -> Iterator[redis.Redis]:
    """A client (bytes answers) of the session's Redis, which is empty."""
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def kafka_prefix() -> str:
    """A prefix for topics and groups that no other test has."""
    return f"t{secrets.token_hex(4)}."


@pytest.fixture
def embedded_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder for embedded services of the test's own; whatever still runs there afterwards is ended."""
    folder = tmp_path / "var"
    yield folder
    from service.embedded_process import ChildProcess
    from service.embedded_state import read_state

    state = read_state(folder)
    for process in (state.kafka, state.redis):
        if process is not None:
            ChildProcess(process).kill()
