"""A worker (or another command) as a child process that is started again when it ends by itself."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from service.embedded_process import ChildProcess, spawn

_LOOK_S: Final = 0.2
_PATIENCE_S: Final = 12.0
_MOST_RESTARTS: Final = 10


class SupervisedWorker:
    """Runs `weir worker` until it is stopped; it ends with this process, even if this process is killed."""

    def __init__(self, *, config: Path, log: Path, command: Sequence[str] = ("worker",)) -> None:
        """Prepare.

        Args:
            config: Settings file of the worker.
            log: File to which its log is appended.
            command: Of `weir` with its options, if it is another one.
        """
        self._name = command[0]
        self._command = [sys.executable, "-m", "service", "--config", str(config.resolve()), *command]
        self.log = log
        self._child: ChildProcess | None = None
        self.restarts = 0

    def start(self) -> None:
        """Start the worker."""
        self._child = spawn(self._command, directory=Path.cwd(), output=self.log, is_guarded=True)

    @property
    def pid(self) -> int | None:
        """Of the worker that runs now."""
        return self._child.identity.pid if self._child is not None and self._child.is_alive else None

    async def watch(self, stop: asyncio.Event) -> None:
        """Start the worker again whenever it ends, until `stop` is set.

        Raises:
            RuntimeError: It ended too often; its log says why.
        """
        while not stop.is_set():
            if self._child is not None and not self._child.is_alive:
                if self.restarts >= _MOST_RESTARTS:
                    raise RuntimeError(f"weir {self._name} ended {self.restarts} times; {self.log} says why")
                self.restarts += 1
                await asyncio.to_thread(self.start)
            await asyncio.sleep(_LOOK_S)

    def stop(self) -> None:
        """Let the worker drain and leave."""
        if self._child is not None:
            self._child.stop(_PATIENCE_S)
            self._child = None
