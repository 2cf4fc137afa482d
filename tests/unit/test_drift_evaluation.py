"""Design effects and evaluations."""

import subprocess
import sys

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.design_effect import DesignEffects, estimate
from monitoring.drift_evaluation import evaluate
from monitoring.drift_report import DriftReport
from monitoring.drift_windows import past_hours, total, window_hours
from monitoring.packed import Counts
from monitoring.profile import Profile
from tests.unit.drift_hours import FIRST, NAMES, hour, hours, nothing, profile

DAY = 24
SERVED = FIRST + 28 * DAY


@pytest.fixture(scope="module")
def known():
    return profile()


@pytest.fixture(scope="module")
def baseline(known):
    return hours(known, FIRST, SERVED)


@pytest.fixture(scope="module")
def effects(known, baseline):
    return estimate(baseline, known)


def report_of(known, effects, baseline, **changes):
    """The evaluation a day after the change."""
    return evaluate(baseline | hours(known, SERVED, SERVED + DAY, **changes), known, effects, now_hour=SERVED + DAY, importance={})


def rows(report, **wanted):
    return [row for row in report.features if all(getattr(row, name) == value for name, value in wanted.items())]


def test_independent_rows_have_no_design_effect(effects):
    assert effects.n_days == 28
    assert effects.values.usual[:, 0].max() < 1.2
    assert effects.values.usual[:, 1].max() < 1.7  # the reference has not infinitely many rows; of a week's windows there are but four
    assert effects.values.widest[:, :2].max() < 2.5
    assert (effects.values.widest >= effects.values.usual).all()


def test_rows_that_come_in_runs_have_the_design_effect_of_their_length(known):
    once = hours(known, FIRST, SERVED, n=140)
    in_runs = {at: Counts(5 * one.n_rows, 5 * one.n_alerts, 5 * one.bins) for at, one in once.items()}

    found = estimate(in_runs, known)

    assert found.values.usual[:, :2, :2] == pytest.approx(5, rel=0.25)


def test_a_rhythm_that_the_median_does_not_see_widens_the_limits(known):
    def sundays(shift):
        return {at: hour(known, 700, at, shift=shift if at // 24 % 7 == 0 else 0.0) for at in range(FIRST, SERVED)}

    level, rhythmic = (estimate(sundays(shift), known) for shift in (0.0, 0.4))

    place = (0, 1, 0)  # against training, a day, the first feature
    assert rhythmic.values.usual[place] < 2 * level.values.usual[place]
    assert rhythmic.values.widest[place] > 20 * level.values.widest[place]


def test_part_of_a_week_is_no_past(known):
    """A day's window would otherwise be compared with a few hours of another day, which look nothing like a day."""
    rhythm = {at: hour(known, 300, at, shift=2.0 if at % 24 < 8 else 0.0) for at in range(FIRST + 5, FIRST + 5 + 11 * DAY)}

    found = estimate(rhythm, known)

    against_past = found.values.widest[1]
    assert (against_past[2] == 1).all()  # no week's window has a whole week before it
    assert 1 < against_past[1].max() < 3
    assert found.values.widest[0, 1].max() > 50


def test_days_of_the_training_are_left_out(known, baseline):
    found = estimate(baseline, known, training_hours=range(FIRST, FIRST + 5 * DAY))

    assert found.n_days == 23
    assert not found.is_enough


def test_design_effects_are_read_as_they_were_written(effects):
    found = DesignEffects.decode(effects.encode())

    assert (found.names, found.n_days) == (effects.names, effects.n_days)
    for name in ("values", "missing", "alert_rate"):
        assert np.array_equal(np.stack(getattr(found, name)), np.stack(getattr(effects, name)))


def test_nothing_is_significant_without_a_change(known, effects, baseline):
    report = report_of(known, effects, baseline)

    assert not [row for row in report.features if row.is_significant or row.is_missing_significant]
    assert not [rate for rate in report.alert_rate if rate.is_significant]
    assert all(row.psi < row.psi_limit for row in report.features if row.is_alarmable)


def test_a_shift_is_significant_against_both_references(known, effects, baseline):
    report = report_of(known, effects, baseline, shift=0.5)

    for reference in ("training", "past"):
        row = report.row("event_log_amount", "24h", reference)
        assert row.is_significant
        assert row.psi == pytest.approx(0.25, abs=0.06)  # of a normal variable shifted by half its deviation
        assert row.psi > row.psi_limit
        assert row.move.low > 0.5
        assert row.move.high is None
        assert row.move.share_now > row.move.share_before


def test_what_follows_the_clock_or_grows_is_never_alarmed_against_training(known, effects, baseline):
    report = report_of(known, effects, baseline, shift=0.5)

    for feature, why in (("event_hour_sin", "clock feature"), ("card_transactions_ever", "grows for ever")):
        row = report.row(feature, "24h", "training")
        assert (row.is_alarmable, row.is_significant) == (False, False)
        assert row.why_not.startswith(why)
        assert row.psi > 0.1  # it is shown
        assert report.row(feature, "24h", "past").is_significant


def test_without_28_days_everything_is_shown_and_nothing_alarms(known, baseline):
    report = report_of(known, DesignEffects.unknown(known), baseline, shift=1.0, missing=0.9, alert_rate=0.2)

    assert not report.has_baseline
    assert not [row for row in report.features if row.is_alarmable or row.is_significant or row.is_missing_significant]
    assert not [rate for rate in report.alert_rate if rate.is_significant]
    row = report.row("event_log_amount", "24h", "training")
    assert row.psi > 0.5
    assert row.psi_limit is None
    assert row.why_not == "fewer than 28 days of baseline"


def test_a_field_that_stops_arriving_is_missing_not_shifted(known, effects, baseline):
    report = report_of(known, effects, baseline, missing=1.0)

    row = report.row("card_total_7d", "24h", "training")
    assert row.is_missing_significant
    assert (row.missing_rate, row.missing_rate_reference) == (1.0, pytest.approx(0.1, abs=0.01))
    assert (row.psi, row.is_significant, row.why_not) == (None, False, "no known value in the window")


def test_a_small_window_says_that_it_has_too_few_rows(known, effects, baseline):
    recent = {SERVED + at: hour(known, 15, at, shift=2.0) for at in range(DAY)}

    report = evaluate(baseline | recent, known, effects, now_hour=SERVED + DAY, importance={})

    row = report.row("event_log_amount", "24h", "training")
    assert (row.is_alarmable, row.is_significant, row.why_not) == (False, False, "too few rows")


def test_a_shift_too_small_to_matter_alarms_nobody_however_many_rows_show_it(known, effects, baseline):
    report = report_of(known, effects, baseline, shift=0.12)

    row = report.row("event_log_amount", "24h", "training")
    assert row.p_value < 1e-9
    assert row.psi < 0.03
    assert not row.is_significant


def test_a_higher_alert_rate_is_significant(known, effects, baseline):
    found = {rate.window: rate for rate in report_of(known, effects, baseline, alert_rate=0.015).alert_rate}

    assert found["24h"].is_significant
    assert found["24h"].rate == pytest.approx(0.015, abs=0.003)
    assert found["24h"].rate_past == pytest.approx(0.01, abs=0.002)
    assert not found["1h"].is_significant


def test_a_feature_constant_in_training_is_shown_as_that(known, effects, baseline):
    row = report_of(known, effects, baseline).row("event_country", "24h", "training")

    assert (row.psi, row.p_value, row.is_alarmable, row.why_not) == (0.0, None, False, "constant in training")


@pytest.mark.parametrize("held", [{}, {SERVED: None}])
def test_no_hours_or_empty_hours_are_a_report_of_nothing(known, effects, held):
    report = evaluate({at: nothing(known) for at in held}, known, effects, now_hour=SERVED + 1, importance={})

    assert set(report.n_rows.values()) == {0}
    assert not [row for row in report.features if row.is_significant or row.is_alarmable]
    assert {row.psi for row in report.features} <= {None}
    assert msgspec.json.decode(msgspec.json.encode(report), type=DriftReport) == report


def test_the_report_names_every_feature_in_every_window_against_both_references(known, effects, baseline):
    report = report_of(known, effects, baseline)

    assert len(report.features) == 6 * 3 * 2
    assert [row.feature for row in rows(report, window="1h", reference="past")] == [*NAMES, "score"]
    assert report.n_rows == {"1h": 700, "24h": 24 * 700, "7d": 7 * 24 * 700}


def test_the_window_ends_before_the_hour_of_the_evaluation(known, effects, baseline):
    later = baseline | {SERVED: hour(known, 999, 1)}

    assert evaluate(later, known, effects, now_hour=SERVED, importance={}).n_rows["1h"] == 700
    assert evaluate(later, known, effects, now_hour=SERVED + 1, importance={}).n_rows["1h"] == 999


@given(st.integers(10_000, 500_000), st.sampled_from([1, 24, 168]))
def test_the_past_of_a_window_are_the_same_hours_of_four_weeks_before_it(end, length):
    window, past = window_hours(end, length), past_hours(end, length)

    assert len(past) == 4 * length
    assert not set(window) & set(past)
    assert {hour % 168 for hour in past} == {hour % 168 for hour in window}


@settings(max_examples=30)
@given(st.lists(st.integers(0, 50), min_size=1, max_size=12), st.data())
def test_totals_do_not_depend_on_how_hours_were_split(sizes, data):
    found = {at: Counts(n, n // 2, np.full((2, 11), n)) for at, n in enumerate(sizes)}
    cut = data.draw(st.integers(0, len(sizes)))
    whole = total(found, range(len(sizes)))
    parts = [part for part in (total(found, range(cut)), total(found, range(cut, len(sizes)))) if part is not None]

    merged = parts[0] if len(parts) == 1 else parts[0] + parts[1]

    assert (merged.n_rows, merged.n_alerts) == (whole.n_rows, whole.n_alerts) == (sum(sizes), sum(n // 2 for n in sizes))
    assert np.array_equal(merged.bins, whole.bins)


def test_an_hour_is_not_changed_by_being_summed(known):
    found = {0: hour(known, 10, 1), 1: hour(known, 10, 2)}
    before = found[0].bins.copy()
    total(found, range(2))

    assert np.array_equal(found[0].bins, before)


def test_a_profile_read_back_gives_the_same_report(known, effects, baseline):
    again = Profile.decode(known.encode())

    assert report_of(again, effects, baseline) == report_of(known, effects, baseline)


def test_scipy_and_river_are_not_loaded_before_they_are_needed():
    code = (
        "import sys, monitoring.drift_evaluation, monitoring.incidents, monitoring.concept, monitoring.multivariate;"
        "sys.exit(','.join(sorted({'scipy', 'river'} & set(sys.modules))) or 0)"
    )

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (found.returncode, found.stderr) == (0, "")
