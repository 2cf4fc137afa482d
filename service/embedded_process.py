"""Child processes that are recognised again: by pid and start time, so that a recycled pid is never mistaken for ours."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from domain.errors import ConfigError
from service import embedded_guard

_POLL_S = 0.02
_KILL_PATIENCE_S = 10.0
_ENDED = "ZX"


class ProcessIdentity(msgspec.Struct, frozen=True):
    """One process of this machine's present boot."""

    pid: int
    started: str
    """When it started, in the system's own words: two processes of one pid never share it."""


def identify(pid: int) -> ProcessIdentity | None:
    """Return the identity of the process that has `pid` now; None if there is none or it has ended (a zombie)."""
    started = _started(pid)
    return None if started is None else ProcessIdentity(pid, started)


def is_alive(process: ProcessIdentity | None) -> bool:
    """Return whether exactly this process still runs."""
    return process is not None and identify(process.pid) == process


class ChildProcess:
    """A process of ours, started here or found again by its identity."""

    def __init__(self, identity: ProcessIdentity, starter: "subprocess.Popen[bytes] | None" = None) -> None:
        self.identity = identity
        self._starter = starter
        """What was started here: the process itself, or its guard."""

    @property
    def is_alive(self) -> bool:
        """Whether the process still runs."""
        return is_alive(self.identity)

    def terminate(self) -> None:
        """Ask the process to end; returns at once."""
        self._send(signal.SIGTERM)

    def stop(self, patience_s: float) -> None:
        """End the process: ask, wait `patience_s`, kill. Gone when this returns."""
        self.terminate()
        if not self._gone_within(patience_s):
            self._send(signal.SIGKILL)
        self._wait()

    def kill(self) -> None:
        """End the process at once, without its leave. Gone when this returns."""
        self._send(signal.SIGKILL)
        self._wait()

    def _send(self, number: signal.Signals) -> None:
        if self.is_alive:
            try:
                os.kill(self.identity.pid, number)
            except ProcessLookupError:
                return
            except PermissionError as error:
                raise ConfigError(f"process {self.identity.pid} belongs to another user and cannot be ended from here") from error

    def _gone_within(self, patience_s: float) -> bool:
        deadline_s = time.monotonic() + patience_s
        while self.is_alive:
            if time.monotonic() > deadline_s:
                return False
            time.sleep(_POLL_S)
        return True

    def _wait(self) -> None:
        self._gone_within(_KILL_PATIENCE_S)
        if self._starter is not None:
            if self._starter.stdin is not None:
                self._starter.stdin.close()
            self._starter.wait(_KILL_PATIENCE_S)


def spawn(command: Sequence[str], *, directory: Path, output: Path, is_guarded: bool) -> ChildProcess:
    """Start a process in its own session, so that the terminal's Ctrl-C does not reach it.

    Args:
        command: Program and arguments.
        directory: Its working directory.
        output: File to which its output is appended.
        is_guarded: True = it ends with this process, however this process ends; False = it outlives this process.

    Raises:
        ConfigError: It cannot be started.
    """
    with output.open("ab") as sink:
        try:
            if is_guarded:
                return _spawn_guarded(command, directory, sink.fileno())
            starter = subprocess.Popen(command, cwd=directory, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, start_new_session=True)
        except OSError as error:
            raise ConfigError(f"cannot start {command[0]}: {error.strerror}") from error
    return ChildProcess(identify(starter.pid) or _ended(starter.pid), starter)


def _spawn_guarded(command: Sequence[str], directory: Path, sink: int) -> ChildProcess:
    guard = subprocess.Popen(
        [sys.executable, "-I", "-S", embedded_guard.__file__, str(os.getpid()), *command],
        cwd=directory, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=sink, start_new_session=True,
    )  # fmt: skip
    assert guard.stdout is not None
    with guard.stdout:
        line = guard.stdout.readline()
    if not line:
        guard.wait()
        raise ConfigError(f"cannot start {command[0]}; is it a program that this user may run?")
    return ChildProcess(identify(int(line)) or _ended(int(line)), guard)


def _ended(pid: int) -> ProcessIdentity:
    return ProcessIdentity(pid, "ended")


def _started(pid: int) -> str | None:
    return _started_linux(pid) if sys.platform == "linux" else _started_elsewhere(pid)


def _started_linux(pid: int) -> str | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in _ENDED else f"{boot} {fields[19]}"


def _started_elsewhere(pid: int) -> str | None:
    # The environment is fixed because the time is printed in the caller's language and zone.
    command = ["/bin/ps", "-o", "state=,lstart=", "-p", str(pid)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, env={"LC_ALL": "C", "TZ": "UTC"})
    state, _, started = answer.stdout.strip().partition(" ")
    return None if not started or state[0] in _ENDED else started.strip()
