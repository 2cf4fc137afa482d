"""The registry: a folder of bundles, and which of them is champion."""

import fcntl
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

import msgspec

from domain.errors import BundleRejected, ModelError, NoChampion
from models.manifest import MANIFEST, Manifest, decode_manifest, version_of

CHAMPION: Final = "champion"
PREVIOUS: Final = "previous"
_HISTORY: Final = "history.jsonl"
_BUNDLES: Final = "bundles"
_LOCK: Final = ".lock"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class Event(msgspec.Struct, frozen=True):
    """One line of the registry's history. The last line's aliases are the ones in force."""

    time_ms: int
    """Wall clock: UTC, milliseconds since the epoch."""
    event: Literal["registered", "promoted"]
    model: str
    aliases: Mapping[str, str]
    """Alias -> `name@version`, after this event."""


class Entry(msgspec.Struct, frozen=True):
    """One model of the registry."""

    reference: str
    """`name@version`."""
    aliases: tuple[str, ...]
    registered_ms: int
    manifest: Manifest


class FileRegistry:
    """Bundles in a folder, aliases swapped atomically, a history that is only appended to.

    The history is one file, and its last whole line holds the aliases: a swap is one appended line, so a reader sees the
    old aliases or the new ones, and a crash in between leaves the old ones.

    Args:
        root: Folder; made on first use.
        clock_ms: Wall clock, in ms since the epoch.
    """

    def __init__(self, root: Path, clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._root = root
        self._clock_ms = clock_ms

    def register(self, bundle: Path) -> str:
        """Take a bundle in (the folder is copied) and return `name@version`. The first model becomes champion.

        A bundle that is already here is not taken in again. Its signature is verified when it is loaded, not here.

        Raises:
            BundleRejected: Its manifest cannot be read.
        """
        try:
            content = (bundle / MANIFEST).read_bytes()
        except OSError as error:
            raise BundleRejected(f"{bundle} holds no {MANIFEST}; give the folder of a bundle") from error
        name = decode_manifest(content).name
        if not _NAME.fullmatch(name):
            raise BundleRejected(f"the bundle's name {name!r} must be lower-case letters, digits, dots and dashes")
        reference = f"{name}@{version_of(content)}"
        target = self._root / _BUNDLES / reference
        with self._locked():
            if not target.exists():
                draft = target.with_name(f".{reference}.{os.getpid()}")
                shutil.rmtree(draft, ignore_errors=True)
                shutil.copytree(bundle, draft)
                draft.rename(target)
            aliases = self.aliases()
            if not any(event.model == reference for event in self.history()):
                if CHAMPION not in aliases:
                    aliases = {**aliases, CHAMPION: reference}
                self._append("registered", reference, aliases)
        return reference

    def resolve(self, reference: str) -> Path:
        """Return the folder of a bundle.

        Args:
            reference: `champion`, `previous`, `name@version`, or the beginning of exactly one version.

        Raises:
            NoChampion: `champion` of a registry without one.
            ModelError: There is no such model, or more than one.
        """
        return self._root / _BUNDLES / self.reference(reference)

    def reference(self, reference: str) -> str:
        """Return the `name@version` that a reference stands for; errors as `resolve`."""
        aliases = self.aliases()
        if reference in aliases:
            return aliases[reference]
        if reference == CHAMPION:
            raise NoChampion(f"the registry {self._root} has no champion; train one: weir train HISTORY")
        known = self._references()
        if reference in known:
            return reference
        found = [one for one in known if one.partition("@")[2].startswith(reference)] if reference else []
        if len(found) != 1:
            what = "more than one model fits" if found else "the registry has no model"
            raise ModelError(f"{what} {reference!r}; `weir models list` shows them")
        return found[0]

    def promote(self, reference: str, *, expected: str | None = None) -> str:
        """Make a model champion, the champion so far `previous`; return its `name@version`. Workers take it at their next poll.

        Args:
            reference: As for `resolve`.
            expected: The champion that the caller saw; None = whichever it is.

        Raises:
            ModelError: There is no such model, or the champion is no longer the expected one.
        """
        with self._locked():
            wanted, aliases = self.reference(reference), self.aliases()
            champion = aliases.get(CHAMPION)
            if expected is not None and champion != expected:
                raise ModelError(f"the champion is {champion}, not {expected}: somebody else promoted; look again with `weir models list`")
            if wanted != champion:
                changed = {**aliases, CHAMPION: wanted} | ({PREVIOUS: champion} if champion else {})
                self._append("promoted", wanted, changed)
        return wanted

    def aliases(self) -> Mapping[str, str]:
        """Return alias -> `name@version`; empty for an empty registry."""
        events = self.history()
        return events[-1].aliases if events else {}

    def entries(self) -> list[Entry]:
        """Return every model, oldest first."""
        registered: dict[str, int] = {}
        for event in self.history():
            registered.setdefault(event.model, event.time_ms)
        aliases = self.aliases()
        found = []
        for reference, time_ms in registered.items():
            path = self._root / _BUNDLES / reference / MANIFEST
            if path.exists():
                names = tuple(alias for alias, model in aliases.items() if model == reference)
                found.append(Entry(reference, names, time_ms, decode_manifest(path.read_bytes())))
        return found

    def history(self) -> list[Event]:
        """Return everything that happened, oldest first; a line cut short by a crash is left out."""
        try:
            lines = (self._root / _HISTORY).read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        # What follows the last line end is empty, or cut short.
        found = []
        for line in lines[:-1]:
            try:
                found.append(msgspec.json.decode(line, type=Event))
            except msgspec.DecodeError:
                continue
        return found

    def _references(self) -> list[str]:
        folder = self._root / _BUNDLES
        return sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")) if folder.exists() else []

    def _append(self, event: Literal["registered", "promoted"], model: str, aliases: Mapping[str, str]) -> None:
        line = msgspec.json.encode(Event(self._clock_ms(), event, model, aliases)) + b"\n"
        with (self._root / _HISTORY).open("a+b") as file:
            file.seek(0, os.SEEK_END)
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    line = b"\n" + line
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    @contextmanager
    def _locked(self) -> Iterator[None]:
        (self._root / _BUNDLES).mkdir(parents=True, exist_ok=True)
        with (self._root / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
