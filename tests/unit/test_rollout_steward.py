"""The steward: on a real registry and a real archive, trials come to the end that their evidence asks for."""

from pathlib import Path

import msgspec
import pytest

from monitoring.fleet import VariantCount
from monitoring.rollout_windows import WINDOW_MS
from tests.unit.archive_sample import START_MS
from tests.unit.rollout_bank import BAD_DAY, DAY_MS, EVEN_DAY, GOOD_DAY, MATURITY_DAYS, TrialBank
from tests.unit.web_scenes import state


@pytest.fixture
def bank(tmp_path: Path) -> TrialBank:
    return TrialBank(tmp_path)


def test_a_better_challenger_is_promoted_from_shadow_with_the_evidence_as_the_reason(bank: TrialBank) -> None:
    bank.registry.shadow(bank.challenger)
    steward = bank.steward()
    for _ in range(MATURITY_DAYS + 4):
        bank.play(GOOD_DAY)
        bank.look(steward)

    event = bank.registry.history()[-1]
    assert (bank.registry.state().champion, bank.registry.state().rollout) == (bank.challenger, None)
    assert (event.event, event.who) == ("promoted", "weir")
    assert "the challenger alone caught fraud on" in event.why
    assert (bank.trial().outcome, bank.trial().sentence) == ("promoted", event.why)
    assert bank.trial().evidence.e_promote >= 20
    assert steward.record is None


def test_what_the_gate_refuses_is_not_promoted_and_somebody_is_asked(bank: TrialBank) -> None:
    bank.registry.shadow(bank.challenger)
    bank.objection = "the gate refuses it"
    steward = bank.steward()
    bank.play(GOOD_DAY, n_days=MATURITY_DAYS + 4)
    bank.look(steward)
    bank.look(steward)

    assert bank.registry.state().champion == bank.champion
    assert (bank.trial().outcome, bank.trial().evidence.verdict) == ("running", "promote")
    assert "but the gate refuses it" in steward.trouble


def test_a_worse_canary_is_ended_and_the_champion_stays(bank: TrialBank) -> None:
    bank.registry.canary(bank.challenger, 20)
    steward = bank.steward()
    for i in range(MATURITY_DAYS + 4):
        bank.play(BAD_DAY, variant="challenger" if i % 2 else "champion")
        bank.look(steward)

    event = bank.registry.history()[-1]
    assert (bank.registry.state().champion, bank.registry.state().rollout) == (bank.champion, None)
    assert (event.event, event.who) == ("ended", "weir")
    assert event.why.startswith("rolled back: ")
    assert bank.trial().outcome == "rolled_back"
    assert bank.trial().evidence.e_roll_back >= 20
    assert {(day.n_champion_only, day.n_challenger_only) for day in bank.trial().days} == {BAD_DAY[:2]}


def test_equals_end_undecided_after_28_matured_days(bank: TrialBank) -> None:
    bank.registry.shadow(bank.challenger)
    steward = bank.steward()
    bank.play(EVEN_DAY, n_days=27 + MATURITY_DAYS + 1)
    bank.look(steward)
    assert (bank.trial().outcome, len(bank.trial().days)) == ("running", 27)

    bank.play(EVEN_DAY)
    bank.look(steward)

    assert bank.registry.state().rollout is None
    assert (bank.trial().outcome, len(bank.trial().days)) == ("inconclusive", 28)
    assert "after 28 days neither is shown to be better" in bank.registry.history()[-1].why


def test_nothing_counts_before_it_has_matured(bank: TrialBank) -> None:
    bank.registry.shadow(bank.challenger)
    steward = bank.steward()
    bank.play(GOOD_DAY, n_days=MATURITY_DAYS + 1)
    bank.look(steward)
    assert bank.trial().days == ()
    assert bank.trial().n_waiting > 0

    bank.play(GOOD_DAY, n_days=6)  # as if they came early
    bank.look(steward, now_ms=START_MS + (MATURITY_DAYS + 2) * DAY_MS)

    assert [day.day_ms for day in bank.trial().days] == [START_MS, START_MS + DAY_MS]
    assert bank.trial().days[0].n_frauds > 0


def test_a_label_that_comes_after_the_maturity_does_not_count(bank: TrialBank) -> None:
    bank.registry.shadow(bank.challenger)
    bank.play(GOOD_DAY, n_days=MATURITY_DAYS + 4, fraud_delay_days=MATURITY_DAYS + 1)
    bank.look(bank.steward())

    assert [day.n_frauds for day in bank.trial().days] == [0, 0, 0]


def test_a_steward_that_is_started_again_goes_on_where_it_was(bank: TrialBank, tmp_path: Path) -> None:
    bank.registry.shadow(bank.challenger)
    for _ in range(MATURITY_DAYS + 4):
        bank.play(EVEN_DAY)
        bank.look(bank.steward())
    again = bank.trial()
    once = TrialBank(tmp_path / "second")
    once.registry.shadow(once.challenger)
    once.play(EVEN_DAY, n_days=MATURITY_DAYS + 4)
    once.look(once.steward())

    assert again.days == once.trial().days
    assert again.evidence == once.trial().evidence


def test_of_two_stewards_one_acts_and_the_other_takes_note(bank: TrialBank) -> None:
    bank.registry.shadow(bank.challenger)
    one, two = bank.steward(), bank.steward()
    bank.play(GOOD_DAY, n_days=MATURITY_DAYS)
    bank.look(one)
    bank.look(two)
    bank.play(GOOD_DAY, n_days=5)
    bank.look(one)
    bank.look(two)
    bank.look(one)

    assert [event.event for event in bank.registry.history()].count("promoted") == 1
    assert two.record is None
    assert bank.trial().outcome == "promoted"


def test_a_trial_that_somebody_ends_is_over_for_the_steward_too(bank: TrialBank) -> None:
    bank.registry.shadow(bank.challenger)
    steward = bank.steward()
    bank.look(steward)
    bank.registry.end_rollout(who="ann", why="not now")
    bank.play(GOOD_DAY, n_days=MATURITY_DAYS + 5)
    bank.look(steward)

    assert bank.registry.state().champion == bank.champion
    assert (bank.trial().outcome, bank.trial().sentence) == ("ended", "not now")


def test_a_trial_that_ended_while_nobody_looked_is_settled_at_the_next_start(bank: TrialBank) -> None:
    bank.registry.shadow(bank.challenger)
    bank.look(bank.steward())
    bank.registry.promote(bank.challenger, who="ann", why="we know it is better")
    bank.look(bank.steward())

    assert (bank.trial().outcome, bank.trial().sentence) == ("promoted", "we know it is better")


def test_a_canary_that_does_harm_is_ended_within_two_windows_without_any_label(bank: TrialBank) -> None:
    rollout = bank.registry.canary(bank.challenger, 10)
    steward = bank.steward()
    for window in range(3):
        counts = (
            VariantCount("champion", bank.champion, 9_000 * (window + 1), 45 * (window + 1), 0),
            VariantCount("challenger", bank.challenger, 1_000 * (window + 1), 60 * (window + 1), 0),
            VariantCount("shadow", bank.challenger, 9_000 * (window + 1), 50 * (window + 1), 0),
        )
        says = msgspec.structs.replace(state(started_ms=rollout.started_ms + 1), variants=counts)
        bank.look(steward, [says], now_ms=START_MS + window * WINDOW_MS)

    event = bank.registry.history()[-1]
    assert (event.event, event.who, bank.registry.state().rollout) == ("ended", "weir", None)
    assert "it alerts on 6.00%" in event.why
    assert bank.trial().outcome == "rolled_back"


def test_without_archive_and_without_kafka_the_steward_says_what_is_missing(tmp_path: Path) -> None:
    bank = TrialBank(tmp_path, has_archive=False)
    bank.registry.shadow(bank.challenger)
    steward = bank.steward()
    bank.look(steward)

    assert "archive.directory" in steward.trouble
