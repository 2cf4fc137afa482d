"""The Kafka and Redis that weir runs itself: start, stop, and what runs.

Two ways: in the background (`start`, `stop`: they outlive the command) and in the foreground (`services`: they end with
the process, even if it is killed).
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from domain.errors import ConfigError
from service.embedded_process import ChildProcess, identify
from service.embedded_state import LOCK_FILE, STATE_FILE, State, locked, read_state
from service.settings import EmbeddedSettings, Loaded

if TYPE_CHECKING:
    from service.embedded_pair import EmbeddedPair

Report = Callable[[str], None]
_PATIENCE_S = 20.0


def _silent(_line: str) -> None:
    pass


class Running(NamedTuple):
    """The embedded services that run; None for one that does not."""

    bootstrap: str | None
    redis_url: str | None
    kafka_pid: int | None
    redis_pid: int | None
    owner_pid: int | None = None
    """The foreground process with which they end; None = they run in the background."""


def running(directory: Path) -> Running | None:
    """Return what runs in `directory`, None if nothing does. Cheap: asks the system for two processes, no network."""
    if not (directory / STATE_FILE).exists():
        return None
    written = read_state(directory)
    found = State() if written.is_abandoned else written.living()
    return None if found == State() else _running(found)


def is_embedded(loaded: Loaded, service: Literal["kafka", "redis"]) -> bool:
    """Return whether weir runs this service itself: the settings give no address for it."""
    address = loaded.settings.kafka.bootstrap if service == "kafka" else loaded.settings.redis.url
    name = "kafka.bootstrap" if service == "kafka" else "redis.url"
    return not address or loaded.sources.get(name) == "embedded"


def start(
    embedded: EmbeddedSettings,
    *,
    kafka: bool = True,
    redis: bool = True,
    directory: Path | None = None,
    report: Report = _silent,
) -> Running:
    """Start in the background what does not run yet, and return when all of it answers.

    Safe beside another start in the same folder: one waits for the other and finds its services.

    Args:
        embedded: The settings.
        kafka: Whether Kafka is wanted.
        redis: Whether Redis is wanted.
        directory: Folder; None = `embedded.directory`.
        report: Gets a line at each step that takes long.

    Raises:
        ConfigError: Something does not start; what this call started is stopped again.
    """
    place = directory or Path(embedded.directory)
    with locked(place, report):
        state = _present(place)
        if state.owner is not None:
            if (kafka and not state.kafka) or (redis and not state.redis):
                raise _belongs_to_another(place, state.owner.pid)
            return _running(state)
        pair = _pair(embedded, place, report=report, is_guarded=False)
        pair.adopt(state)
        return _running(pair.bring_up(kafka=kafka, redis=redis, owner=None))


@contextmanager
def services(
    embedded: EmbeddedSettings,
    *,
    kafka: bool = True,
    redis: bool = True,
    directory: Path | None = None,
    report: Report = _silent,
) -> Iterator[Running]:
    """Run the services for the length of the `with` block; they end with this process, even if it is killed.

    Services that already run in the background of this folder are used, completed if one is missing, and left running.

    Args:
        embedded: The settings.
        kafka: Whether Kafka is wanted.
        redis: Whether Redis is wanted.
        directory: Folder; None = `embedded.directory`.
        report: Gets a line at each step that takes long.

    Raises:
        ConfigError: Something does not start, or the folder's services belong to another process.
    """
    if not kafka and not redis:
        yield Running(None, None, None, None)
        return
    place = directory or Path(embedded.directory)
    with locked(place, report):
        state = _present(place)
        if state.owner is not None:
            raise _belongs_to_another(place, state.owner.pid)
        is_ours = state == State()
        pair = _pair(embedded, place, report=report, is_guarded=is_ours)
        pair.adopt(state)
        found = _running(pair.bring_up(kafka=kafka, redis=redis, owner=identify(os.getpid()) if is_ours else None))
    try:
        yield found
    finally:
        if is_ours:
            report("stopping the services")
            with locked(place, report):
                pair.end()


def stop(embedded: EmbeddedSettings, *, directory: Path | None = None, report: Report = _silent) -> Running | None:
    """Stop the background services; return what ran, None if nothing did. Their data stay.

    Raises:
        ConfigError: The services belong to a running foreground process.
    """
    place = directory or Path(embedded.directory)
    if not place.exists():
        return None
    with locked(place, report):
        state = _present(place)
        if state.owner is not None:
            raise _belongs_to_another(place, state.owner.pid)
        if state == State():
            return None
        report("stopping the services")
        pair = _pair(embedded, place, report=report, is_guarded=False)
        pair.adopt(state)
        pair.end()
        return _running(state)


def purge(embedded: EmbeddedSettings, *, directory: Path | None = None, report: Report = _silent) -> list[Path]:
    """Remove data, logs and state of services that do not run; return the files left because they are not ours.

    Raises:
        ConfigError: They run.
    """
    place = directory or Path(embedded.directory)
    if not place.exists():
        return []
    with locked(place, report):
        if _present(place) != State():
            raise ConfigError(f"the services in {place} are running; stop them first: weir down")
        pair = _pair(embedded, place, report=report, is_guarded=False)
        for server in pair:
            server.purge()
        left = sorted(path for path in pair.folder.rglob("*") if not path.is_dir())
        if pair.folder.exists() and not any(pair.folder.iterdir()):
            pair.folder.rmdir()
        (place / STATE_FILE).unlink(missing_ok=True)
        (place / LOCK_FILE).unlink(missing_ok=True)
    if not any(place.iterdir()):
        place.rmdir()
    return left


def answers(embedded: EmbeddedSettings, *, directory: Path | None = None) -> tuple[bool, bool]:
    """Return whether Kafka and whether Redis answer a real request now."""
    place = directory or Path(embedded.directory)
    pair = _pair(embedded, place, report=_silent, is_guarded=False)
    pair.adopt(read_state(place))
    return pair.kafka.answers(), pair.redis.answers()


def _present(place: Path) -> State:
    """Return what runs; the caller holds the lock. What a gone owner has left is ended first."""
    written = read_state(place)
    if not written.is_abandoned:
        return written.living()
    for process in (written.kafka, written.redis):
        if process is not None:
            ChildProcess(process).stop(_PATIENCE_S)
    return State()


def _running(state: State) -> Running:
    return Running(
        state.bootstrap,
        state.redis_url,
        state.kafka.pid if state.kafka else None,
        state.redis.pid if state.redis else None,
        state.owner.pid if state.owner else None,
    )


def _pair(embedded: EmbeddedSettings, place: Path, *, report: Report, is_guarded: bool) -> "EmbeddedPair":
    # Imported here: every command asks `running`, few start anything.
    from service.embedded_pair import EmbeddedPair

    return EmbeddedPair(embedded, place, is_guarded=is_guarded, report=report)


def _belongs_to_another(place: Path, pid: int) -> ConfigError:
    return ConfigError(
        f"the services in {place} belong to process {pid} and end with it; "
        "end that process first, or set embedded.directory to another folder"
    )
