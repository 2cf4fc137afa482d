import os
import signal
import subprocess
import sys
import time

import pytest

from domain.errors import ConfigError
from service.embedded_process import ProcessIdentity, identify, is_alive, spawn

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
DEAF = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)",
]
PARENT = """
import sys, time
from pathlib import Path
from service.embedded_process import spawn
child = spawn([sys.executable, "-c", "import time; time.sleep(600)"], directory=Path("."), output=Path("out"), is_guarded=True)
print(child.identity.pid, flush=True)
time.sleep(600)
"""


def gone(process, within_s=20.0):
    deadline_s = time.monotonic() + within_s
    while is_alive(process):
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.02)
    return True


@pytest.fixture(params=[True, False], ids=["guarded", "background"])
def child(request, tmp_path):
    child = spawn(SLEEP, directory=tmp_path, output=tmp_path / "out", is_guarded=request.param)
    yield child
    child.kill()


def test_a_recycled_pid_is_not_mistaken_for_ours():
    ours = identify(os.getpid())

    assert is_alive(ours)
    assert not is_alive(ProcessIdentity(ours.pid, "another start"))


def test_an_ended_process_that_nobody_has_awaited_counts_as_gone():
    process = subprocess.Popen([sys.executable, "-c", ""])
    identity = identify(process.pid)

    assert identity is None or gone(identity)
    process.wait()


def test_a_stopped_process_is_gone_when_stop_returns(child):
    assert child.is_alive
    child.stop(10)

    assert not child.is_alive
    child.stop(10)  # once more does no harm


def test_a_killed_process_is_gone_when_kill_returns(child):
    child.kill()

    assert not child.is_alive


def test_a_process_that_ignores_the_signal_is_killed(tmp_path):
    out = tmp_path / "out"
    child = spawn(DEAF, directory=tmp_path, output=out, is_guarded=True)
    deadline_s = time.monotonic() + 20
    while "deaf" not in out.read_text() and time.monotonic() < deadline_s:
        time.sleep(0.02)
    child.stop(0.2)

    assert not child.is_alive


def test_a_process_has_its_own_session_so_that_the_terminals_ctrl_c_does_not_reach_it(child):
    assert os.getsid(child.identity.pid) != os.getsid(0)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_guarded_process_ends_with_its_parent(tmp_path, number):
    with subprocess.Popen([sys.executable, "-c", PARENT], cwd=tmp_path, stdout=subprocess.PIPE) as parent:
        identity = identify(int(parent.stdout.readline()))
        parent.send_signal(number)

    assert gone(identity)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its killed parent")
def test_a_guarded_process_ends_with_its_killed_guard(tmp_path):
    child = spawn(SLEEP, directory=tmp_path, output=tmp_path / "out", is_guarded=True)
    os.kill(child._starter.pid, signal.SIGKILL)

    assert gone(child.identity)
    child.kill()


@pytest.mark.parametrize("is_guarded", [True, False])
def test_a_program_that_is_not_there_is_a_sentence(tmp_path, is_guarded):
    with pytest.raises(ConfigError, match="cannot start /no/such/program"):
        spawn(["/no/such/program"], directory=tmp_path, output=tmp_path / "out", is_guarded=is_guarded)
