"""Run one command and end it when the process that asked for it is gone, however that process ended.

Run by path (`python -I -S embedded_guard.py PARENT_PID COMMAND...`), so that nothing but the standard library is loaded.
The parent holds the other end of standard input and never writes to it: its end is the parent's end. The child's pid is
printed on standard output. Portable; on Linux the kernel also ends the child when this process itself is killed.
"""

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from types import FrameType

LOOK_S = 0.5
"""How often to look for the parent besides watching the pipe: a process forked by the parent may still hold the pipe."""
PATIENCE_S = 10.0
"""From the request to end until the child is killed."""
_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> int:
    """Run the command until it ends or the parent is gone; return its exit code."""
    parent_pid, command = int(arguments[0]), arguments[1:]
    signal.signal(signal.SIGTERM, _leave)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=2, stderr=2, preexec_fn=_die_with_guard())  # noqa: PLW1509 - this process has one thread
    try:
        with contextlib.suppress(BrokenPipeError):
            os.write(1, b"%d\n" % child.pid)
        while child.poll() is None and os.getppid() == parent_pid:
            readable, _, _ = select.select([0], [], [], LOOK_S)
            if readable:
                break
    finally:
        _end(child)
    return child.returncode


def _leave(_number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + signal.SIGTERM)


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            child.kill()
    child.wait()


def _die_with_guard() -> Callable[[], object] | None:
    return _ask_kernel if sys.platform == "linux" else None


def _ask_kernel() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
