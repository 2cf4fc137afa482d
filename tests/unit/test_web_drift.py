"""Hours on disk, their evaluation, and the drift view made of both."""

import asyncio

import msgspec
import numpy as np
import pytest

from domain.errors import ConfigError
from monitoring.packed import HOUR_MS, pack
from service.web.drift import DriftView
from service.web.drift_answers import DriftAnswer, DriftFeatureAnswer
from service.web.evaluation import ModelDrift
from service.web.hours import KEPT_H, HourLog
from service.web.sparks import course
from service.web.watch import DriftWatch
from tests.unit.web_scenes import NOW_MS, counts, shelf_of, state

MOVED = ("card_count_24h", "merchant_total_7d")
FIRST_H = 497_000 // 24 * 24
DAYS = 28


@pytest.fixture(scope="module")
def shelved(tmp_path_factory):
    shelf, champion = shelf_of(tmp_path_factory.mktemp("model"))
    return shelf.get(champion)


@pytest.fixture
def log(tmp_path):
    found = HourLog(tmp_path / "monitoring" / "hours.sqlite")
    yield found
    found.close()


@pytest.fixture(scope="module")
def quiet(shelved):
    """Hours as in training, packed."""
    return {FIRST_H + h: pack(counts(shelved.profile, h, n=800)) for h in range(DAYS * 24 + 80)}


def broken(shelved, hour, **changes):
    return {hour: pack(counts(shelved.profile, hour, n=800, **changes))}


def advanced(drift: ModelDrift, until: int):
    news = []
    while (hour := drift.next_hour(until)) is not None:
        news += drift.advance(hour)
    return news


def test_hours_of_workers_add_up_and_writing_one_again_replaces_it(log, shelved):
    one, more = counts(shelved.profile, 1), counts(shelved.profile, 2, n=3_000)
    log.put("weir@1", "aaaaaaaa", {7: pack(one)})
    log.put("weir@1", "bbbbbbbb", {7: pack(more), 8: pack(one)})
    log.put("weir@1", "aaaaaaaa", {7: pack(one)})
    log.put("other@1", "aaaaaaaa", {7: pack(one)})

    found = log.read("weir@1")

    assert sorted(found) == [7, 8]
    assert found[7].n_rows == 5_000
    assert np.array_equal(found[7].bins, one.bins + more.bins)
    assert log.read("weir@1", [8, 9]).keys() == {8}
    assert log.models() == ["other@1", "weir@1"]


def test_hours_that_cannot_be_read_or_have_another_shape_are_left_out(log, shelved):
    log.put("weir@1", "a", {7: b"nonsense", 8: pack(counts(shelved.profile, 1))})
    other = counts(shelved.profile, 1)
    log.put("weir@1", "b", {8: pack(other._replace(bins=other.bins[:5]))})

    assert {hour: found.n_rows for hour, found in log.read("weir@1").items()} == {8: 2_000}


def test_a_file_that_is_no_database_is_refused_with_a_sentence(tmp_path):
    (tmp_path / "hours.sqlite").write_bytes(b"x" * 5_000)

    with pytest.raises(ConfigError, match=r"hours\.sqlite .* monitoring\.directory"):
        HourLog(tmp_path / "hours.sqlite")


def test_before_there_is_a_baseline_nothing_alarms_and_it_is_said(log, shelved):
    drift = ModelDrift(shelved, log)
    drift.put("a", {FIRST_H: pack(counts(shelved.profile, 1)), **broken(shelved, FIRST_H + 1, moved=MOVED)})
    assert advanced(drift, FIRST_H + 2) == []

    answer = DriftView(drift, "EUR").answer("1h", now_ms=NOW_MS, notices=[], models=[])

    assert (answer.state, answer.has_baseline, answer.baseline_days, answer.n_rows) == ("empty", False, 1, 800)
    assert "1 of the 28 days" in answer.sentence
    moved = next(row for row in answer.features if row.feature == MOVED[0])
    assert moved.state == "empty"
    assert moved.why_not == "fewer than 28 days of baseline"
    assert moved.psi > 1.0


def test_after_the_baseline_a_moved_feature_becomes_one_incident_that_names_it_and_a_restart_goes_on(log, shelved, quiet):
    drift = ModelDrift(shelved, log)
    drift.put("a", quiet)
    end = FIRST_H + DAYS * 24
    assert advanced(drift, end + 1) == []
    assert drift.effects.is_enough
    for hour in range(end + 1, end + 4):
        drift.put("a", broken(shelved, hour, moved=MOVED))

    drift = ModelDrift(shelved, log)
    news = advanced(drift, end + 4)

    begun = {incident.kind: incident for incident in news}
    assert set(begun["feature_drift"].features) == set(MOVED)
    assert begun["feature_drift"].ended_ms is None
    assert begun["feature_drift"].id.startswith(shelved.reference)
    assert begun["feature_drift"].started_ms // HOUR_MS in range(end + 2, end + 5)
    again = ModelDrift(shelved, log)
    assert again.incidents == drift.incidents
    assert advanced(again, end + 4) == []

    view = DriftView(again, "EUR")
    answer = view.answer("1h", now_ms=NOW_MS, notices=[], models=[])
    assert {row.feature for row in answer.features[:2]} == set(MOVED)
    assert answer.features[0].importance >= answer.features[1].importance
    assert answer.state == answer.features[0].state == begun["feature_drift"].state
    assert "2 of 188 features have changed" in answer.sentence
    assert answer.features[0].sentence.startswith("Missing in 0 % of transactions, in training in ")
    judged = [row.state != "empty" for row in answer.features]
    assert judged == sorted(judged, reverse=True)
    assert judged[0] != judged[-1]
    assert msgspec.json.decode(msgspec.json.encode(answer), type=DriftAnswer) == answer


def test_an_hour_missed_while_the_dashboard_was_down_is_evaluated_in_order(log, shelved, quiet):
    drift = ModelDrift(shelved, log)
    drift.put("a", quiet)
    drift.advance(FIRST_H + 50)

    hours = []
    while (hour := drift.next_hour(FIRST_H + 55)) is not None:
        hours.append(hour)
        drift.advance(hour)

    assert hours == [FIRST_H + 51, FIRST_H + 52, FIRST_H + 53, FIRST_H + 54, FIRST_H + 55]


def test_what_is_counted_late_is_shown_and_folded_into_incidents_no_more(log, shelved, quiet):
    drift = ModelDrift(shelved, log)
    drift.put("a", dict(list(quiet.items())[:30]))
    drift.advance(FIRST_H + 30)
    state, view = drift.incidents, DriftView(drift, "EUR")
    assert view.feature(MOVED[0], "24h", now_ms=NOW_MS).history[-1].n_rows == 24 * 800
    assert not drift.renew()
    drift.put("a", {FIRST_H + 30: quiet[FIRST_H + 30]})
    assert not drift.renew()

    drift.put("b", broken(shelved, FIRST_H + 29, moved=MOVED))

    assert drift.renew()
    assert (drift.report.now_hour, drift.report.n_rows["1h"]) == (FIRST_H + 30, 1_600)
    assert drift.incidents == state
    assert not drift.renew()
    assert view.feature(MOVED[0], "24h", now_ms=NOW_MS).history[-1].n_rows == 25 * 800


def test_what_an_older_version_kept_otherwise_is_measured_anew(log, shelved):
    for content in (b"nonsense", b"{}", b"PK\x05\x06" + bytes(18)):
        for name in ("effects", "incidents"):
            log.keep(shelved.reference, name, content)

        drift = ModelDrift(shelved, log)

        assert (drift.effects.is_enough, drift.incidents) == (False, [])


def test_old_hours_are_forgotten_in_memory_and_on_disk(log, shelved, quiet):
    drift = ModelDrift(shelved, log)
    drift.put("a", dict(list(quiet.items())[:30]))

    drift.advance(FIRST_H + KEPT_H + 24)

    assert min(drift.hours) == min(log.read(shelved.reference)) == FIRST_H + 24


def test_one_feature_opened_has_histograms_that_add_up_and_its_past(log, shelved, quiet):
    drift = ModelDrift(shelved, log)
    drift.put("a", quiet)
    drift.advance(FIRST_H + 200)
    view = DriftView(drift, "EUR")

    found = view.feature("card_since_last", "24h", now_ms=NOW_MS)

    histogram = found.histogram
    assert len(histogram.edges) + 1 == len(histogram.reference) == len(histogram.current) == len(histogram.past)
    for shares, missing in (
        (histogram.reference, histogram.reference_missing), (histogram.current, histogram.current_missing),
        (histogram.past, histogram.past_missing),
    ):  # fmt: skip
        assert sum(shares) + missing == pytest.approx(1.0, abs=1e-3)
    assert len(found.history) == 168
    assert found.history[-1].at_ms == (FIRST_H + 200) * HOUR_MS
    assert found.history[-1].psi == pytest.approx(found.row.psi, abs=1e-4)
    assert found.row.spark[-1] == pytest.approx(found.row.psi, abs=1e-4)
    assert view.feature("no_such_feature", "24h", now_ms=NOW_MS) is None
    assert view.feature("score", "24h", now_ms=NOW_MS).row.unit == "probability"
    assert msgspec.json.decode(msgspec.json.encode(found), type=DriftFeatureAnswer) == found


def test_a_constant_and_an_all_missing_feature_are_shown_as_what_they_are(log, shelved):
    drift = ModelDrift(shelved, log)
    drift.put("a", broken(shelved, FIRST_H, missing=("card_count_24h",)))
    drift.advance(FIRST_H + 1)
    view = DriftView(drift, "EUR")

    found = view.feature("card_count_24h", "1h", now_ms=NOW_MS)

    assert found.row.missing == 1.0
    assert found.row.psi is None
    assert found.row.sentence == "No known value in this window."
    assert found.histogram.current_missing == 1.0


def test_the_course_of_psi_is_what_each_hours_evaluation_said(log, shelved, quiet):
    drift = ModelDrift(shelved, log)
    drift.put("a", quiet)
    said = {}
    for hour in range(FIRST_H + 30, FIRST_H + 36):
        drift.advance(hour)
        said[hour] = [row.psi for row in drift.report.features if (row.window, row.reference) == ("24h", "training")]

    found = course(drift.hours, shelved.profile, now_hour=FIRST_H + 35, length_h=24, n=6)

    assert found.end_hours.tolist() == list(said)
    assert np.allclose(found.psi, np.array(list(said.values()), np.float64), equal_nan=True)


def test_a_model_that_the_registry_does_not_have_is_named_and_its_hours_are_kept(tmp_path):
    async def run():
        shelf, champion = shelf_of(tmp_path)
        watch = DriftWatch(shelf, tmp_path / "monitoring", "EUR")
        profile = shelf.get(champion).profile
        watch._put(watch_counted("gone@1", "a"), {FIRST_H: pack(counts(profile, 1))})
        watch._put(watch_counted(champion, "b"), {FIRST_H: pack(counts(profile, 2)), FIRST_H + 1: pack(counts(profile, 3))})
        speaking = [state(model="gone@1"), state(worker="b", model=champion, event_ms=(FIRST_H + 1) * HOUR_MS)]
        await watch.evaluate(speaking, champion)

        answer = await watch.answer("1h", NOW_MS)
        kept = watch._log.read("gone@1")
        await watch.close()
        return champion, answer, kept

    champion, answer, kept = asyncio.run(run())
    assert answer.model == champion
    assert answer.n_rows == 2_000
    assert list(kept) == [FIRST_H]
    assert "gone@1" in answer.notices[0].text
    assert "model.registry" in answer.notices[0].text


def watch_counted(model, worker):
    from service.redis_fleet import Counted

    return Counted(model, worker)


def test_an_hour_is_over_when_the_worker_furthest_behind_has_passed_it_unless_it_is_far_behind(tmp_path):
    async def evaluated(*hours):
        shelf, champion = shelf_of(tmp_path / f"{hours}")
        watch = DriftWatch(shelf, tmp_path / f"{hours}" / "monitoring", "EUR")
        profile = shelf.get(champion).profile
        watch._put(watch_counted(champion, "b"), {FIRST_H + h: pack(counts(profile, h)) for h in range(20)})
        await watch.evaluate([state(model=champion, event_ms=(FIRST_H + hour) * HOUR_MS) for hour in hours], champion)
        found = watch.report[1].now_hour - FIRST_H
        await watch.close()
        return found

    assert asyncio.run(evaluated(12, 10)) == 10
    assert asyncio.run(evaluated(12, 1)) == 6


def test_without_models_the_view_says_what_to_start(tmp_path):
    async def run():
        shelf, _ = shelf_of(tmp_path)
        watch = DriftWatch(shelf, tmp_path / "monitoring", "EUR")
        await watch.evaluate([], None)
        found = await watch.answer("24h", NOW_MS), await watch.feature("score", "24h", NOW_MS)
        await watch.close()
        return found

    answer, feature = asyncio.run(run())
    assert (answer.state, answer.features, feature) == ("empty", [], None)
    assert "weir worker" in answer.sentence
