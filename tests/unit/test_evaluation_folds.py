"""Which rows train, which test, and whose fraud was known when."""

from itertools import pairwise

import msgspec
import numpy as np
import polars as pl
import pytest

from domain.errors import HistoryError
from models.folds import Plan, fold_at, folds_of, known_cards, with_fixed_delay
from models.judged import Truth, judged_rows
from models.options import DAY_MS

PLAN = Plan(train_days=10, delay_days=3, test_days=4, warm_up_days=20)


def history_of(rows: list[dict[str, object]]) -> pl.DataFrame:
    schema = {"event_time_ms": pl.Int64, "card_id": pl.String, "is_fraud": pl.Boolean, "label_time_ms": pl.Int64}
    return pl.DataFrame([{"card_id": "c", "is_fraud": False, "label_time_ms": None} | row for row in rows], schema=schema)


def days(n: int) -> pl.DataFrame:
    return history_of([{"event_time_ms": day * DAY_MS + 1} for day in range(n)])


def test_a_fold_trains_waits_and_tests_on_half_open_windows():
    fold = fold_at(PLAN, 100 * DAY_MS)

    assert (fold.window.from_ms, fold.as_of_ms, fold.test_to_ms) == (100 * DAY_MS, 113 * DAY_MS, 117 * DAY_MS)
    times = np.array([fold.as_of_ms - 1, fold.as_of_ms, fold.test_to_ms - 1, fold.test_to_ms])
    assert fold.tests(times).tolist() == [False, True, True, False]
    trained = fold.window.eligible(history_of([{"event_time_ms": d * DAY_MS} for d in (99, 100, 109, 110)]))
    assert trained.tolist() == [False, True, True, False]


def test_automatic_folds_are_the_newest_and_do_not_overlap():
    found = folds_of(PLAN, days(60))

    assert [fold.test_to_ms // DAY_MS for fold in found] == [48, 52, 56, 60]
    assert all(a.test_to_ms == b.as_of_ms for a, b in pairwise(found))


def test_automatic_folds_leave_the_warm_up_unless_none_would_be_left():
    assert [fold.from_ms // DAY_MS for fold in folds_of(PLAN, days(42))] == [21, 25]
    assert [fold.from_ms // DAY_MS for fold in folds_of(PLAN, days(20))] == [3]


@pytest.mark.parametrize(
    ("plan", "n_days", "why"),
    [
        (PLAN, 16, "the history has 16 days; training, delay and test need 17"),
        (
            msgspec.structs.replace(PLAN, starts_ms=(50 * DAY_MS,)),
            60,
            "trains and tests outside the history, .* give --starts from 1970-01-01",
        ),
        (msgspec.structs.replace(PLAN, starts_ms=(-20 * DAY_MS,)), 60, "trains and tests outside the history"),
    ],
)
def test_a_history_that_is_too_short_is_told_in_one_sentence(plan, n_days, why):
    with pytest.raises(HistoryError, match=why):
        folds_of(plan, days(n_days))


def test_an_empty_history_is_told():
    with pytest.raises(HistoryError, match="holds no transactions"):
        folds_of(PLAN, days(1).clear())


@pytest.mark.parametrize(
    ("event_day", "label_day", "known_days", "known_on"),
    [
        (20, 22, 30, [22, 23, 24]),  # from the first midnight after the label on
        (20, 23.5, 30, [24]),
        (20, 23 + 1 / DAY_MS, 30, [24]),  # a label at midnight itself is too late for the day that begins
        (20, 40, 30, []),
        (20, 21, 3, [22, 23]),  # known before, but too long ago
        (20, 21, 2, [22]),
        (9, 10, None, []),  # before the first training day
        (10, 11, None, [22, 23, 24]),
    ],
)
def test_a_card_is_known_from_the_midnight_after_its_label_on(event_day, label_day, known_days, known_on):
    fraud = {"event_time_ms": event_day * DAY_MS, "is_fraud": True, "label_time_ms": round(label_day * DAY_MS) - 1, "card_id": "x"}
    tests = [{"event_time_ms": day * DAY_MS + hour, "card_id": card} for day in (22, 23, 24) for hour, card in ((5, "x"), (6, "y"))]
    history = history_of([fraud, *tests])
    fold = fold_at(Plan(train_days=10, delay_days=2, test_days=3), 10 * DAY_MS)
    card = Truth.of(history).card

    found = known_cards(history, card, fold, np.arange(1, 7), known_days)

    assert [day for day, is_known in zip((22, 22, 23, 23, 24, 24), found.tolist(), strict=True) if is_known] == known_on
    assert not found[1::2].any()


def test_rows_whose_truth_is_not_known_do_not_test():
    history = history_of([{"event_time_ms": 113 * DAY_MS + place, "is_fraud": known} for place, known in enumerate((True, None, False))])
    fold = fold_at(PLAN, 100 * DAY_MS)

    found = judged_rows(history.with_columns(label_time_ms=pl.lit(2**50)), Truth.of(history), fold, 30)

    assert found.row.tolist() == [0, 2]
    assert found.target.tolist() == [True, False]


def test_the_story_is_the_truth_where_one_is_told():
    history = history_of([{"event_time_ms": 1, "is_fraud": None}, {"event_time_ms": 2, "is_fraud": True, "label_time_ms": 3}])
    found = Truth.of(history.with_columns(story=pl.Series(["card_test", None])))

    assert found.is_fraud.tolist() == [True, False]
    assert found.is_counted.tolist() == [True, True]


def test_a_fixed_delay_moves_the_labels_of_frauds_only():
    history = history_of(
        [{"event_time_ms": 5, "is_fraud": True, "label_time_ms": 9}, {"event_time_ms": 6, "label_time_ms": 8}, {"event_time_ms": 7}]
    )

    assert with_fixed_delay(history, 2)["label_time_ms"].to_list() == [5 + 2 * DAY_MS, 8, None]
