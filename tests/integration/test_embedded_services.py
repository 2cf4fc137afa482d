"""Both services as commands run them. Where one is enough it is Redis, which starts at once."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

from service.embedded import running
from service.embedded_process import is_alive
from service.embedded_state import read_state

WEIR = [sys.executable, "-c", "from service.cli import main; main()"]
REDIS_ONLY = {"WEIR_KAFKA_BOOTSTRAP": "127.0.0.1:1"}
FOREGROUND = """
import sys, time
from pathlib import Path
from service.embedded import services
from service.settings import EmbeddedSettings
with services(EmbeddedSettings(kafka_heap_mb=256), kafka=sys.argv[2] == "both", directory=Path(sys.argv[1])):
    print("up", flush=True)
    time.sleep(600)
"""


def clean_environment(folder, **extra):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WEIR_")}
    return {**kept, "WEIR_EMBEDDED_DIRECTORY": str(folder), "WEIR_EMBEDDED_KAFKA_HEAP_MB": "256", **extra}


def weir(folder, *arguments, expected=0, **extra):
    command = [*WEIR, *arguments]
    environment = clean_environment(folder, **extra)
    done = subprocess.run(command, check=False, env=environment, cwd="/", capture_output=True, text=True, timeout=200)
    assert done.returncode == expected, done.stderr
    return done


def foreground(folder, which):
    process = subprocess.Popen([sys.executable, "-c", FOREGROUND, str(folder), which], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"up\n"
    return process


def all_gone(processes, within_s=30.0):
    deadline_s = time.monotonic() + within_s
    while any(is_alive(process) for process in processes):
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.05)
    return True


def test_a_killed_parent_leaves_no_broker_behind(embedded_folder):
    with foreground(embedded_folder, "both") as parent:
        state = read_state(embedded_folder)
        assert is_alive(state.kafka)
        assert is_alive(state.redis)
        parent.kill()

    assert all_gone([state.kafka, state.redis])
    assert running(embedded_folder) is None


def test_services_run_until_down_keep_their_data_and_half_a_pair_is_completed(embedded_folder):
    up = json.loads(weir(embedded_folder, "up", "--json").stdout)
    state = read_state(embedded_folder)
    cluster = (embedded_folder / "embedded/kafka/data/meta.properties").read_bytes()
    with redis.Redis.from_url(up["redis_url"]) as client:
        client.set("kept", "yes")

    assert up["started"]
    assert (up["kafka_pid"], up["redis_pid"]) == (state.kafka.pid, state.redis.pid)
    status = json.loads(weir(embedded_folder, "status", "--json").stdout)
    assert status["is_complete"]
    assert status["kafka"] == {"state": "running", "address": up["bootstrap"], "pid": up["kafka_pid"]}
    assert weir(embedded_folder, "down").stdout == "stopped: kafka, redis\n"
    assert not is_alive(state.kafka)
    assert not is_alive(state.redis)
    assert weir(embedded_folder, "down").stdout == "nothing was running\n"
    weir(embedded_folder, "status", expected=1)

    half = json.loads(weir(embedded_folder, "up", "--json", **REDIS_ONLY).stdout)
    status = weir(embedded_folder, "status", expected=1).stdout
    assert "kafka  not running" in status
    assert "redis  running" in status
    whole = json.loads(weir(embedded_folder, "up", "--json").stdout)
    assert whole["redis_pid"] == half["redis_pid"]
    assert whole["kafka_pid"]
    with redis.Redis.from_url(whole["redis_url"]) as client:
        assert client.get("kept") == b"yes"
    assert (embedded_folder / "embedded/kafka/data/meta.properties").read_bytes() == cluster


def test_a_second_start_beside_a_running_one_says_so(embedded_folder):
    first = json.loads(weir(embedded_folder, "up", "--json", **REDIS_ONLY).stdout)
    second = json.loads(weir(embedded_folder, "up", "--json", **REDIS_ONLY).stdout)
    words = weir(embedded_folder, "up", **REDIS_ONLY).stdout

    assert second == {**first, "started": False}
    assert words.startswith("already running:\n")
    assert first["redis_url"] in words


def test_of_concurrent_starts_one_starts_and_the_others_find_its_services(embedded_folder):
    embedded_folder.mkdir()
    environment = clean_environment(embedded_folder, **REDIS_ONLY)
    command = [*WEIR, "up", "--json"]
    starts = [subprocess.Popen(command, env=environment, cwd=embedded_folder.parent, stdout=subprocess.PIPE) for _ in range(3)]
    found = [json.loads(start.communicate(timeout=100)[0]) for start in starts]

    assert len({answer["redis_pid"] for answer in found}) == 1
    assert len({answer["redis_url"] for answer in found}) == 1


def test_a_killed_service_is_noticed_and_started_again(embedded_folder):
    first = json.loads(weir(embedded_folder, "up", "--json", **REDIS_ONLY).stdout)
    os.kill(first["redis_pid"], 9)
    assert all_gone([read_state(embedded_folder).redis])

    assert "redis  not running" in weir(embedded_folder, "status", expected=1, **REDIS_ONLY).stdout
    second = json.loads(weir(embedded_folder, "up", "--json", **REDIS_ONLY).stdout)
    assert second["started"]
    assert second["redis_pid"] != first["redis_pid"]


def test_purge_removes_all_that_the_services_made_and_nothing_else(embedded_folder):
    weir(embedded_folder, "up", **REDIS_ONLY)
    kept = [embedded_folder / "registry/model", embedded_folder / "embedded/redis/notes.txt"]
    for path in kept:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    answer = weir(embedded_folder, "down", "--purge").stdout

    assert "stopped: redis" in answer
    assert "notes.txt" in answer
    assert sorted(path for path in embedded_folder.rglob("*") if path.is_file()) == sorted(kept)
    for path in kept:
        path.unlink()
        path.parent.rmdir()
    (embedded_folder / "embedded").rmdir()
    weir(embedded_folder, "up", **REDIS_ONLY)
    weir(embedded_folder, "down", "--purge")
    assert not embedded_folder.exists()


def test_services_of_another_foreground_process_are_neither_shared_nor_stopped(embedded_folder):
    with foreground(embedded_folder, "redis") as parent:
        assert f"belong to process {parent.pid}" in weir(embedded_folder, "down", expected=2).stderr
        assert f"ends with process {parent.pid}" in weir(embedded_folder, "up", **REDIS_ONLY).stdout
        assert f"belong to process {parent.pid}" in weir(embedded_folder, "up", expected=2).stderr
        state = read_state(embedded_folder)
        parent.terminate()
    assert all_gone([state.redis])

    assert weir(embedded_folder, "down").stdout == "nothing was running\n"


def test_addresses_in_the_settings_switch_embedding_off(embedded_folder):
    mine = {"WEIR_REDIS_URL": "redis://127.0.0.1:1/0", **REDIS_ONLY}

    assert "nothing to start" in weir(embedded_folder, "up", **mine).stdout
    assert json.loads(weir(embedded_folder, "status", "--json", **mine).stdout)["kafka"]["state"] == "external"
    assert not embedded_folder.exists()


@pytest.mark.parametrize("name", ["up", "down", "status"])
def test_the_help_has_an_example(name, tmp_path):
    assert f"weir {name}" in weir(tmp_path / "var", name, "--help").stdout.partition("Example:")[2]


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    error = weir(Path(tmp_path / "file" / "var"), "up", expected=2).stderr

    assert "embedded.directory" in error
    assert "Traceback" not in error
