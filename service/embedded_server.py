"""What the embedded Kafka and Redis have in common: ports, launch, readiness, end."""

import secrets
import shutil
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from domain.errors import ConfigError
from service.embedded_process import ChildProcess, ProcessIdentity, spawn

HOST = "127.0.0.1"
# Below the range that systems give to outgoing connections: a client that keeps knocking at a port of that range while
# the server restarts can connect to itself and hold the port.
_PORTS = range(20_000, 32_000)
_ATTEMPTS = 5
_POLL_S = 0.05
_READY_WITHIN_S = 120.0


class EmbeddedServer(ABC):
    """One server of ours on loopback, its files under one folder.

    The first start chooses free ports; a later `start` of the same object uses the same ports and files.
    Not safe for several threads.
    """

    NAME: ClassVar[str]
    N_PORTS: ClassVar[int]
    PATIENCE_S: ClassVar[float] = 20.0
    """From the request to end until the process is killed."""
    FILES: ClassVar[Sequence[str]]
    """Patterns of everything that the server makes in its folder."""

    def __init__(self, directory: Path, *, is_guarded: bool) -> None:
        """Describe a server; nothing is started.

        Args:
            directory: Folder of its data, settings and logs; made at the start.
            is_guarded: True = it ends with this process, even if that is killed; False = it outlives this process.
        """
        self.directory = directory.absolute()
        self._is_guarded = is_guarded
        self._process: ChildProcess | None = None
        self._ports: tuple[int, ...] = ()
        self._may_move = False

    @property
    def port(self) -> int:
        """Port for clients; 0 before the first start."""
        return self._ports[0] if self._ports else 0

    @property
    def process(self) -> ProcessIdentity | None:
        """The running process, None if there is none."""
        return self._process.identity if self._process is not None and self._process.is_alive else None

    def adopt(self, process: ProcessIdentity, port: int) -> None:
        """Take over a server of this folder that another process has started."""
        self._process = ChildProcess(process)
        self._ports = (port,)

    def start(self) -> None:
        """Start and return when the server answers a real request.

        Raises:
            ConfigError: It does not start; the message names its log.
        """
        self.launch()
        self.wait_until_ready()

    def launch(self) -> None:
        """Start the process without waiting for its first answer.

        Raises:
            ConfigError: The folder cannot be written or the program cannot be started.
        """
        if self._process is not None and self._process.is_alive:
            raise ConfigError(f"{self.NAME} already runs here; stop it first")
        if not self._ports:
            self._ports, self._may_move = free_ports(self.N_PORTS), True
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            command = self._prepare(self._ports)
            self._process = spawn(command, directory=self.directory, output=self.output, is_guarded=self._is_guarded)
        except OSError as error:
            raise ConfigError(f"cannot write {error.filename or self.directory}: {error.strerror}; see embedded.directory") from error

    def wait_until_ready(self) -> None:
        """Return when the launched server has answered a real request.

        A port that another program took between choice and use is replaced, at the first start only.

        Raises:
            ConfigError: It ended or stayed silent; the message names its log.
        """
        deadline_s = time.monotonic() + _READY_WITHIN_S
        attempts = 1
        while not self.answers():
            assert self._process is not None
            if not self._process.is_alive:
                if not self._may_move or attempts == _ATTEMPTS or not self._has_lost_a_port():
                    raise ConfigError(f"{self.NAME} ended while it started; {self.last_words()}")
                self._ports, attempts = (), attempts + 1
                self.launch()
            elif time.monotonic() > deadline_s:
                self.kill()
                raise ConfigError(f"{self.NAME} did not answer within {_READY_WITHIN_S:.0f} s; {self.last_words()}")
            time.sleep(_POLL_S)
        self._may_move = False

    def answers(self) -> bool:
        """Return whether this very server, not another on its port, answers a real request now."""
        if self._process is None or not self._process.is_alive:
            return False
        try:
            socket.create_connection((HOST, self.port), 1.0).close()
        except OSError:
            return False
        return self._answers(self._process.identity.pid)

    def ask_to_stop(self) -> None:
        """Send the signal to end and return at once."""
        if self._process is not None:
            self._process.terminate()

    def stop(self) -> None:
        """End by signal, the hard one after `PATIENCE_S`; gone when this returns. Harmless when it does not run."""
        if self._process is not None:
            self._process.stop(self.PATIENCE_S)

    def kill(self) -> None:
        """End at once (SIGKILL), as a crash would; gone when this returns."""
        if self._process is not None:
            self._process.kill()

    @property
    def output(self) -> Path:
        """File with what the process printed."""
        return self.directory / "server.out"

    @property
    def log(self) -> Path:
        """File with the server's own log."""
        return self.directory / "server.log"

    def last_words(self) -> str:
        """Return one sentence with the log's name and its last line."""
        for path in (self.log, self.output):
            if path.exists() and (lines := path.read_text("utf-8", "replace").strip().splitlines()):
                return f"its log {path} ends with: {lines[-1][:300]}"
        return f"it left no log in {self.directory}"

    def purge(self) -> None:
        """Remove everything that the server made, and its folder if nothing else is in it."""
        for pattern in self.FILES:
            for path in self.directory.glob(pattern):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()
        if self.directory.exists() and not any(self.directory.iterdir()):
            self.directory.rmdir()

    @abstractmethod
    def _prepare(self, ports: tuple[int, ...]) -> list[str]:
        """Write what the server needs and return its command line."""

    @abstractmethod
    def _answers(self, pid: int) -> bool:
        """Make a real request and compare the answering server's identity with ours."""

    def _has_lost_a_port(self) -> bool:
        return not all(_is_free(port) for port in self._ports)


def free_ports(n_ports: int) -> tuple[int, ...]:
    """Return different ports of loopback that were free a moment ago."""
    found: list[int] = []
    while len(found) < n_ports:
        port = secrets.choice(_PORTS)
        if port not in found and _is_free(port):
            found.append(port)
    return tuple(found)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
