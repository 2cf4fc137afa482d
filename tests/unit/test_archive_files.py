import os
import subprocess
import sys

import polars as pl
import pytest

from domain.errors import ConfigError, HistoryError
from features.archive_files import Partition, current, file_name, files_of, next_offsets, parse
from features.archive_reader import read_archive
from service.archive_compaction import compact, compact_topic, mergeable
from service.archive_file import hour_folder, write_empty
from service.archive_folder import held
from service.archive_retention import remove_old_days
from tests.unit.archive_sample import HOUR_MS, START_MS, add_file, make_archive, offsets, record, transaction

TOPIC = "transactions.v1"
PARTITION = Partition(TOPIC, "0a1b2c3d", 0)
DAY_MS = 24 * HOUR_MS


@pytest.fixture
def archive(tmp_path):
    return make_archive(tmp_path / "archive")


def _add(archive, first, last, **where):
    return add_file(archive, TOPIC, [record(i, value=transaction(i)) for i in range(first, last + 1)], **where)


def _always(_partition, _hour):
    return True


def test_names_tell_what_a_file_holds(archive):
    file = _add(archive, 5, 9)

    assert file.path.relative_to(archive).as_posix() == "transactions.v1/2026-01-02/00/transactions.v1-0a1b2c3d-0-5-9.parquet"
    assert parse(file.path) == file
    assert parse(file.path.with_name(file_name(PARTITION, 5, 9, "lost"))).kind == "lost"
    assert parse(file.path.with_name("else.parquet")) is None
    metadata = pl.read_parquet_metadata(file.path)
    assert (metadata["weir.first_offset"], metadata["weir.last_offset"]) == ("5", "9")


def test_a_file_within_another_is_superseded(archive):
    for first, last in ((0, 4), (5, 9), (0, 9), (10, 12)):
        _add(archive, first, last)
    kept, superseded = current(files_of(archive, TOPIC))

    assert [(file.first, file.last) for file in kept] == [(0, 9), (10, 12)]
    assert [(file.first, file.last) for file in superseded] == [(0, 4), (5, 9)]
    assert offsets(read_archive(archive, TOPIC)) == list(range(13))


def test_files_that_contradict_each_other_are_refused(archive):
    _add(archive, 0, 5)
    _add(archive, 4, 9)

    with pytest.raises(HistoryError, match="share offsets 4 to 5"):
        read_archive(archive, TOPIC)


def test_files_of_an_hour_become_one_and_rows_stay_in_order(archive):
    for first in range(0, 50, 10):
        _add(archive, first, first + 9)
    _add(archive, 50, 59, hour_ms=START_MS + HOUR_MS)
    assert [len(run) for run in mergeable(files_of(archive, TOPIC), lambda *_: False)] == [5]
    list(compact_topic(archive, TOPIC, lambda *_: False))

    assert [(file.first, file.last) for file in files_of(archive, TOPIC)] == [(0, 49), (50, 59)]
    assert offsets(read_archive(archive, TOPIC)) == list(range(60))


def test_the_newest_hour_is_merged_only_when_it_is_over(archive):
    _add(archive, 0, 4)
    _add(archive, 5, 9)

    assert list(mergeable(files_of(archive, TOPIC), lambda *_: False)) == []
    assert len(list(mergeable(files_of(archive, TOPIC), _always))) == 1


def test_marks_of_lost_records_and_large_files_are_not_merged(archive):
    _add(archive, 0, 4)
    write_empty(hour_folder(archive, TOPIC, START_MS), PARTITION, 5, 7, "lost")
    a, b, c = _add(archive, 8, 9), _add(archive, 10, 11), _add(archive, 12, 13)
    two = a.path.stat().st_size + b.path.stat().st_size

    assert list(mergeable(files_of(archive, TOPIC), _always)) == [[a, b, c]]
    assert list(mergeable(files_of(archive, TOPIC), _always, largest_bytes=two)) == [[a, b]]


class Crash(BaseException):
    """What ends a compaction."""


@pytest.mark.parametrize("n_done", range(5))
def test_a_compaction_that_ends_at_any_step_loses_and_repeats_nothing(archive, monkeypatch, n_done):
    files = [_add(archive, first, first + 9) for first in range(0, 30, 10)]
    steps = iter(range(10))

    def step():
        if next(steps) == n_done:
            raise Crash

    real_replace, real_unlink = os.replace, os.unlink

    def replace(*arguments):
        step()
        real_replace(*arguments)

    def unlink(path, **options):
        if not str(path).endswith(".unfinished"):
            step()
        real_unlink(path, **options)

    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(os, "unlink", unlink)
    if n_done < 4:
        with pytest.raises(Crash):
            compact(files)
    else:
        compact(files)
    monkeypatch.undo()

    assert offsets(read_archive(archive, TOPIC)) == list(range(30))
    assert next_offsets(archive, TOPIC) == {PARTITION: 30}
    with held(archive, ""):
        list(compact_topic(archive, TOPIC, _always))
    assert [(file.first, file.last) for file in files_of(archive, TOPIC)] == [(0, 29)]
    assert offsets(read_archive(archive, TOPIC)) == list(range(30))


def test_old_days_go_and_positions_stay(archive):
    _add(archive, 0, 4)
    newest = _add(archive, 5, 9, hour_ms=START_MS + HOUR_MS)
    gone = _add(archive, 0, 9, uuid="ffffffff-0000-4000-8000-000000000000")
    now_ms = START_MS + 3 * DAY_MS

    def remove(keep_days):
        return remove_old_days(archive, TOPIC, keep_days=keep_days, live={"0a1b2c3d"}, now_ms=now_ms)

    assert remove(3) == []
    assert remove(2) == ["2026-01-02"]
    assert remove(2) == []
    assert not newest.path.exists()
    assert not gone.path.exists()
    assert next_offsets(archive, TOPIC) == {PARTITION: 10}
    assert read_archive(archive, TOPIC).is_empty()

    _add(archive, 10, 14, hour_ms=now_ms)
    assert remove(2) == ["2026-01-02"]
    assert [(file.first, file.last) for file in files_of(archive, TOPIC)] == [(10, 14)]


def test_a_folder_is_made_an_archive_cleared_and_held(tmp_path):
    archive = tmp_path / "new"
    with held(archive, "p."):
        unfinished = hour_folder(archive, TOPIC, START_MS) / ".x.parquet.unfinished"
        unfinished.parent.mkdir(parents=True)
        unfinished.touch()
        with pytest.raises(ConfigError, match="another weir archive"), held(archive, "p."):
            pass
    with held(archive, "p."):
        assert not unfinished.exists()
    with pytest.raises(ConfigError, match=r"prefix 'p\.'"), held(archive, ""):
        pass


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "history.parquet").touch()

    with pytest.raises(ConfigError, match=r"not empty \(it holds history.parquet\)"), held(tmp_path, ""):
        pass


def test_the_lock_of_a_killed_archiver_is_free(tmp_path):
    code = f"""
import os, pathlib
from service.archive_folder import held
with held(pathlib.Path({str(tmp_path / "a")!r}), ""):
    os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    with held(tmp_path / "a", ""):
        pass


def test_a_file_that_is_damaged_is_named(archive):
    file = _add(archive, 0, 4)
    file.path.write_bytes(b"PAR1 and nothing")

    with pytest.raises(HistoryError, match=r"transactions\.v1-0a1b2c3d-0-0-4\.parquet cannot be read"):
        read_archive(archive, TOPIC)


def test_columns_that_are_newer_than_a_file_are_null(archive):
    file = _add(archive, 0, 4)
    frame = pl.read_parquet(file.path).drop("account_age_days").with_columns(later=1)
    frame.write_parquet(file.path)
    _add(archive, 5, 9)

    assert read_archive(archive, TOPIC)["account_age_days"].null_count() == 10
    assert "later" not in read_archive(archive, TOPIC).columns
