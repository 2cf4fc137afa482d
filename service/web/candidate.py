"""Train a candidate when an alarm begins: a child process, one at a time; it is registered and never promoted by itself."""

import asyncio
import sys
from asyncio.subprocess import Process
from pathlib import Path
from typing import Final

import structlog

from domain.control_event import ControlEvent

_log = structlog.get_logger()
_PATIENCE_S: Final = 1.0


class CandidateTraining:
    """Runs `weir train ARCHIVE`."""

    def __init__(self, *, config: Path | None, archive: Path, log: Path) -> None:
        """Prepare.

        Args:
            config: Settings file of the child; None: as found by itself.
            archive: What it trains on.
            log: File to which its words are appended.
        """
        options = ["--config", str(config)] if config is not None else []
        self._command = [sys.executable, "-m", "service", *options, "train", str(archive)]
        self._archive = archive
        self._log = log
        self._process: Process | None = None

    async def listener(self, event: ControlEvent) -> bool:
        """Start a training for an alarm that is open, unless one runs; the rest of its words change nothing."""
        if event.state == "ended" or event.severity != "alarm":
            return True
        if self._process is not None and self._process.returncode is None:
            return True
        if not self._archive.exists():
            _log.warning("no_candidate_trained", reason=f"there is no archive at {self._archive}; run weir archive", incident=event.id)
            return True
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output
            )  # fmt: skip
        _log.info("candidate_training_started", incident=event.id, pid=self._process.pid, log=str(self._log))
        return True

    async def close(self) -> None:
        """End a training that still runs: it leaves nothing behind."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _PATIENCE_S)
        except TimeoutError:
            process.kill()
