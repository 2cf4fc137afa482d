"""Whether alerts are still right, from the archive."""

import json

import msgspec
import pytest

from domain.decision import Alert
from domain.errors import HistoryError
from service.web.concept import newest_change
from tests.unit.archive_sample import START_MS, add_file, make_archive, record

DAY_MS = 86_400_000
HOUR_MS = 3_600_000


def alert(number: int, **changes) -> bytes:
    fields = {
        "transaction_id": f"t{number}", "card_id": "c1", "event_time_ms": START_MS + number * HOUR_MS, "scored_at_ms": 6,
        "probability": 0.5, "decision": "review", "tier": "full", "flags": (), "model": "weir@1", "variant": "champion", "policy": "p",
        "spec": "s", "source": (0, number), "amount_minor": 1, "currency": "EUR", "merchant_id": "m1", "reasons": (),
    }  # fmt: skip
    return msgspec.json.encode(msgspec.convert(fields | changes, Alert))


def label(number: int, *, is_fraud: bool = True, after_ms: int = DAY_MS) -> bytes:
    at_ms = START_MS + number * HOUR_MS + after_ms
    return json.dumps({"transaction_id": f"t{number}", "is_fraud": is_fraud, "label_time_ms": at_ms, "source": "analyst"}).encode()


def archive_of(folder, alerts: list[bytes], labels: list[bytes]):
    found = make_archive(folder)
    add_file(found, "alerts.v1", [record(offset, value=value) for offset, value in enumerate(alerts)])
    add_file(found, "labels.v1", [record(offset, value=value) for offset, value in enumerate(labels)])
    return found


def change(archive, **changes):
    options = {"maturity_ms": 7 * DAY_MS, "now_ms": START_MS + 100 * DAY_MS} | changes
    return newest_change(archive, options.pop("model", "weir@1"), "p", **options)


def test_alerts_that_are_right_less_often_are_found_and_others_are_not(tmp_path):
    right_until = 600
    archive = archive_of(
        tmp_path, [alert(number) for number in range(1_200)], [label(number) for number in range(1_200) if number < right_until]
    )

    found = change(archive)

    assert found.precision_before > 0.9
    assert found.precision_now < 0.1
    assert abs(found.since_ms - (START_MS + right_until * HOUR_MS)) < 5 * HOUR_MS
    assert change(archive, model="another@1") is None
    assert change(archive, now_ms=START_MS + 600 * HOUR_MS) is None


def test_a_fraud_that_was_taken_back_counts_as_wrong_and_one_reported_too_late_too(tmp_path):
    numbers = range(600, 1_200)
    taken_back = [label(number, is_fraud=False, after_ms=2 * DAY_MS) for number in numbers if number % 2]
    late = [label(number, after_ms=8 * DAY_MS) for number in numbers if not number % 2]
    archive = archive_of(
        tmp_path, [alert(number) for number in range(1_200)],
        [*(label(number) for number in range(1_200) if number < 600 or number % 2), *taken_back, *late],
    )  # fmt: skip

    assert change(archive).precision_now < 0.1


def test_no_archive_is_an_error_that_says_so(tmp_path):
    with pytest.raises(HistoryError, match="is not an archive"):
        change(tmp_path)
