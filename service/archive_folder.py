"""The folder of an archive: held by one writer at a time, cleared of what a killed one left."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from domain.errors import ConfigError
from features.archive_files import MARKER, UNFINISHED, current, files_of
from features.archive_schema import SCHEMAS

LOCK_FILE: Final = "archive.lock"
_FORMAT: Final = 1


class Marker(msgspec.Struct, frozen=True):
    """What `archive.json` says."""

    format: int
    """Version of names and columns."""
    prefix: str
    """Of the installation's topics (setting kafka.prefix)."""


@contextmanager
def held(directory: Path, prefix: str) -> Iterator[None]:
    """Make the folder an archive if it is none, keep other writers away, and remove unfinished and superseded files.

    The lock ends with its holder, even a killed one.

    Raises:
        ConfigError: Another archiver writes there, it holds other files, or it is the archive of another installation.
        HistoryError: Two of its files contradict each other.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = os.open(directory / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise ConfigError(f"the archive folder {directory} cannot be written: {error.strerror}") from error
    try:
        _lock(lock, directory)
        _mark(directory, prefix)
        _clear(directory)
        yield
    finally:
        os.close(lock)


def sync_folder(folder: Path) -> None:
    """Make sure that the names in `folder` survive a power failure."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _lock(lock: int, directory: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(lock, 20, 0).decode("ascii", "replace").strip()
        raise ConfigError(
            f"another weir archive (process {holder or 'unknown'}) writes to {directory}; "
            "one is enough: stop it, or give another --directory"
        ) from error
    os.ftruncate(lock, 0)
    os.pwrite(lock, b"%d\n" % os.getpid(), 0)


def _mark(directory: Path, prefix: str) -> None:
    path = directory / MARKER
    if not path.exists():
        if others := sorted(entry.name for entry in directory.iterdir() if not entry.name.startswith((LOCK_FILE, f".{MARKER}"))):
            raise ConfigError(f"{directory} is no archive and not empty (it holds {others[0]}); give another --directory")
        unfinished = directory / f".{MARKER}{UNFINISHED}"
        unfinished.write_bytes(msgspec.json.encode(Marker(_FORMAT, prefix)) + b"\n")
        unfinished.replace(path)
        sync_folder(directory)
        return
    try:
        marker = msgspec.json.decode(path.read_bytes(), type=Marker)
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{path} cannot be read ({error}); put back the one that weir archive wrote") from error
    if marker.format != _FORMAT:
        raise ConfigError(f"{path} has format {marker.format}, this weir writes format {_FORMAT}; use the weir that wrote it")
    if marker.prefix != prefix:
        raise ConfigError(
            f"{directory} is the archive of the topics with prefix {marker.prefix!r}, kafka.prefix is {prefix!r}; give another --directory"
        )


def _clear(directory: Path) -> None:
    """Remove what a killed archiver left: drafts, and parts whose compacted file is complete."""
    for unfinished in directory.glob(f"*/*/*/.*{UNFINISHED}"):
        unfinished.unlink(missing_ok=True)
    for topic in SCHEMAS:
        _, superseded = current(files_of(directory, topic))
        for file in superseded:
            file.path.unlink(missing_ok=True)
            with suppress(OSError):  # other files are left in it
                file.path.parent.rmdir()
