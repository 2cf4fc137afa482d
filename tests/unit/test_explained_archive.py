"""A transaction's records in an archive: the right ones, and not by reading everything."""

import json
from dataclasses import replace

import pytest

from features.archive_search import ArchiveSearch
from features.feature_row import FeatureRow, encode_row
from service.archive_compaction import compact_topic
from service.explained_archive import find_in_archive
from service.transaction_records import Place
from tests.unit.archive_sample import HOUR_MS, START_MS, add_file, make_archive, record, transaction

WINDOW_MS = HOUR_MS


def _score(i, source, **more):
    fields = {
        "transaction_id": f"t{i}", "card_id": "c", "event_time_ms": 1000 + i, "scored_at_ms": 5, "probability": 0.5, "decision": "review",
        "tier": "full", "flags": [], "model": "m@1", "variant": "champion", "policy": "p", "spec": "0" * 16, "source": [0, source],
    }  # fmt: skip
    return json.dumps(fields | more).encode()


def _alert(i, source, **more):
    reason = {"code": "amount", "text": "much", "feature": "event_log_amount", "value": None, "contribution": 1.0}
    extra = {"amount_minor": i, "currency": "EUR", "merchant_id": "m", "reasons": [reason]}
    return json.dumps(json.loads(_score(i, source)) | extra | more).encode()


def _vector(i, source, n=3):
    return encode_row(FeatureRow(f"t{i}", 0, 0, 0, source, 1000 + i, "0" * 16, (0, 0, -1, -1), b"\0" * 4 * n))


def _label(i, day=3, is_fraud="true"):
    return b'{"transaction_id":"t%d","is_fraud":%b,"label_time_ms":%d,"source":"analyst"}' % (i, is_fraud.encode(), START_MS + day)


def _hour(archive, topic, hour, values, first=0):
    """Append values to partition 0 within an hour, one file."""
    time_ms = START_MS + hour * HOUR_MS
    return add_file(archive, topic, [record(first + n, time_ms + n, value) for n, value in enumerate(values)], hour_ms=time_ms)


@pytest.fixture
def archive(tmp_path):
    """Forty hours with ten transactions each, answered in the same hour; t123 was sent again at once."""
    archive = make_archive(tmp_path / "archive")
    for hour in range(40):
        numbers, first = range(hour * 10, hour * 10 + 10), hour * 11
        values = [transaction(i, extra={"note": "x"}) for i in numbers]
        again = 123 if hour == 12 else numbers[9] + 10_000
        _hour(archive, "transactions.v1", hour, [*values, transaction(again)], first)
        flags = ["duplicate"] if hour == 12 else []
        _hour(
            archive,
            "scores.v1",
            hour,
            [*(_score(i, first + n) for n, i in enumerate(numbers)), _score(again, first + 10, flags=flags)],
            first,
        )
        _hour(archive, "alerts.v1", hour, [_alert(i, first + n) for n, i in enumerate(numbers)], hour * 10)
        _hour(archive, "features.v1", hour, [_vector(i, first + n) for n, i in enumerate(numbers)], hour * 10)
    _hour(archive, "labels.v1", 39, [_label(123), _label(123, 9, "false"), _label(7)])
    return archive


def _find(archive, transaction_id, place=None, on_piece=lambda *_: None):
    return find_in_archive(archive, transaction_id, place=place, duplicate_window_ms=WINDOW_MS, on_piece=on_piece)


def test_everything_of_a_transaction_is_found_and_as_it_was(archive):
    found, search = _find(archive, "t57")

    assert found.transaction == json.loads(transaction(57, extra={"note": "x"}))
    assert (found.source.partition, found.source.offset, found.source.append_ms) == (0, 62, START_MS + 5 * HOUR_MS + 7)
    assert found.scores == [json.loads(_score(57, 62))]
    assert found.alert == json.loads(_alert(57, 62))
    assert [(vector.spec, len(vector.content)) for vector in found.vectors] == [("0" * 16, 12)]
    assert found.labels == []
    assert found.is_answered
    assert search.unreadable == []


def test_the_record_that_was_sent_again_does_not_count_and_labels_come_in_order(archive):
    found, _ = _find(archive, "t123")

    assert found.source.offset == 12 * 11 + 3
    assert [score["flags"] for score in found.scores] == [[]]
    assert [label.is_fraud for label in found.labels] == [True, False]


def test_the_record_that_was_applied_counts_even_where_the_other_was_appended_before_it(tmp_path):
    archive = make_archive(tmp_path / "other")
    _hour(archive, "transactions.v1", 0, [transaction(5), transaction(5)])
    _hour(archive, "scores.v1", 0, [_score(5, 0, flags=["duplicate"]), _score(5, 1)])

    assert _find(archive, "t5")[0].source.offset == 1


def test_a_known_place_opens_only_the_files_that_can_hold_it(archive):
    _, whole = _find(archive, "t5")
    found, search = _find(archive, "t5", Place("0a1b2c3d", 0, 5))

    assert found.transaction["transaction_id"] == "t5"
    assert len(search.files("transactions.v1")) == 40
    assert search.n_read < whole.n_read
    assert _find(archive, "t5", Place("ffffffff", 0, 5))[0].transaction is None
    assert _find(archive, "t5", Place("", 0, 6))[0].transaction is None


def test_the_newest_hours_come_first_and_the_search_ends_at_the_hit(archive):
    seen = []
    _find(archive, "t399", on_piece=lambda done, n: seen.append(done))
    search = ArchiveSearch(archive, "t399")
    hours = [file.hour for file in search.files("transactions.v1")]

    assert hours == sorted(hours, reverse=True)
    assert max(seen) < 40


def test_a_search_can_be_ended(archive):
    class EndedError(Exception):
        pass

    def end(*_):
        raise EndedError

    with pytest.raises(EndedError):
        _find(archive, "t-unknown", on_piece=end)


def test_an_answer_without_history_is_followed_to_the_one_with_it(archive):
    _hour(archive, "transactions.v1", 41, [transaction(900)], 1_000)
    _hour(archive, "scores.v1", 41, [_score(900, 1_000, flags=["degraded"], tier="degraded", decision="approve")], 1_000)
    for hour in range(42, 80):
        _hour(archive, "scores.v1", hour, [_score(hour, 9)], 1_000 + hour)
    _hour(archive, "scores.v1", 80, [_score(900, 1_000, flags=["restated"])], 2_000)
    found, _ = _find(archive, "t900")

    assert [score["flags"] for score in found.scores] == [["degraded"], ["restated"]]
    assert found.first_score["tier"] == "degraded"


def test_a_damaged_file_is_named_and_the_others_are_searched(archive):
    damaged = ArchiveSearch(archive, "t1").files("transactions.v1")[3]
    damaged.path.write_bytes(b"PAR1 nonsense")
    found, search = _find(archive, "t57")

    assert found.transaction["transaction_id"] == "t57"
    assert len(search.unreadable) == 1
    assert damaged.path.name in search.unreadable[0]


def test_a_file_that_a_compaction_merged_meanwhile_is_read_where_it_went(tmp_path):
    archive = make_archive(tmp_path / "other")
    for part in range(4):
        _hour(archive, "transactions.v1", 0, [transaction(part * 10 + n) for n in range(10)], part * 10)
    search = ArchiveSearch(archive, "t25")
    files = search.files("transactions.v1")
    list(compact_topic(archive, "transactions.v1", lambda *_: True))
    assert not all(file.path.exists() for file in files)

    assert [row["offset"] for row in search.rows("transactions.v1", files)] == [25]


def test_records_are_completed_by_what_was_found_elsewhere(archive):
    whole, _ = _find(archive, "t57")
    part = replace(whole, found_in="topic", transaction=None, scores=[], alert=None)
    part.complete(whole)

    assert part == whole
