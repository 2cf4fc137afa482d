"""The embedded Kafka: one real Apache Kafka broker in KRaft mode on loopback."""

import base64
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from domain.errors import ConfigError
from service.embedded_jars import classpath, java_program
from service.embedded_server import HOST, EmbeddedServer
from stream.topics import LARGEST_DEAD_LETTER_BYTES, TOPICS

_MIB = 1 << 20
_OFFSETS_PARTITIONS = 4
_SMALLEST_SEGMENT_BYTES = 4 * _MIB
_LARGEST_SEGMENT_BYTES = 64 * _MIB
_LARGEST_MESSAGE_BYTES = LARGEST_DEAD_LETTER_BYTES + 64 * 1024
_FORMAT_WITHIN_S = 60

_LOGGING = """\
status = error
appender.file.type = RollingFile
appender.file.name = file
appender.file.fileName = server.log
appender.file.filePattern = server.log.%i
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d %p %m (%c)%n%throwable
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 10MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 2
rootLogger.level = info
rootLogger.appenderRef.file.ref = file
"""


class Broker(EmbeddedServer):
    """A broker of one node; its data survive every kind of end."""

    NAME: ClassVar[str] = "Kafka"
    N_PORTS: ClassVar[int] = 2
    FILES: ClassVar[tuple[str, ...]] = ("data", "server.properties", "log4j2.properties", "server.log", "server.log.[0-9]*", "server.out")

    def __init__(
        self,
        directory: Path,
        *,
        heap_mb: int,
        retention_bytes: int,
        is_guarded: bool,
        report: Callable[[str], None] = lambda _line: None,
    ) -> None:
        """Describe a broker; nothing is started.

        Args:
            directory: Folder of data, settings and logs; made at the start.
            heap_mb: Java heap, MB.
            retention_bytes: Most bytes kept in all topics of the contract together.
            is_guarded: True = it ends with this process, even if that is killed; False = it outlives this process.
            report: Gets a line before anything that takes long.
        """
        super().__init__(directory, is_guarded=is_guarded)
        self._heap_mb = heap_mb
        self._retention_bytes = retention_bytes
        self._report = report

    @property
    def bootstrap(self) -> str:
        """Address for clients."""
        return f"{HOST}:{self.port}"

    @property
    def _marker(self) -> Path:
        """File that Kafka's formatting writes last."""
        return self.directory / "data" / "meta.properties"

    def _prepare(self, ports: tuple[int, ...]) -> list[str]:
        java = [java_program(), "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-cp", classpath(self._report)]
        (self.directory / "server.properties").write_text(properties(ports, retention_bytes=self._retention_bytes), "utf-8")
        (self.directory / "log4j2.properties").write_text(_LOGGING, "utf-8")
        if not self._marker.exists():
            self._format(java)
        return [
            java[0], f"-Xmx{self._heap_mb}m", f"-Xms{min(self._heap_mb, 256)}m", "-XX:+ExitOnOutOfMemoryError",
            "-Dlog4j2.configurationFile=log4j2.properties", *java[1:], "kafka.Kafka", "server.properties",
        ]  # fmt: skip

    def _format(self, java: list[str]) -> None:
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode("ascii").rstrip("=")
        command = [*java, "kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "--config=server.properties"]
        try:
            done = subprocess.run(command, cwd=self.directory, capture_output=True, text=True, check=False, timeout=_FORMAT_WITHIN_S)
        except subprocess.TimeoutExpired as error:
            raise ConfigError(f"Kafka could not prepare its folder {self.directory} within {_FORMAT_WITHIN_S} s") from error
        # A start that was killed may have left its own formatting under way: whose came first does not matter.
        if done.returncode != 0 and not self._marker.exists():
            lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
            raise ConfigError(f"Kafka could not prepare its folder {self.directory}: {lines[0] if lines else 'no reason given'}")

    def _answers(self, pid: int) -> bool:  # noqa: ARG002 - Kafka tells its cluster, not its pid
        from kafka import KafkaAdminClient
        from kafka.errors import KafkaError

        try:
            client = KafkaAdminClient(bootstrap_servers=self.bootstrap, bootstrap_timeout_ms=5000, request_timeout_ms=5000)
            try:
                answer = client.describe_cluster()
            finally:
                client.close()
        except KafkaError:
            return False
        return answer["cluster_id"] == self._cluster() and any(not broker["is_fenced"] for broker in answer["brokers"])

    def _cluster(self) -> str:
        lines = self._marker.read_text("utf-8").splitlines()
        return next(line.removeprefix("cluster.id=") for line in lines if line.startswith("cluster.id="))


def properties(ports: tuple[int, ...], *, retention_bytes: int) -> str:
    """Return the broker's settings file.

    The topics of the contract together keep at most about `retention_bytes`: each partition gets an equal share, and as
    Kafka deletes whole segments only, one segment of the share is room for the one being written.

    Args:
        ports: For clients, for the controller.
        retention_bytes: Most bytes kept in all.
    """
    client, controller = ports
    share_bytes = retention_bytes // (sum(topic.partitions for topic in TOPICS) + _OFFSETS_PARTITIONS)
    segment_bytes = min(max(share_bytes // 4, _SMALLEST_SEGMENT_BYTES), _LARGEST_SEGMENT_BYTES)
    found = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{HOST}:{controller}",
        "listeners": f"PLAINTEXT://{HOST}:{client},CONTROLLER://{HOST}:{controller}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{client}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        # Relative, so that no character of the folder's path needs escaping.
        "log.dirs": "data",
        "num.partitions": 4,
        "num.io.threads": 2,
        "num.network.threads": 2,
        "auto.create.topics.enable": "false",
        "offsets.topic.num.partitions": _OFFSETS_PARTITIONS,
        "offsets.topic.replication.factor": 1,
        "transaction.state.log.num.partitions": 2,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "group.initial.rebalance.delay.ms": 0,
        # A killed broker may register again only when its old session is over (9 s by default).
        "broker.session.timeout.ms": 4000,
        "broker.heartbeat.interval.ms": 500,
        "message.max.bytes": _LARGEST_MESSAGE_BYTES,
        "replica.fetch.max.bytes": _LARGEST_MESSAGE_BYTES,
        "log.retention.bytes": max(share_bytes - segment_bytes, _MIB),
        "log.segment.bytes": segment_bytes,
        "log.retention.check.interval.ms": 10_000,
        "log.segment.delete.delay.ms": 1000,
        "log.index.size.max.bytes": _MIB,
    }
    return "".join(f"{name}={value}\n" for name, value in found.items())
