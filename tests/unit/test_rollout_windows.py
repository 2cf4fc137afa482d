"""Automatic rollback: two of three five-minute windows in which a trial does harm."""

import msgspec
import numpy as np
import pytest

from monitoring.fleet import VariantCount, WorkerState
from monitoring.rollout_windows import WINDOW_MS, TrialWindow, WindowCounter, harm, why_roll_back

_WELL = TrialWindow(0, n=10_000, n_challenger=1_000, n_challenger_alerts=5, n_shadow=9_000, n_shadow_alerts=45)
_NOISY = msgspec.structs.replace(_WELL, n_challenger_alerts=40)
_STATE = WorkerState(
    worker="aaaaaaaa", at_ms=0, started_ms=0, model="weir@1", spec="", policy="", partitions=[0], lag=0, event_ms=0, transactions=0,
    labels=0, decisions={}, flags={}, dead_letters=0, latency_edges_s=[0.05, 0.1], latency_counts=[0, 0, 0], redis="ok", problem="",
    metrics="", challenger="weir@2",
)  # fmt: skip


def _said(worker: str, started_ms: int, decided: int, alerts: int, shadow: int, *, late: int = 0, not_full: int = 0) -> WorkerState:
    variants = (
        VariantCount("champion", "weir@1", shadow, 0, not_full),
        VariantCount("challenger", "weir@2", decided, alerts, 0),
        VariantCount("shadow", "weir@2", shadow, shadow // 200, 0),
        VariantCount("shadow", "weir@1", decided, decided // 200, 0),
    )
    return msgspec.structs.replace(
        _STATE, worker=worker, started_ms=started_ms, variants=variants, latency_counts=[decided + shadow - late, late, 0]
    )


@pytest.mark.parametrize(
    ("window", "word"),
    [
        (_NOISY, "it alerts on 4.00%"),
        (msgspec.structs.replace(_WELL, n_challenger=5_000, n_challenger_alerts=2), "it alerts on 0.04%"),
        (msgspec.structs.replace(_WELL, n_not_full=101), "not the full model's"),
        (msgspec.structs.replace(_WELL, n_late=101), "later than the latency budget"),
    ],
)
def test_each_kind_of_harm_is_named(window: TrialWindow, word: str) -> None:
    assert word in harm(window)


@pytest.mark.parametrize(
    "window",
    [
        _WELL,
        msgspec.structs.replace(_WELL, n_challenger_alerts=9),
        msgspec.structs.replace(_WELL, n_not_full=100, n_late=100),
        msgspec.structs.replace(_WELL, n_challenger=0, n_challenger_alerts=0),
    ],
)
def test_what_is_within_the_limits_is_no_harm(window: TrialWindow) -> None:
    assert harm(window) == ""


def test_a_few_alerts_more_than_twice_as_many_are_chance_and_not_harm() -> None:
    assert harm(TrialWindow(0, n=10_000, n_challenger=500, n_challenger_alerts=6, n_shadow=9_500, n_shadow_alerts=47)) == ""


def test_two_of_three_windows_end_a_trial_and_one_does_not() -> None:
    assert why_roll_back([_NOISY, _WELL, _NOISY]).startswith("in 2 of the last 3 five-minute windows")
    assert why_roll_back([_NOISY, _NOISY])
    assert why_roll_back([_WELL, _NOISY, _WELL]) == ""
    assert why_roll_back([_NOISY, _NOISY, _WELL, _WELL]) == ""
    assert why_roll_back([]) == ""


def test_windows_with_fewer_than_2000_answers_are_passed_over() -> None:
    small = msgspec.structs.replace(_NOISY, n=1_999)

    assert why_roll_back([small, small, small]) == ""
    assert why_roll_back([_NOISY, small, small, _NOISY])


def test_windows_hold_what_was_counted_in_them_by_every_worker() -> None:
    counter = WindowCounter("weir@2", started_ms=50, budget_ms=50)

    assert not counter.hear([_said("a", 0, 1_000, 10, 9_000)], now_ms=0)
    counter.hear([_said("a", 0, 1_200, 30, 11_000, late=7), _said("b", 60, 300, 3, 2_000, not_full=5)], now_ms=WINDOW_MS - 1)
    has_ended = counter.hear([_said("a", 0, 1_300, 30, 12_000, late=7), _said("b", 60, 300, 3, 2_000, not_full=5)], now_ms=WINDOW_MS)

    assert has_ended
    assert counter.windows == [TrialWindow(0, 4_500, 5, 7, 500, 23, 4_000, 20)]


def test_a_trial_as_good_as_its_shadow_goes_on_for_28_days() -> None:
    random = np.random.default_rng(28)
    n_shadow, n = 9_500, 500
    windows: list[TrialWindow] = []
    for _ in range(28 * 288):
        alerts, shadow = int(random.binomial(n, 0.005)), int(random.binomial(n_shadow, 0.005))
        windows = [*windows[-2:], TrialWindow(0, n + n_shadow, 0, 0, n, alerts, n_shadow, shadow)]
        assert why_roll_back(windows) == ""
