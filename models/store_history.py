"""What happened in a registry, in a store: one file an event, numbered, created exclusively and never changed."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Final
from uuid import uuid4

import msgspec

from models.registry_history import Event, Overtaken, State, Turn, decoded
from models.store import Store

_FOLDER: Final = "history"
_NAME: Final = re.compile(r"(\d{9})\.json")


class _Written(Event, frozen=True, kw_only=True):
    """An event as it is written: no two are the same, so that a writer knows its own."""

    id: str


class StoreHistory:
    """Events of a store. Event n is the file n, and whoever creates it has seen all before: nobody holds a lock.

    Files never change, so each is read once. Belongs to any number of threads.

    Args:
        store: Of the registry.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = Lock()
        self._known: list[Event | None] = []

    def events(self) -> list[Event]:
        """Return all events, oldest first; what is not one is left out."""
        return [event for event in self._read() if event is not None]

    def known(self) -> list[Event]:
        """Return the events as of the last look, without a request."""
        return [event for event in self._known if event is not None]

    def state(self) -> State:
        """Return what is in force."""
        return _state(self._read())

    def stamp(self) -> tuple[int, ...]:
        """Return the number of the last event, from one request; empty if there is none."""
        n_events = len(self._read())
        return (n_events,) if n_events else ()

    @contextmanager
    def turn(self) -> Iterator[Turn]:
        """Let a writer look; its events are added only if nobody added one since."""
        seen = self._read()
        number = len(seen)

        def append(event: Event) -> None:
            nonlocal number
            number += 1
            written = _Written(**msgspec.structs.asdict(event), id=uuid4().hex)
            if not self._store.create(_name(number), msgspec.json.encode(written)):
                raise Overtaken

        yield Turn(_state(seen), append)

    def _read(self) -> list[Event | None]:
        """Return the events by number, after a look at what came since the last one."""
        with self._lock:
            if not self._known:
                self._known = self._all()
            while True:
                try:
                    content = self._store.read(_name(len(self._known) + 1))
                except FileNotFoundError:
                    return list(self._known)
                self._known.append(decoded(content))

    def _all(self) -> list[Event | None]:
        matches = (_NAME.fullmatch(name) for name in self._store.names(_FOLDER))
        numbers = sorted(int(match[1]) for match in matches if match)
        contents = self._store.read_all(_name(number) for number in numbers)
        # A place without a file, as of one that somebody deleted, stays empty.
        return [decoded(contents.get(_name(number), b"")) for number in range(1, max(numbers, default=0) + 1)]


def _name(number: int) -> str:
    return f"{_FOLDER}/{number:09d}.json"


def _state(events: list[Event | None]) -> State:
    return next((event.state for event in reversed(events) if event is not None), State())
