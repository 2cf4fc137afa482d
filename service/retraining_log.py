"""Retrainings of a registry: one at a time, and what came of each, kept in the folder `retraining` of the registry."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

import msgspec

from domain.errors import ModelError
from models.gate import Verdict

_FOLDER: Final = "retraining"
_TURN: Final = "lock"
_LOG: Final = "log.jsonl"

RetrainingOutcome = Literal["shadow", "registered", "refused", "unchanged", "failed"]


class Retraining(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One attempt to train a candidate."""

    outcome: RetrainingOutcome
    """shadow: it passed and is on trial; registered: it passed and waits, as another trial is under way; refused: by the gate;
    unchanged: it is the champion, or on trial already; failed: there is no candidate."""
    sentence: str
    """What came of it, for people."""
    archive: str
    """What it was trained on."""
    begun_ms: int
    """Wall clock."""
    ended_ms: int
    """Wall clock."""
    why: str = ""
    """What made it necessary; empty: somebody wanted it."""
    model: str = ""
    """`name@version` of the candidate."""
    champion: str = ""
    """`name@version` that it was compared with."""
    n_transactions: int = 0
    """Of the archive."""
    n_labels: int = 0
    """Transactions of the archive with a label of their own."""
    notes: tuple[str, ...] = ()
    """What a person should know about the training."""
    verdict: Verdict | None = None
    """Of the gate; it also stands beside the bundle."""


class RetrainingLog:
    """What came of retrainings, one line an attempt.

    Args:
        registry: Folder of the registry; made if there is none.
    """

    def __init__(self, registry: Path) -> None:
        self._folder = registry / _FOLDER

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Be the only one that retrains, among all processes that share the folder; it ends with the process at the latest.

        Raises:
            ModelError: Another one is at work.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / _TURN).open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                raise ModelError(
                    f"another retraining of this registry is at work (process {lock.read() or 'unknown'}); wait for it"
                ) from None
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            yield

    def append(self, found: Retraining) -> None:
        """Keep what came of an attempt; whoever has the turn may."""
        with (self._folder / _LOG).open("ab") as log:
            log.write(msgspec.json.encode(found) + b"\n")
            log.flush()
            os.fsync(log.fileno())

    def last(self) -> Retraining | None:
        """Return the last attempt, None if there was none; a line cut short by a crash does not count."""
        try:
            lines = (self._folder / _LOG).read_bytes().splitlines()
        except FileNotFoundError:
            return None
        for line in reversed(lines):
            try:
                return msgspec.json.decode(line, type=Retraining)
            except msgspec.DecodeError:
                continue
        return None
