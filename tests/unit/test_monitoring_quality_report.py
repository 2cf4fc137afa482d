import re

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.quality_facts import DAY_MS, Amounts, Answers, Verdicts, facts_of
from monitoring.quality_report import report

FIRST = 20_000


def _world(*, n_days, seed=1, n_frauds=25, caught=0.5, quick_days=1.5, slow_days=14.0, n=600):
    """Return days of (event ms, p, is_alert, is_fraud, known ms): alerted frauds are known within days, missed ones after weeks."""
    random = np.random.default_rng(seed)
    days = []
    for day in range(FIRST, FIRST + n_days):
        event = np.sort(random.integers(day * DAY_MS, (day + 1) * DAY_MS, n))
        is_fraud = np.arange(n) < random.poisson(n_frauds)
        random.shuffle(is_fraud)
        is_alert = np.where(is_fraud, random.random(n) < caught, random.random(n) < 0.03)
        median_days = np.where(is_alert, quick_days, slow_days)
        delay = np.clip(median_days * random.lognormal(0, 0.6, n), 0.1, 45)
        days.append((event, np.where(is_alert, 0.5, 0.02), is_alert, is_fraud, event + (delay * DAY_MS).astype(np.int64)))
    return days


def _facts(days, to_ms):
    found = []
    for place, (event, p, is_alert, is_fraud, known_ms) in enumerate(days):
        ids = np.arange(len(event), dtype=np.uint64)
        known = is_fraud & (known_ms < to_ms)
        verdicts = Verdicts(ids[known], is_fraud[known], known_ms[known])
        answers = Answers(ids, event, p, is_alert, np.zeros(len(p)))
        found.append(facts_of((FIRST + place) * DAY_MS, answers, Amounts(ids, 1000 + ids.astype(np.int64)), verdicts))
    return found


def _report(days, now=None, **options):
    to_ms = (FIRST + (len(days) if now is None else now)) * DAY_MS
    return report(_facts(days, to_ms), to_ms=to_ms, holes={}, **options)


def test_intervals_cover_the_final_values_though_alerts_are_known_weeks_before_the_rest():
    covered, errors, raw_errors = [], [], []
    for seed in range(4):
        days = _world(n_days=75, seed=seed)
        for day, (_, _, is_alert, is_fraud, _) in zip(_report(days).days, days, strict=True):
            if day.recall.value is None or min(day.maturity.values()) == 1.0:
                continue
            final = is_alert[is_fraud].mean()
            covered.append(day.recall.low <= final <= day.recall.high)
            errors.append(day.recall.value - final)
            raw_errors.append(day.recall.raw - final)

    assert len(covered) > 80
    assert np.mean(covered) >= 0.9
    assert abs(np.mean(errors)) < 0.02
    assert np.mean(raw_errors) > 0.05


def test_young_days_show_the_label_free_estimate_alone():
    last = _report(_world(n_days=75)).days[-1]

    assert last.is_provisional
    assert (last.recall.value, last.recall.low, last.recall.high) == (None, None, None)
    assert last.recall.label_free == pytest.approx(0.5 * last.n_alerts / (0.5 * last.n_alerts + 0.02 * (last.n - last.n_alerts)))
    assert last.precision.label_free == pytest.approx(0.5)
    assert last.ap is last.brier is None


def test_old_days_are_final_and_alone_in_what_needs_all_labels():
    days = _world(n_days=75)
    found = _report(days)
    final = [day for day in found.days if not day.is_provisional]

    assert 20 < len(final) == found.n_matured_days < 60
    assert found.days[0].precision.low == found.days[0].precision.high == found.days[0].precision.raw
    assert found.days[0].frauds.value == found.days[0].n_frauds == days[0][3].sum()
    assert all(day.ap is not None and day.brier is not None for day in final)
    assert sum(point.n for point in found.calibration) == sum(day.n for day in final)
    known = [(alert, fraud & (known_ms < (FIRST + 75) * DAY_MS)) for _, _, alert, fraud, known_ms in days[: len(final)]]
    caught, frauds = sum((alert & fraud).sum() for alert, fraud in known), sum(fraud.sum() for _, fraud in known)
    assert found.thresholds[-1].recall == pytest.approx(caught / frauds)


def test_an_archive_shorter_than_its_labels_delays_is_provisional_and_says_so():
    found = _report(_world(n_days=25))

    assert all(day.is_provisional for day in found.days)
    assert found.thresholds == found.calibration == []
    assert any("go back 25 days" in note and "missed frauds" in note for note in found.notes)
    assert "every number is provisional" in found.sentence


def test_without_enough_frauds_of_a_stratum_nothing_is_corrected_by_it():
    found = _report(_world(n_days=40, caught=1.0))

    assert "missed" not in found.delay_curve
    assert found.days[5].precision.value is not None
    assert found.days[5].recall.value is None
    assert found.days[5].recall.raw == 1.0
    assert any("Only 0 missed frauds are known" in note for note in found.notes)


def test_without_a_curve_days_are_final_after_sixty_days():
    found = _report(_world(n_days=75, caught=1.0, n=300))

    assert [day.is_provisional for day in found.days[:15]] == [False] * 15
    assert all(day.is_provisional for day in found.days[15:])


def test_every_state_has_a_sentence():
    nothing = report([], to_ms=0, holes={})
    days = _world(n_days=75, n_frauds=0)

    assert "no answers yet" in nothing.sentence
    assert nothing.days == nothing.thresholds == nothing.calibration == []
    assert "No fraud has been reported among 45,000 transactions" in _report(days).sentence
    found = _report(_world(n_days=75)).sentence
    assert "the last days whose labels are in" in found
    assert "are provisional" in found
    assert re.search(r"\d %", found)
    assert not re.search(r"\d%", found)
    assert "never reported cannot be seen" in found


def test_what_the_archive_lacks_stands_with_its_day():
    days = _world(n_days=3)
    to_ms = (FIRST + 3) * DAY_MS
    found = report(_facts(days, to_ms), to_ms=to_ms, holes={(FIRST + 1) * DAY_MS: "An hour is missing."}, notes=["A word."])

    assert [day.is_incomplete for day in found.days] == [False, True, False]
    assert found.days[1].note == "An hour is missing."
    assert found.notes[0] == "A word."


@settings(max_examples=25)
@given(
    n_days=st.integers(1, 70),
    n_frauds=st.integers(0, 30),
    caught=st.sampled_from([0.0, 0.3, 1.0]),
    back=st.integers(0, 40),
    seed=st.integers(0, 99),
)
def test_every_estimate_lies_in_its_interval_and_its_range(n_days, n_frauds, caught, back, seed):
    days = _world(n_days=n_days, seed=seed, n_frauds=n_frauds, caught=caught, n=80)
    found = _report(days, now=max(n_days - back, 1) if back else n_days)

    for day in found.days:
        shares = [one for one in (day.precision, day.recall) if one is not None]
        for one in (*shares, day.frauds, day.caught, day.missed):
            if one.value is None:
                assert one.low is one.high is None
                continue
            assert 0 <= one.low <= one.value <= one.high
            assert one not in shares or one.high <= 1.0
        assert all(0.0 <= share <= 1.0 + 1e-9 for share in day.maturity.values())
        assert day.frauds.value is None or day.frauds.low >= day.n_frauds - 1e-9
    assert msgspec.json.decode(msgspec.json.encode(found), type=type(found)) == found
    assert _report(days, now=max(n_days - back, 1) if back else n_days) == found
