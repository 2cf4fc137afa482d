"""What happened in a registry, and what is in force: one file that is only appended to, one line an event."""

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal, NamedTuple

import msgspec

from domain.errors import ModelError

CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"
PREVIOUS: Final = "previous"
EventName = Literal["registered", "promoted", "rolled_back", "shadow", "canary", "ended", "policy", "collected"]


class Rollout(msgspec.Struct, frozen=True):
    """A model on trial beside the champion; it is the alias `challenger`."""

    mode: Literal["shadow", "canary"]
    """shadow: it scores everything and decides nothing; canary: it decides for a share of the cards."""
    model: str
    """`name@version`."""
    percent: float
    """Cards that it decides for, in percent; 0 for shadow."""
    started_ms: int
    """Wall clock of the beginning; another percentage of the same canary keeps it, so that its cards stay."""


class State(msgspec.Struct, frozen=True):
    """What is in force: read at once, so that its parts belong together."""

    aliases: Mapping[str, str] = {}
    """Alias -> `name@version`."""
    rollout: Rollout | None = None
    policy: str = ""
    """Version of the live policy; empty = each bundle's own."""

    @property
    def champion(self) -> str | None:
        """Return `name@version` of the champion."""
        return self.aliases.get(CHAMPION)

    @property
    def previous(self) -> str | None:
        """Return `name@version` of the champion before."""
        return self.aliases.get(PREVIOUS)

    @property
    def rollback_target(self) -> str:
        """Return the champion before.

        Raises:
            ModelError: There was none.
        """
        if self.previous is None:
            raise ModelError("no champion came before this one: there is nothing to roll back to; `weir models list` shows all models")
        return self.previous

    def promoted(self, model: str) -> "State":
        """Return the state in which `model` is the champion; a trial of it has ended."""
        state = self.ended() if self.rollout is not None and self.rollout.model == model else self
        earlier = {PREVIOUS: state.champion} if state.champion else {}
        return State({**state.aliases, CHAMPION: model} | earlier, state.rollout, state.policy)

    def on_trial(self, rollout: Rollout) -> "State":
        """Return the state with a trial."""
        return State({**self.aliases, CHALLENGER: rollout.model}, rollout, self.policy)

    def ended(self) -> "State":
        """Return the state without a trial."""
        return State({alias: model for alias, model in self.aliases.items() if alias != CHALLENGER}, None, self.policy)


class Event(msgspec.Struct, frozen=True):
    """One line of the history. What the last line says is in force."""

    time_ms: int
    """Wall clock: UTC, milliseconds since the epoch."""
    event: EventName
    model: str
    """`name@version`; the model of a rollout that ended; empty for a policy for all models."""
    aliases: Mapping[str, str]
    """Alias -> `name@version`, after this event."""
    who: str = ""
    """Empty: not recorded."""
    why: str = ""
    """Empty: not recorded."""
    rollout: Rollout | None = None
    """In force after this event."""
    policy: str = ""
    """Version of the live policy after this event; empty = each bundle's own."""
    is_forced: bool = False
    """The gate had refused the model, and somebody promoted it all the same."""

    @property
    def state(self) -> State:
        """Return what is in force after this event."""
        return State(self.aliases, self.rollout, self.policy)


class Overtaken(Exception):
    """Somebody else changed the registry since this turn began: look again."""


class Turn(NamedTuple):
    """What a writer sees, and how it adds to it."""

    state: State
    append: Callable[[Event], None]
    """Adds an event; raises Overtaken, and adds nothing, if the state is not the one in force any more."""


def registered(events: Iterable[Event]) -> dict[str, int]:
    """Return model -> when it was registered, of those not collected since."""
    found: dict[str, int] = {}
    for event in events:
        if event.event == "registered":
            found[event.model] = event.time_ms
        elif event.event == "collected":
            found.pop(event.model, None)
    return found


_DECODER: Final = msgspec.json.Decoder(Event)
_LOCK: Final = ".lock"


class History:
    """A file of events. A line is whole or it does not count, so a reader sees the state before an event or after it.

    Args:
        path: The file; made by the first event.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def events(self) -> list[Event]:
        """Return all events, oldest first; a line cut short by a crash is left out."""
        return [event for line in self._lines() if (event := decoded(line)) is not None]

    def state(self) -> State:
        """Return what is in force."""
        return next((event.state for line in reversed(self._lines()) if (event := decoded(line)) is not None), State())

    def stamp(self) -> tuple[int, ...]:
        """Return numbers that differ whenever the file may differ, without reading it; empty if there is no file."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return ()
        return found.st_ino, found.st_size, found.st_mtime_ns

    @contextmanager
    def turn(self) -> Iterator[Turn]:
        """Hold the lock, which threads and processes respect: nobody overtakes."""
        with self._path.with_name(_LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield Turn(self.state(), self._append)

    def _append(self, event: Event) -> None:
        """Add an event; it is on disk when this returns."""
        line = msgspec.json.encode(event) + b"\n"
        with self._path.open("a+b") as file:
            file.seek(0, os.SEEK_END)
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    line = b"\n" + line
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def _lines(self) -> list[bytes]:
        try:
            # What follows the last line end is empty, or cut short.
            return self._path.read_bytes().split(b"\n")[:-1]
        except FileNotFoundError:
            return []


def decoded(line: bytes) -> Event | None:
    """Return the event of a line, None if it is not a whole one."""
    try:
        return _DECODER.decode(line)
    except msgspec.DecodeError:
        return None
