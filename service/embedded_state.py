"""What runs in an embedded folder: the state file, and the lock that lets one start or stop at a time."""

import fcntl
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from domain.errors import ConfigError
from service.embedded_process import ProcessIdentity, is_alive

STATE_FILE = "embedded.json"
LOCK_FILE = "embedded.lock"


class State(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The services that were started in a folder, as written; whether they live is asked of the system."""

    bootstrap: str | None = None
    kafka: ProcessIdentity | None = None
    redis_url: str | None = None
    redis: ProcessIdentity | None = None
    owner: ProcessIdentity | None = None
    """The process with which the services end; None = they run in the background."""

    @property
    def is_abandoned(self) -> bool:
        """Whether the owner is gone: whatever of its services still runs is about to end."""
        return self.owner is not None and not is_alive(self.owner)

    def living(self) -> "State":
        """Return what still runs; an ended service has neither address nor process."""
        found = self
        if not is_alive(found.kafka):
            found = msgspec.structs.replace(found, bootstrap=None, kafka=None)
        if not is_alive(found.redis):
            found = msgspec.structs.replace(found, redis_url=None, redis=None)
        return found if found.kafka or found.redis else State()


def read_state(directory: Path) -> State:
    """Return the state as written; the empty one if there is no file or it cannot be read as one."""
    try:
        return msgspec.json.decode((directory / STATE_FILE).read_bytes(), type=State)
    except (FileNotFoundError, NotADirectoryError, msgspec.MsgspecError):
        return State()


def write_state(directory: Path, state: State) -> None:
    """Replace the state file in one step, so that a reader sees the old or the new one; an empty state removes it."""
    path = directory / STATE_FILE
    if state == State():
        path.unlink(missing_ok=True)
        return
    draft = path.with_name(f"{STATE_FILE}.{secrets.token_hex(4)}")
    try:
        draft.write_bytes(msgspec.json.encode(state) + b"\n")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def locked(directory: Path, report: Callable[[str], None]) -> Iterator[None]:
    """Hold the folder's lock; a second comer waits and says so. The lock ends with its holder, even a killed one.

    Raises:
        ConfigError: The folder cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        handle = _acquire(directory / LOCK_FILE, report)
    except OSError as error:
        raise ConfigError(f"cannot write {error.filename or directory}: {error.strerror}; see embedded.directory") from error
    try:
        yield
    finally:
        os.close(handle)


def _acquire(path: Path, report: Callable[[str], None]) -> int:
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                report("another start or stop is under way here, waiting for it")
                fcntl.flock(handle, fcntl.LOCK_EX)
            # A purge removes the file: a lock on a removed file excludes nobody, so begin again.
            if path.exists() and path.stat().st_ino == os.fstat(handle).st_ino:
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
