"""From reports to incidents."""

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.concept import ConceptChange
from monitoring.drift_report import DriftReport, FeatureDrift, LargestMove, RateDrift
from monitoring.incidents import COOLDOWN_H, JOIN_H, Incidents, fold

NOW = 480_000


def drift(feature, window="1h", reference="training", *, is_significant=True, is_missing=False, importance=0.01):
    return FeatureDrift(
        feature=feature, window=window, reference=reference, importance=importance, n_rows=5_000, psi=0.25, psi_limit=0.05, p_value=0.0,
        is_significant=is_significant, missing_rate=0.5, missing_rate_reference=0.1, is_missing_significant=is_missing, js=0.1, ks=0.2,
        w1=1.0, is_alarmable=True, why_not="", move=LargestMove(1.25, None, 0.1, 0.22),
    )  # fmt: skip


def report(hour, *rows, rates=()):
    return DriftReport(hour, True, 28, {"1h": 5_000, "24h": 120_000, "7d": 840_000}, rows, rates)


def run(reports, state=None):
    """Fold reports by hour; return the state and (hour, event) of every event."""
    state, found = state or Incidents(), []
    for hour, rows in sorted(reports.items()):
        state, events = fold(state, report(NOW + hour, *rows), NOW + hour)
        found += [(hour, event) for event in events]
    return state, found


def test_one_significant_window_is_no_alarm():
    _, events = run({0: [drift("a")], 1: [], 2: [], 3: []})

    assert events == []


def test_two_of_three_windows_are_one_alarm():
    for pattern in ([0, 1], [0, 2]):
        _, events = run({hour: [drift("a")] if hour in pattern else [] for hour in range(6)})

        assert [(hour, event.kind, event.features) for hour, event in events] == [(pattern[1], "feature_drift", ("a",))]


def test_windows_that_overlap_do_not_count_twice():
    _, events = run({hour: [drift("a", "24h")] for hour in range(24)})
    assert events == []

    _, events = run({hour: [drift("a", "24h")] for hour in range(25)})
    assert [hour for hour, _ in events] == [24]


def test_the_references_and_windows_are_watched_apart():
    _, events = run({0: [drift("a", reference="training")], 1: [drift("a", reference="past")], 2: []})

    assert events == []


def test_a_lasting_change_is_one_incident_for_as_long_as_it_lasts():
    _, events = run({hour: [drift("a")] for hour in range(500)})

    assert len(events) == 1


def test_features_that_follow_soon_join_the_incident():
    reports = {hour: [drift("a"), *([drift("b", importance=0.05)] if hour > 50 else [])] for hour in range(60)}

    _, events = run(reports)

    assert [(hour, event.id, event.features) for hour, event in events] == [
        (1, events[0][1].id, ("a",)),
        (52, events[0][1].id, ("b", "a")),
    ]
    assert "b and a have changed" in events[1][1].sentence


def test_a_feature_that_follows_late_is_an_incident_of_its_own():
    start = JOIN_H + 10
    _, events = run({hour: [drift("a"), *([drift("b")] if hour >= start else [])] for hour in range(start + 5)})

    assert [(hour, event.features) for hour, event in events] == [(1, ("a",)), (start + 1, ("b",))]
    assert events[0][1].id != events[1][1].id


def test_an_incident_ends_when_it_has_been_quiet_for_the_cooldown_and_then_may_alarm_anew():
    flapping = {hour: [drift("a")] if hour < 5 or 60 <= hour < 65 or hour >= 300 else [] for hour in range(310)}

    state, events = run(flapping)

    assert [(hour, event.ended_ms is not None) for hour, event in events] == [(1, False), (65 + COOLDOWN_H, True), (301, False)]
    ended, again = events[1][1], events[2][1]
    assert (ended.id, ended.features) == (events[0][1].id, ("a",))
    assert ended.started_ms == (NOW + 1) * 3_600_000
    assert ended.ended_ms == (NOW + 65) * 3_600_000
    assert again.id != ended.id
    assert len(state.is_open) == 1


def test_kinds_are_incidents_of_their_own_and_say_what_happened():
    rate = RateDrift("24h", 120_000, 0.013, 0.01, 1e-9, True, "")
    state, found = Incidents(), {}
    for hour in (0, 24):
        rows = [drift("a", "24h", is_missing=True, importance=0.2), drift("score", "24h")]
        state, events = fold(state, report(NOW + hour, *rows, rates=[rate]), NOW + hour)
        found |= {event.kind: event for event in events}

    assert set(found) == {"feature_drift", "missing", "score_drift", "alert_rate"}
    assert "a is missing in 50.0 % of the transactions of the last 24h, 10.0 % in training" in found["missing"].sentence
    sentence = found["feature_drift"].sentence
    assert "a over the last 24h: PSI 0.25, noise up to 0.05; 22 % of its values are above 1.25, 10 % in training" in sentence
    assert "20 % of the model rests on what changed. The score has moved, too (PSI 0.25 over the last 24h)." in sentence
    assert "1.3 % of the transactions raised an alert, 1.0 % in the same hours" in found["alert_rate"].sentence
    assert found["alert_rate"].features == ()
    assert all(event.advice and event.runbook.startswith("docs/drift.md#") for event in found.values())


def test_light_features_that_leave_the_score_alone_ask_for_attention_only():
    calm = drift("score", is_significant=False)

    for importance, severity in ((0.01, "attention"), (0.2, "alarm")):
        _, events = run({hour: [drift("a", importance=importance), calm] for hour in range(2)})

        assert events[0][1].severity == severity
        assert "The score has not moved beyond its noise." in events[0][1].sentence


def test_a_change_of_concept_alarms_once():
    change = ConceptChange(1_000, 900, 0.7, 0.5, 120)
    state, found = Incidents(), []
    for hour in range(COOLDOWN_H + 5):
        state, events = fold(state, report(NOW + hour), NOW + hour, concept=change)
        found += events

    assert [(event.kind, event.ended_ms is not None) for event in found] == [("concept", False), ("concept", True)]
    assert found[0].sentence == "Alerts are right less often than before: 50 % of the last 120 matured alerts, 70 % before."


def test_an_hour_folded_twice_changes_nothing():
    state, _ = run({0: [drift("a")]})

    assert fold(state, report(NOW, drift("a")), NOW) == (state, [])
    assert fold(state, report(NOW - 5, drift("a")), NOW - 5) == (state, [])


def test_hours_that_were_not_evaluated_count_as_quiet():
    _, events = run({0: [drift("a")], 5: [drift("a")]})

    assert events == []


significant = st.lists(st.sets(st.tuples(st.sampled_from("abc"), st.sampled_from(["1h", "24h"])), max_size=4), min_size=1, max_size=80)


@settings(max_examples=60)
@given(significant, st.data())
def test_the_state_may_be_kept_anywhere_between_two_hours(hours, data):
    reports = {hour: [drift(*key) for key in sorted(keys)] for hour, keys in enumerate(hours)}
    cut = data.draw(st.integers(0, len(hours)))
    whole_state, whole = run(reports)

    state, first = run({hour: rows for hour, rows in reports.items() if hour < cut})
    state = msgspec.json.decode(msgspec.json.encode(state), type=Incidents)
    state, second = run({hour: rows for hour, rows in reports.items() if hour >= cut}, state)

    assert first + second == whole
    assert state == whole_state


@settings(max_examples=60)
@given(significant)
def test_every_incident_begins_once_and_ends_at_most_once(hours):
    quiet = {hour: [] for hour in range(len(hours), len(hours) + 3 * 24 + COOLDOWN_H + 2)}
    state, events = run({hour: [drift(*key) for key in keys] for hour, keys in enumerate(hours)} | quiet)

    ids = {event.id for _, event in events}
    assert sum(event.ended_ms is not None for _, event in events) == len(ids)
    assert state.is_open == ()
    for each in ids:
        mine = [event for _, event in events if event.id == each]
        assert mine[-1].ended_ms is not None
        assert all(set(a.features) <= set(b.features) for a, b in pairwise(mine))


@pytest.mark.parametrize("kind", ["feature_drift", "missing", "score_drift", "alert_rate", "concept"])
def test_the_runbook_has_a_section_for_every_kind(kind):
    from pathlib import Path

    from monitoring.incidents import RUNBOOK

    path, _, anchor = RUNBOOK[kind].partition("#")
    titles = [line.lstrip("# ") for line in (Path(__file__).parents[2] / path).read_text().splitlines() if line.startswith("#")]

    assert anchor in {title.lower().replace(" ", "-") for title in titles}
    assert f"[`{kind}`](drift.md#{anchor})" in (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
