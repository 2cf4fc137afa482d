import json
import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import ConfigError, HistoryError
from features.currency import Rates
from service.archive_compaction import compact
from service.archive_file import write_empty
from service.quality_log import QualityLog
from tests.unit.archive_sample import HOUR_MS, START_MS, add_file, make_archive, record, transaction

DAY_MS = 24 * HOUR_MS
FAR_MS = 1 << 50
UUIDS = {"scores.v1": "5c0e5000-0000-4000-8000-000000000000", "labels.v1": "1abe1000-0000-4000-8000-000000000000"}


def score(i, *, p=0.01, decision="approve", day=0, source=None, flags=(), **more):
    fields = {
        "transaction_id": f"t{i}", "card_id": "c", "event_time_ms": START_MS + day * DAY_MS + i, "scored_at_ms": 1, "probability": p,
        "decision": decision, "tier": "full", "flags": flags, "model": "m@1", "variant": "champion", "policy": "p", "spec": "s",
        "source": source or (0, i),
    }  # fmt: skip
    return json.dumps(fields | more).encode()


def label(i, *, day=5, is_fraud=True, source="chargeback"):
    time_ms = START_MS + int(day * DAY_MS)
    return json.dumps({"transaction_id": f"t{i}", "is_fraud": is_fraud, "label_time_ms": time_ms, "source": source}).encode()


def payment(i, *, day=0, amount=100, **more):
    return transaction(i, event_time_ms=START_MS + day * DAY_MS + i, amount_minor=amount, **more)


class Bank:
    """An archive that grows, and the log that reads it."""

    def __init__(self, folder):
        self.folder = folder
        self.archive = make_archive(folder / "archive")
        self._next = {}
        self.log = None

    def add(self, topic, values, *, hour=0, partition=0, skip=0, append_ms=START_MS + 40 * DAY_MS):
        first = self._next.get((topic, partition), 0) + skip
        self._next[topic, partition] = first + len(values)
        records = [record(first + i, append_ms + i, value, partition) for i, value in enumerate(values)]
        options = {"uuid": UUIDS[topic]} if topic in UUIDS else {}
        return add_file(self.archive, topic, records, hour_ms=START_MS + hour * HOUR_MS, **options)

    def report(self, now_ms=FAR_MS, **options):
        if self.log is None:
            self.log = QualityLog(self.archive, self.folder, rates=Rates("EUR"))
        return self.log.refresh(now_ms, **options)

    def restart(self):
        if self.log is not None:
            self.log.close()
        self.log = None


@pytest.fixture
def bank(tmp_path):
    bank = Bank(tmp_path)
    yield bank
    bank.restart()


def _day(report, day=0):
    return next(one for one in report.days if one.day_ms == START_MS + day * DAY_MS)


def test_labels_join_answers_and_amounts_by_transaction(bank):
    bank.add("scores.v1", [score(0, p=0.9, decision="decline"), score(1, p=0.8, decision="review"), score(2), score(3, day=1)])
    bank.add("transactions.v1", [payment(0, amount=700), payment(1), payment(2, amount=50), payment(3, day=1)])
    bank.add("labels.v1", [label(0), label(2, day=30), label(99)])
    report = bank.report()
    day = _day(report)

    assert [day.n, day.n_alerts, day.n_frauds] == [3, 2, 2]
    assert (day.caught_minor, day.missed_minor) == (700, 50)
    assert (day.precision.raw, day.recall.raw) == (0.5, 0.5)
    assert day.precision.label_free == pytest.approx(0.85)
    assert _day(report, 1).n_frauds == 0
    assert report.at_ms == START_MS + 30 * DAY_MS + 1


def test_a_repeated_answer_counts_once_and_a_restated_one_replaces_the_degraded(bank):
    first = score(0, p=0.1, flags=["degraded"])
    bank.add("scores.v1", [first, score(1), score(1)])
    assert _day(bank.report()).n == 2

    bank.add("scores.v1", [first, score(0, p=0.7, decision="review", flags=["restated"]), first], hour=1)
    day = _day(bank.report())

    assert (day.n, day.n_alerts) == (2, 1)
    assert day.precision.label_free == pytest.approx(0.7)


def test_of_different_answers_the_first_by_append_time_counts_even_if_read_later(bank):
    bank.add("scores.v1", [score(0, p=0.3, decision="review")], append_ms=START_MS + 2 * DAY_MS, partition=1)
    bank.report()
    bank.add("scores.v1", [score(0, p=0.2)], append_ms=START_MS + DAY_MS)

    assert _day(bank.report()).n_alerts == 0


def test_the_answer_to_a_transaction_that_was_sent_again_is_left_out(bank):
    bank.add("scores.v1", [score(0), score(0, p=0.9, decision="decline", day=1, source=(0, 7), flags=["duplicate"])])

    assert [(day.n, day.n_alerts) for day in bank.report().days] == [(1, 0)]


def test_of_contradicting_labels_the_later_one_wins_whenever_it_came(bank):
    bank.add("scores.v1", [score(i) for i in range(3)])
    bank.add("labels.v1", [label(0, day=9, is_fraud=False), label(1, day=3, is_fraud=False), label(2, day=4)])
    assert _day(bank.report()).n_frauds == 1

    bank.add("labels.v1", [label(0, day=8), label(1, day=6), label(2, day=4, is_fraud=False)], hour=1)

    assert _day(bank.report()).n_frauds == 1
    assert (bank.log._days.facts()[START_MS].known_ms - START_MS).tolist() == [6 * DAY_MS]


def test_a_confirmed_fraud_is_known_since_it_was_first_said(bank):
    bank.add("scores.v1", [score(0)])
    bank.add("labels.v1", [label(0, day=1), label(0, day=2, is_fraud=False), label(0, day=3, source="analyst"), label(0, day=20)])
    bank.report()

    assert (bank.log._days.facts()[START_MS].known_ms - START_MS).tolist() == [3 * DAY_MS]


def test_a_label_from_the_future_is_known_when_it_arrives(bank):
    bank.add("scores.v1", [score(0)])
    bank.add("labels.v1", [label(0, day=9_000)], append_ms=START_MS + 12 * DAY_MS)

    assert bank.report().at_ms == START_MS + 12 * DAY_MS + 1
    assert bank.report(START_MS + 10 * DAY_MS).at_ms == START_MS + 10 * DAY_MS + 1


def test_a_missing_hour_makes_its_day_incomplete_until_it_is_there(bank):
    bank.add("scores.v1", [score(i) for i in range(3)])
    lost = bank.add("scores.v1", [score(i, day=1) for i in range(10, 15)], hour=25)
    bank.add("scores.v1", [score(i, day=1) for i in range(20, 24)], hour=26)
    bank.add("scores.v1", [score(30, day=2)], hour=48)
    kept = Path(f"{lost.path}.away")
    lost.path.rename(kept)
    report = bank.report()

    assert [(day.is_incomplete, day.n) for day in report.days] == [(True, 3), (True, 4), (False, 1)]
    assert report.days[1].note == "Up to 5 answers from 2026-01-02 00:00 UTC to 2026-01-03 00:00 UTC are missing in the archive."

    kept.rename(lost.path)
    assert [(day.is_incomplete, day.n) for day in bank.report().days] == [(False, 3), (False, 9), (False, 1)]


def test_what_kafka_had_removed_is_a_hole_and_what_the_archive_removed_is_none(bank):
    bank.add("scores.v1", [score(0)])
    lost = bank.add("scores.v1", [score(1)], hour=1, skip=4)
    expired = bank.add("scores.v1", [score(2)], hour=2, skip=3)
    write_empty(lost.path.parent, lost.partition, 1, 4, "lost")
    write_empty(expired.path.parent, expired.partition, 6, 8, "expired")
    day = _day(bank.report())

    assert day.n == 3
    assert day.note == "Up to 4 answers from 2026-01-02 00:00 UTC to 2026-01-02 00:00 UTC are missing in the archive."


def test_a_damaged_file_is_named_and_the_others_are_read(bank):
    bank.add("scores.v1", [score(0)])
    damaged = bank.add("scores.v1", [score(1)], hour=1)
    bank.add("scores.v1", [score(2)], hour=1)
    whole = damaged.path.read_bytes()
    damaged.path.write_bytes(b"no parquet")
    os.utime(damaged.path.parent, (1, 1))
    for _ in range(2):
        report = bank.report()
        assert _day(report).n == 2
        assert any(str(damaged.path) in note for note in report.notes)

    damaged.path.write_bytes(whole)
    bank.restart()
    report = bank.report()
    assert _day(report).n == 3
    assert not any(str(damaged.path) in note for note in report.notes)


def test_merged_files_are_not_read_again(bank):
    run = [bank.add("scores.v1", [score(i)]) for i in range(3)]
    before = bank.report()
    compact(run)
    bank.add("scores.v1", [score(7)])

    assert _day(bank.report()).n == _day(before).n + 1


def test_amounts_are_in_the_base_currency_and_unknown_ones_are_told(bank):
    rates = Rates("EUR", {"JPY": (np.array([0]), np.array([0.01]))})
    bank.add("scores.v1", [score(i) for i in range(3)])
    bank.add("labels.v1", [label(0), label(1), label(2)])
    bank.add("transactions.v1", [payment(0, amount=5_000, currency="JPY"), payment(1, amount=9, currency="XYZ")])
    bank.log = QualityLog(bank.archive, bank.folder, rates=rates)
    day = _day(bank.report())

    assert day.missed_minor == 5_000
    assert day.note == "The amount of 2 known frauds is not known in the base currency and counts as 0."

    bank.add("transactions.v1", [payment(2, amount=30)], hour=1)
    day = _day(bank.report())
    assert day.missed_minor == 5_030
    assert "The amount of 1 known fraud is not" in day.note


def test_without_an_archive_the_error_says_what_to_do(tmp_path):
    log = QualityLog(tmp_path / "none", tmp_path, rates=Rates("EUR"))

    with pytest.raises(HistoryError, match="run weir archive"):
        log.refresh(FAR_MS)
    log.close()


def test_records_that_cannot_be_decoded_are_left_out(bank):
    for topic, value in (("scores.v1", score(0)), ("labels.v1", label(0)), ("transactions.v1", payment(0))):
        bank.add(topic, [b"broken", value, b"{}"])
    bank.add("scores.v1", [b"broken"], hour=1)

    assert (_day(bank.report()).n, _day(bank.report()).n_frauds) == (1, 1)


def test_an_empty_archive_is_an_empty_report_with_a_sentence(bank):
    report = bank.report()

    assert report.days == []
    assert "no answers yet" in report.sentence


def test_one_process_at_a_time_keeps_a_folder(bank):
    bank.report()

    with pytest.raises(ConfigError, match="another weir web"):
        QualityLog(bank.archive, bank.folder, rates=Rates("EUR"))


def test_old_days_are_dropped(bank):
    bank.add("scores.v1", [score(0), score(1, day=3)])
    bank.log = QualityLog(bank.archive, bank.folder, rates=Rates("EUR"), keep_days=3)
    assert [day.day_ms for day in bank.report().days] == [START_MS + 3 * DAY_MS]

    bank.add("scores.v1", [score(2, day=1)], hour=1)
    assert [day.day_ms for day in bank.report().days] == [START_MS + day * DAY_MS for day in (1, 3)]


def test_the_present_threshold_has_a_row_of_its_own(bank):
    bank.add("scores.v1", [score(i, p=i / 10) for i in range(10)] + [score(20, p=0.2, day=70)])
    report = bank.report(threshold=0.55)
    row = next(row for row in report.thresholds if row.threshold == 0.55)

    assert report.n_matured_days == 1
    assert row.alerts_per_day == 4
    assert row.recall is None


@pytest.mark.parametrize(
    "name", ["state.json", "labels.arrow", "days/20455.answers", "days/20455.ids", "days/20455.facts", "days/20455.amounts"]
)
@pytest.mark.parametrize("content", [None, b"", b"damaged"])
def test_damaged_keeping_is_made_anew_from_the_archive(bank, name, content):
    bank.add("scores.v1", [score(i, decision="review") for i in range(5)])
    bank.add("transactions.v1", [payment(i, amount=10) for i in range(5)])
    bank.add("labels.v1", [label(1), label(2)])
    before = bank.report()
    bank.restart()
    path = bank.folder / "quality" / name
    assert path.exists()
    path.unlink() if content is None else path.write_bytes(content)
    bank.add("labels.v1", [label(3)], hour=1)
    day = _day(bank.report())

    assert (day.n, day.n_frauds, day.caught_minor) == (5, _day(before).n_frauds + 1, 30)


@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_however_it_comes_and_whenever_it_is_killed_the_report_is_that_of_one_look(data):
    values = {
        "scores.v1": [score(i, p=i / 40, decision="review" if i % 3 else "approve", day=i % 4, source=(i % 2, i // 2)) for i in range(24)],
        "transactions.v1": [payment(i, day=i % 4, amount=i) for i in range(24)],
        "labels.v1": [label(i % 24, day=4 + i / 5, is_fraud=i % 5 > 0) for i in range(30)],
    }
    values["scores.v1"] += [score(1, p=0.99, decision="decline", day=1, source=(1, 0), flags=["restated"]), values["scores.v1"][5]]
    with TemporaryDirectory() as name:
        bank, once = Bank(Path(name)), None
        pieces = []
        for topic, own in values.items():
            cuts = sorted(data.draw(st.sets(st.integers(1, len(own) - 1), max_size=4)))
            parts = [own[a:b] for a, b in zip([0, *cuts], [*cuts, len(own)], strict=True)]
            # Transactions go where the scores say they stood: partition i % 2, offset i // 2.
            pieces += [(topic, part) for part in parts] if topic != "transactions.v1" else [(topic, own)]
        for hour, (topic, part) in enumerate(data.draw(st.permutations(pieces))):
            if topic == "transactions.v1":
                for partition in (0, 1):
                    bank.add(topic, part[partition::2], partition=partition)
            else:
                bank.add(topic, part, hour=hour, append_ms=START_MS + 40 * DAY_MS + 100 * pieces.index((topic, part)))
            if data.draw(st.booleans()):
                bank.report()
            if data.draw(st.booleans()) and bank.log is not None:
                state = bank.folder / "quality" / "state.json"
                earlier = state.read_bytes() if state.exists() else None
                bank.report()
                bank.restart()
                if earlier is not None and data.draw(st.booleans()):
                    state.write_bytes(earlier)  # killed before the state was written
        found = bank.report()
        bank.restart()
        shutil.rmtree(bank.folder / "quality")
        once = bank.report()
        bank.restart()

    assert found == once
    assert sum(day.n for day in once.days) == 24
