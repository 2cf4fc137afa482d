import os
import threading

import pytest

from domain.errors import ConfigError
from service.embedded import Running, is_embedded, running
from service.embedded_process import ProcessIdentity, identify
from service.embedded_state import LOCK_FILE, STATE_FILE, State, locked, read_state, write_state
from service.settings import load, with_addresses

HERE = identify(os.getpid())
GONE = ProcessIdentity(os.getpid(), "before the last boot")
BOTH = State(bootstrap="127.0.0.1:20001", kafka=HERE, redis_url="redis://127.0.0.1:20002/0", redis=HERE)


def silent(_line):
    pass


def test_what_is_written_is_read(tmp_path):
    write_state(tmp_path, BOTH)

    assert read_state(tmp_path) == BOTH
    assert running(tmp_path) == Running("127.0.0.1:20001", "redis://127.0.0.1:20002/0", os.getpid(), os.getpid())
    assert [path.name for path in tmp_path.iterdir()] == [STATE_FILE]


def test_nothing_runs_in_a_folder_without_state(tmp_path):
    assert running(tmp_path) is None
    assert running(tmp_path / "absent") is None


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"kafka": 7}', b"\xff\x00"])
def test_a_damaged_state_file_means_that_nothing_runs(tmp_path, text):
    (tmp_path / STATE_FILE).write_bytes(text)

    assert running(tmp_path) is None


def test_state_of_processes_that_are_gone_means_that_nothing_runs(tmp_path):
    write_state(tmp_path, State(bootstrap="127.0.0.1:20001", kafka=GONE, redis_url="redis://127.0.0.1:20002/0", redis=GONE))

    assert running(tmp_path) is None


def test_a_half_dead_pair_has_one_address(tmp_path):
    write_state(tmp_path, State(bootstrap="127.0.0.1:20001", kafka=GONE, redis_url="redis://127.0.0.1:20002/0", redis=HERE))

    assert running(tmp_path) == Running(None, "redis://127.0.0.1:20002/0", None, os.getpid())


def test_services_whose_owner_is_gone_do_not_count_as_running(tmp_path):
    write_state(tmp_path, State(redis_url="redis://127.0.0.1:20002/0", redis=HERE, owner=GONE))

    assert running(tmp_path) is None


def test_an_empty_state_removes_the_file(tmp_path):
    write_state(tmp_path, BOTH)
    write_state(tmp_path, State())

    assert list(tmp_path.iterdir()) == []


def test_the_lock_is_held_by_one_at_a_time_and_the_second_says_that_it_waits(tmp_path):
    order, waits = [], threading.Event()

    def second():
        with locked(tmp_path, lambda _line: waits.set()):
            order.append("second")

    with locked(tmp_path, silent):
        thread = threading.Thread(target=second)
        thread.start()
        assert waits.wait(20)
        order.append("first")
    thread.join(20)

    assert order == ["first", "second"]


def test_a_lock_on_a_removed_file_is_not_taken_for_the_lock(tmp_path):
    waits = threading.Event()
    inode = []

    def second():
        with locked(tmp_path, lambda _line: waits.set()):
            inode.append((tmp_path / LOCK_FILE).stat().st_ino)

    with locked(tmp_path, silent):
        thread = threading.Thread(target=second)
        thread.start()
        assert waits.wait(20)
        (tmp_path / LOCK_FILE).unlink()
    thread.join(20)

    assert inode == [(tmp_path / LOCK_FILE).stat().st_ino]


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot write .*file.*embedded\.directory"), locked(tmp_path / "file" / "var", silent):
        pass


def test_an_address_in_the_settings_switches_embedding_off():
    loaded = load(environ={"WEIR_KAFKA_BOOTSTRAP": "kafka:9092"})

    assert not is_embedded(loaded, "kafka")
    assert is_embedded(loaded, "redis")


def test_the_address_of_the_running_embedded_service_does_not():
    loaded = with_addresses(load(environ={}), bootstrap="127.0.0.1:20001", redis_url=None)

    assert is_embedded(loaded, "kafka")
