"""The small model takes over when chunks begin late again and again, and gives back when they have been early for a while."""

import pytest

from stream.shedding import Shedding

BUDGET_MS = 1_000.0


def play(shedding: Shedding, waits_ms: list[float], every_ms: int = 100, start_ms: int = 0) -> list[bool]:
    """Begin a chunk every `every_ms` that waited so long."""
    return [
        shedding.begin([int(start_ms + i * every_ms - wait), start_ms + i * every_ms], start_ms + i * every_ms)
        for i, wait in enumerate(waits_ms)
    ]


def test_three_late_chunks_in_a_row_bring_the_small_model():
    assert play(Shedding(BUDGET_MS), [1_001, 1_001, 999, 1_001, 1_001, 1_001]) == [False] * 5 + [True]


def test_the_full_model_comes_back_after_five_calm_seconds_below_half_the_budget():
    shedding = Shedding(BUDGET_MS)
    assert play(shedding, [2_000] * 3)[-1]

    found = play(shedding, [400] * 20 + [600] + [400] * 60, start_ms=10_000)

    assert found == [True] * 71 + [False] * 10
    assert shedding.n_times == 1


def test_between_half_the_budget_and_the_budget_nothing_changes():
    fresh, busy = Shedding(BUDGET_MS), Shedding(BUDGET_MS)
    play(busy, [2_000] * 3)

    assert not any(play(fresh, [900] * 100))
    assert all(play(busy, [900] * 100))


def test_each_time_is_counted_once():
    shedding = Shedding(BUDGET_MS)
    play(shedding, [2_000] * 10)
    play(shedding, [0] * 100, start_ms=20_000)
    assert not shedding.is_on
    play(shedding, [2_000] * 10, start_ms=60_000)

    assert (shedding.n_times, shedding.is_on) == (2, True)


@pytest.mark.parametrize("wait_ms", [0, 10**9])
def test_without_a_budget_the_full_model_always_answers(wait_ms):
    assert not any(play(Shedding(0), [wait_ms] * 10))
