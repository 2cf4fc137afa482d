import os

import pytest

from features.archive_news import ArchiveNews, read_rows
from tests.unit.archive_sample import HOUR_MS, START_MS, add_file, make_archive, record, transaction

TOPIC = "transactions.v1"


@pytest.fixture
def archive(tmp_path):
    return make_archive(tmp_path / "archive")


def _add(archive, offset, hour=0):
    return add_file(archive, TOPIC, [record(offset, value=transaction(offset))], hour_ms=START_MS + hour * HOUR_MS)


def _found(news, **options):
    return [file.first for hour in news.changed(TOPIC, **options) for file in hour.files]


def test_a_remembered_hour_is_shown_again_when_it_changes(archive):
    for hour in range(2):
        os.utime(_add(archive, hour, hour).path.parent, (1, 1))
    news = ArchiveNews(archive)
    for hour in news.changed(TOPIC)[:1]:
        news.remember(hour)
    assert _found(news) == [1]

    folder = _add(archive, 2, 0).path.parent
    os.utime(folder, (2, 2))
    assert sorted(_found(news)) == [0, 1, 2]


def test_an_hour_that_changed_just_now_is_shown_again_as_it_may_change_within_the_same_tick(archive):
    _add(archive, 0)
    news = ArchiveNews(archive)
    for hour in news.changed(TOPIC):
        news.remember(hour)

    assert _found(news) == [0]


def test_days_before_the_first_one_are_left_out(archive):
    for day in range(3):
        _add(archive, day, 24 * day)
    news = ArchiveNews(archive)

    assert news.newest_day(TOPIC) == "2026-01-04"
    assert _found(news, from_day="2026-01-03") == [1, 2]
    assert all(hour.n_bytes == sum(file.path.stat().st_size for file in hour.files) for hour in news.changed(TOPIC))


def test_a_topic_without_a_folder_has_no_news(archive):
    news = ArchiveNews(archive)

    assert news.changed(TOPIC) == []
    assert not news.newest_day(TOPIC)


def test_rows_come_with_the_name_of_their_file(archive):
    files = [_add(archive, offset) for offset in range(2)]
    rows = read_rows(files, TOPIC, ["offset", "transaction_id"], file="from")

    assert rows.rows() == [(0, "t0", str(files[0].path)), (1, "t1", str(files[1].path))]
    assert read_rows([], TOPIC, ["offset"], file="from").is_empty()
