"""Retrain when an alarm begins: a child process, one at a time and at most one a day; what came of it is told.

The child is `weir retrain`: a candidate that passes the gate goes into the shadow. Nothing here makes a champion.
"""

import asyncio
import sys
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import structlog

from domain.control_event import ControlEvent
from domain.errors import WeirError
from domain.retraining_event import RetrainingEvent
from service.retraining_log import Retraining, RetrainingLog
from service.times import now_ms
from service.web.answers import Notice, State

_log = structlog.get_logger()
_PATIENCE_S: Final = 1.0
DAY_MS: Final = 86_400_000
"""At least so long lies between the beginnings of two retrainings, whoever began the one before."""
_STATES: Final[dict[str, State]] = {"refused": "attention", "failed": "attention"}

Teller = Callable[[RetrainingEvent], Awaitable[None]]
"""Is told what came of a retraining."""


class CandidateTraining:
    """Runs `weir retrain`."""

    def __init__(
        self, *, config: Path | None, archive: Path, log: Path, registry: Path, tell: Teller | None = None,
        clock_ms: Callable[[], int] = now_ms,
    ) -> None:  # fmt: skip
        """Prepare.

        Args:
            config: Settings file of the child; None: as found by itself.
            archive: What it trains on.
            log: File to which its words are appended.
            registry: Folder of the registry, which knows the retrainings so far.
            tell: Told what came of each one that was begun here; None: nobody.
            clock_ms: Wall clock.
        """
        options = ["--config", str(config)] if config is not None else []
        self._command = [sys.executable, "-m", "service", *options, "retrain", "--archive", str(archive), "--why"]
        self._archive = archive
        self._log = log
        self._retrainings = RetrainingLog(registry)
        self._tell = tell
        self._clock_ms = clock_ms
        self._process: Process | None = None
        self._end: asyncio.Task[None] | None = None

    async def listener(self, event: ControlEvent) -> bool:
        """Begin a retraining for an alarm that is open, unless one runs or began within a day; the rest of its words change nothing."""
        if event.state == "ended" or event.severity != "alarm":
            return True
        if self._process is not None and self._process.returncode is None:
            return True
        if (reason := self._objection()) is not None:
            _log.warning("no_candidate_trained", reason=reason, incident=event.id)
            return True
        self._log.parent.mkdir(parents=True, exist_ok=True)
        begun_ms = self._clock_ms()
        with self._log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, f"alarm {event.kind}: {event.sentence}", stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output
            )  # fmt: skip
        _log.info("candidate_training_started", incident=event.id, pid=self._process.pid, log=str(self._log))
        self._end = asyncio.create_task(self._await_end(self._process, event.id, begun_ms))
        return True

    def notice(self) -> Notice | None:
        """Return what came of the last retraining, whoever began it, if that was within a day."""
        last = self._retrainings.last()
        if last is None or last.ended_ms < self._clock_ms() - DAY_MS:
            return None
        return Notice(state=_STATES.get(last.outcome, "well"), text=f"Retraining: {last.outcome}: {last.sentence}", href="/models")

    async def close(self) -> None:
        """End a retraining that still runs: it leaves nothing behind, and nothing is told of it."""
        if self._end is not None:
            self._end.cancel()
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _PATIENCE_S)
        except TimeoutError:
            process.kill()

    def _objection(self) -> str | None:
        if not self._archive.exists():
            return f"there is no archive at {self._archive}; run weir archive"
        last = self._retrainings.last()
        if last is not None and last.begun_ms > self._clock_ms() - DAY_MS:
            return "a retraining began within the last 24 hours; there is at most one a day"
        return None

    async def _await_end(self, process: Process, incident: str, begun_ms: int) -> None:
        code = await process.wait()
        last = self._retrainings.last()
        event = _event(last if last is not None and last.begun_ms >= begun_ms else None, code, incident, self._clock_ms(), self._log)
        _log.info("candidate_training_ended", incident=incident, outcome=event.outcome, sentence=event.sentence)
        if self._tell is None:
            return
        try:
            await self._tell(event)
        except WeirError as error:
            _log.warning("candidate_training_not_told", incident=incident, error=str(error))


def _event(found: Retraining | None, code: int, incident: str, at_ms: int, log: Path) -> RetrainingEvent:
    if found is None:
        sentence = f"weir retrain ended with exit code {code} and left no word; what it said is in {log}"
        return RetrainingEvent(event="retraining", id="retraining", at_ms=at_ms, incident=incident, outcome="failed", sentence=sentence)
    return RetrainingEvent(
        event="retraining", id="retraining", at_ms=at_ms, incident=incident, outcome=found.outcome, model=found.model,
        champion=found.champion, sentence=found.sentence,
    )  # fmt: skip
