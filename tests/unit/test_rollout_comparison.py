"""A comparison of two models: equal alert rates, one piece of evidence a card, a verdict that depends on days alone."""

import numpy as np
import pytest
from numpy.typing import NDArray

from monitoring.rollout import COMPARED_DAYS, BothScored, ComparedDay, Comparison, Evidence, evidence_of, verdict_sentence

_DAY = 86_400_000


def _rows(
    champion: list[float],
    challenger: list[float],
    *,
    frauds: tuple[int, ...] = (),
    cards: list[int] | None = None,
) -> BothScored:
    n = len(champion)
    is_fraud: NDArray[np.bool_] = np.isin(np.arange(n), frauds)
    card = np.array(cards if cards is not None else range(n), np.uint64)
    return BothScored(np.array(champion), np.array(challenger), card, np.arange(n, dtype=np.int64), is_fraud)


def _day(day: int, champion_only: int, challenger_only: int) -> ComparedDay:
    return ComparedDay(day * _DAY, 10_000, 50, 50, 40, 20, champion_only, challenger_only)


def test_the_challenger_gets_as_many_alerts_as_the_champion_whatever_its_probabilities_mean() -> None:
    champion, challenger = [0.9, 0.8, 0.1, 0.1, 0.1], [0.001, 0.003, 0.002, 0.0, 0.0]

    [day] = Comparison().add(0, _rows(champion, challenger, frauds=(0, 1, 2)), 0.5).days

    assert (day.n_champion_alerts, day.n_challenger_alerts) == (2, 2)
    assert (day.n_both, day.n_champion_only, day.n_challenger_only, day.n_frauds) == (1, 1, 1, 3)


def test_frauds_that_neither_or_both_catch_are_no_evidence() -> None:
    [day] = Comparison().add(0, _rows([0.9, 0.1, 0.8], [0.9, 0.1, 0.8], frauds=(0, 1)), 0.5).days

    assert (day.n_champion_only, day.n_challenger_only, day.n_both) == (0, 0, 1)


def test_a_card_counts_once_by_its_first_fraud_and_never_again_on_later_days() -> None:
    first = _rows([0.9, 0.8, 0.1, 0.2], [0.1, 0.2, 0.9, 0.8], frauds=(0, 1, 2), cards=[7, 7, 7, 8])
    second = _rows([0.1, 0.9], [0.9, 0.1], frauds=(0,), cards=[7, 9])

    one = Comparison().add(0, first, 0.5)
    two = one.add(_DAY, second, 0.5)

    assert (one.days[0].n_champion_only, one.days[0].n_challenger_only) == (1, 0)
    assert (two.days[1].n_champion_only, two.days[1].n_challenger_only) == (0, 0)
    assert two.cards == {7}


def test_a_day_whose_alert_rates_cannot_be_made_equal_is_no_evidence() -> None:
    tied = _rows([0.9, 0.8, 0.1, 0.1, 0.1, 0.1], [0.5, 0.5, 0.5, 0.5, 0.5, 0.1], frauds=(2, 3))

    comparison = Comparison().add(0, tied, 0.5)

    assert not comparison.days[0].is_comparable
    assert comparison.evidence().n_rows == 0
    assert comparison.cards == frozenset()


def test_a_day_without_alerts_or_rows_is_a_look_without_evidence() -> None:
    empty = Comparison().add(0, _rows([], []), 0.5).add(_DAY, _rows([0.1, 0.2], [0.3, 0.4], frauds=(0,)), 0.5)

    assert empty.evidence().n_days == 2
    assert empty.evidence().e_promote == 1.0


def test_the_challenger_is_promoted_or_rolled_back_by_the_same_amount_of_evidence() -> None:
    better = evidence_of([_day(i, 1, 4) for i in range(6)])
    worse = evidence_of([_day(i, 4, 1) for i in range(6)])

    assert (better.verdict, worse.verdict) == ("promote", "roll_back")
    assert better.e_promote == worse.e_roll_back >= 20
    assert better.n_days == worse.n_days


def test_what_comes_after_the_decisive_day_changes_nothing() -> None:
    days = [_day(i, 1, 4) for i in range(6)]

    assert evidence_of([*days, *(_day(6 + i, 50, 0) for i in range(5))]) == evidence_of(days)


def test_an_undecided_comparison_ends_after_28_days() -> None:
    even = [_day(i, 1, 1) for i in range(COMPARED_DAYS)]

    assert evidence_of(even[:-1]).verdict == "running"
    assert evidence_of(even).verdict == "inconclusive"


@pytest.mark.parametrize(
    ("days", "words"),
    [
        ([_day(i, 1, 6) for i in range(4)], ["2 matured days", "alone caught fraud on", "evidence for the challenger is", "20 is enough"]),
        ([_day(i, 6, 1) for i in range(4)], ["evidence for the champion is"]),
        ([_day(0, 1, 1)], ["1 matured day of", "1 card,", "20 decides"]),
        ([_day(i, 1, 1) for i in range(28)], ["after 28 days neither is shown to be better"]),
    ],
)
def test_the_verdict_is_said_with_its_evidence(days: list[ComparedDay], words: list[str]) -> None:
    found: Evidence = evidence_of(days)

    assert all(word in verdict_sentence(found) for word in words), verdict_sentence(found)
