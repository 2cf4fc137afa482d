"""What a command writes arrives whole, also without Python's buffer and if the process is stopped in the middle of it."""

import array
import fcntl
import os
import signal
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from tests.integration.redis_nodes import until

N = 1_000_000
PROGRAM = f"""
import sys
from service.standard_streams import write_whole
write_whole()
sys.stdout.buffer.write(b"x" * {N})
sys.stdout.buffer.flush()
sys.stdout.write("y" * {N} + "\\n")
"""


def waiting(pipe) -> int:
    found = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, found)
    return found[0]


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def stop_and_continue(child: subprocess.Popen) -> None:
    """Do so while it waits for room in the pipe."""
    until(lambda: waiting(child.stdout) and state(child.pid) == "S", "the pipe is full")
    child.send_signal(signal.SIGSTOP)
    until(lambda: state(child.pid) == "T", "stopped")
    child.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("options", [["-u"], []])
def test_a_process_that_is_stopped_while_it_writes_loses_nothing(options):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with subprocess.Popen([sys.executable, *options, "-c", PROGRAM], stdout=subprocess.PIPE, env=environment) as child:
        stop_and_continue(child)
        first = child.stdout.read(N)
        stop_and_continue(child)
        rest = child.stdout.read()

    assert first == b"x" * N
    assert rest == b"y" * N + b"\n"
    assert child.returncode == 0


def test_each_line_is_written_at_once():
    program = "import sys; from service.standard_streams import write_whole; write_whole(); print('now'); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-u", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"now\n"
        child.stdin.close()
