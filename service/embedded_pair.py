"""The embedded Kafka and Redis of one folder, brought up and ended together."""

from collections.abc import Callable, Iterator
from pathlib import Path

from service.embedded_kafka import Broker
from service.embedded_process import ProcessIdentity
from service.embedded_redis import RedisServer
from service.embedded_server import EmbeddedServer
from service.embedded_state import State, write_state
from service.settings import EmbeddedSettings

FOLDER = "embedded"
"""Data and logs, inside `embedded.directory`."""


class EmbeddedPair:
    """Both servers of a folder. The caller holds the folder's lock."""

    def __init__(self, settings: EmbeddedSettings, place: Path, *, is_guarded: bool, report: Callable[[str], None]) -> None:
        self.folder = place / FOLDER
        self.kafka = Broker(
            self.folder / "kafka",
            heap_mb=settings.kafka_heap_mb,
            retention_bytes=settings.retention_bytes,
            is_guarded=is_guarded,
            report=report,
        )
        self.redis = RedisServer(self.folder / "redis", is_guarded=is_guarded)
        self._place = place
        self._report = report

    def __iter__(self) -> Iterator[EmbeddedServer]:
        return iter((self.redis, self.kafka))

    def adopt(self, state: State) -> None:
        """Take over what runs already."""
        if state.kafka is not None:
            self.kafka.adopt(state.kafka, _port(state.bootstrap))
        if state.redis is not None:
            self.redis.adopt(state.redis, _port(state.redis_url))

    def bring_up(self, *, kafka: bool, redis: bool, owner: ProcessIdentity | None) -> State:
        """Start what is wanted and missing, both at the same time; return when all that is wanted answers.

        The state file is written before the first answer is awaited, so that a killed start leaves nothing unknown behind.

        Raises:
            ConfigError: One does not start; what was started here is stopped again.
        """
        wanted: list[EmbeddedServer] = [server for server, is_wanted in ((self.redis, redis), (self.kafka, kafka)) if is_wanted]
        missing = [server for server in wanted if server.process is None]
        try:
            for server in missing:
                self._report(f"starting {server.NAME}")
                server.launch()
                write_state(self._place, self.state(owner))
            for server in wanted:
                server.wait_until_ready()
            write_state(self._place, self.state(owner))
        except BaseException:
            self._end(missing)
            write_state(self._place, self.state(owner))
            raise
        return self.state(owner)

    def end(self) -> None:
        """Stop both and forget them."""
        self._end(list(self))
        write_state(self._place, State())

    def state(self, owner: ProcessIdentity | None = None) -> State:
        """Return what runs now."""
        kafka, redis = self.kafka.process, self.redis.process
        if kafka is None and redis is None:
            return State()
        return State(
            bootstrap=self.kafka.bootstrap if kafka else None,
            kafka=kafka,
            redis_url=self.redis.url if redis else None,
            redis=redis,
            owner=owner,
        )

    @staticmethod
    def _end(servers: list[EmbeddedServer]) -> None:
        for server in servers:
            server.ask_to_stop()
        for server in servers:
            server.stop()


def _port(address: str | None) -> int:
    """Return the port of `host:port` or `redis://host:port/0`."""
    return int((address or "").removesuffix("/0").rpartition(":")[2])
