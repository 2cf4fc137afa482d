"""The last sixty minutes of event time, while their hour still runs."""

import asyncio

import numpy as np
import pytest

from monitoring.packed import HOUR_MS, MINUTE_MS, Counts, n_rows_of, pack
from service.redis_fleet import Counted
from service.web.drift import DriftView
from service.web.evaluation import ModelDrift
from service.web.hours import HourLog
from service.web.minutes import Minutes
from service.web.watch import DriftWatch
from tests.unit.web_scenes import NOW_MS, counts, shelf_of, state

FIRST_H = 497_000 // 24 * 24
DAYS = 28
END_H = FIRST_H + DAYS * 24
MOVED = "card_count_24h"
SHAPE = (2, 11)


@pytest.fixture(scope="module")
def shelved(tmp_path_factory):
    shelf, champion = shelf_of(tmp_path_factory.mktemp("model"))
    return shelf.get(champion)


@pytest.fixture
def log(tmp_path):
    found = HourLog(tmp_path / "monitoring" / "hours.sqlite")
    yield found
    found.close()


def small(n: int) -> Counts:
    bins = np.zeros(SHAPE, np.int64)
    bins[:, 3] = n
    return Counts(n, 1, bins)


def put_by_minute(drift: ModelDrift, minutes: range, worker: str = "a", n: int = 40, **changes: tuple[str, ...]) -> None:
    """Count rows as a worker does: what it tells of an hour is what its minutes hold."""
    found = {minute: counts(drift.shelved.profile, minute, n=n, **changes) for minute in minutes}
    hours: dict[int, Counts] = {}
    for minute, one in found.items():
        hours[minute // 60] = hours[minute // 60] + one if minute // 60 in hours else one
    drift.put(worker, {hour: pack(one) for hour, one in hours.items()})
    drift.put_minutes(worker, {minute: pack(one) for minute, one in found.items()})


@pytest.fixture(scope="module")
def quiet(shelved):
    """Hours as in training, packed."""
    return {FIRST_H + h: pack(counts(shelved.profile, h, n=800)) for h in range(DAYS * 24)}


@pytest.fixture
def drift(shelved, quiet, log):
    """A model with a baseline, judged at END_H; the hour before was counted by minute."""
    found = ModelDrift(shelved, log)
    found.put("a", quiet)
    put_by_minute(found, range(END_H * 60 - 60, END_H * 60))
    found.advance(END_H)
    assert found.effects.is_enough
    return found


def test_minutes_of_workers_add_up_and_putting_one_again_replaces_it():
    minutes = Minutes(SHAPE)
    minutes.put("a", {600: pack(small(5)), 601: pack(small(7))})
    minutes.put("b", {601: pack(small(9)), 540: pack(small(100))})
    minutes.put("a", {601: pack(small(8))})

    found = minutes.last_hour(602, lambda _hour: 0)

    assert (found.n_rows, found.n_alerts) == (22, 3)
    assert found.bins[:, 3].tolist() == [22, 22]
    assert minutes.last_hour(600, lambda _hour: 0).n_rows == 100
    assert minutes.last_hour(540, lambda _hour: 0) is None


def test_an_hour_that_was_not_counted_by_minute_throughout_gives_none():
    minutes = Minutes(SHAPE)
    minutes.put("a", {minute: pack(small(2)) for minute in range(540, 630)})
    counted = {9: 120, 10: 60}

    assert minutes.last_hour(630, counted.__getitem__).n_rows == 120
    assert minutes.last_hour(630, (counted | {9: 121}).__getitem__) is None
    assert minutes.last_hour(630, (counted | {10: 61}).__getitem__) is None
    assert minutes.last_hour(600, (counted | {10: 61}).__getitem__).n_rows == 120


def test_counters_of_another_shape_are_left_out_and_old_minutes_forgotten():
    minutes = Minutes(SHAPE)
    minutes.put("a", {600: pack(small(5)), 599: pack(Counts(4, 0, np.zeros((3, 11), np.int64)))})
    assert minutes.last_hour(601, lambda _hour: 0).n_rows == 5

    minutes.put("a", {900: pack(small(1))})

    assert minutes.last_hour(601, lambda _hour: 0) is None
    assert n_rows_of(pack(small(77))) == 77
    assert n_rows_of(b"short") == 0


def test_minutes_of_a_worker_of_another_version_are_not_summed_and_nothing_fails():
    minutes = Minutes(SHAPE)
    minutes.put("a", {600: pack(small(5))})
    minutes.put("b", {600: b"\x09" + pack(small(5))[1:]})

    assert minutes.last_hour(601, lambda _hour: 0) is None


def test_a_field_that_breaks_is_seen_within_the_hour_and_raises_no_incident_yet(drift):
    begin = END_H * 60
    put_by_minute(drift, range(begin, begin + 10))
    put_by_minute(drift, range(begin + 10, begin + 30), worker="b", moved=(MOVED,))
    view = DriftView(drift, "EUR")
    assert view.answer("1h", now_ms=NOW_MS, notices=[], models=[]).event_ms == END_H * HOUR_MS

    assert drift.look(begin + 30)

    answer = view.answer("1h", now_ms=NOW_MS, notices=[], models=[])
    moved = answer.features[0]
    assert (moved.feature, moved.state, answer.state) == (MOVED, "attention", "attention")
    assert (answer.event_ms, answer.n_rows) == ((begin + 30) * MINUTE_MS, 60 * 40)
    assert answer.incidents == []
    assert view.answer("24h", now_ms=NOW_MS, notices=[], models=[]).event_ms == END_H * HOUR_MS
    opened = view.feature(MOVED, "1h", now_ms=NOW_MS)
    assert opened.history[-1].at_ms == answer.event_ms
    assert opened.history[-1].psi == moved.psi
    assert opened.histogram.current[-1] > 0.3
    assert opened.histogram.past is not None


def test_without_a_change_the_last_hour_is_well_and_slides(drift):
    begin = END_H * 60
    put_by_minute(drift, range(begin - 60, begin + 40))

    assert [drift.look(end) for end in (begin + 20, begin + 20, begin + 40)] == [True, False, True]

    assert drift.last_hour.current.n_rows == 60 * 40
    assert DriftView(drift, "EUR").answer("1h", now_ms=NOW_MS, notices=[], models=[]).state == "well"


def test_once_the_hour_is_over_its_evaluation_is_shown(drift):
    begin = END_H * 60
    put_by_minute(drift, range(begin, begin + 60))
    assert drift.look(begin + 59)
    drift.advance(END_H + 1)

    assert drift.look(begin + 60)

    assert drift.last_hour is None
    answer = DriftView(drift, "EUR").answer("1h", now_ms=NOW_MS, notices=[], models=[])
    assert (answer.event_ms, answer.n_rows) == ((END_H + 1) * HOUR_MS, 60 * 40)


def test_a_stream_too_fast_for_minutes_shows_its_last_whole_hour(drift):
    begin = END_H * 60
    put_by_minute(drift, range(begin, begin + 30))
    drift.put("b", {END_H: pack(counts(drift.shelved.profile, 5, n=50_000))})

    assert not drift.look(begin + 30)
    assert drift.last_hour is None


def test_the_last_minute_is_the_one_that_every_worker_has_passed(tmp_path):
    async def shown(*event_minutes):
        shelf, champion = shelf_of(tmp_path / f"{event_minutes}")
        watch = DriftWatch(shelf, tmp_path / f"{event_minutes}" / "monitoring", "EUR")
        one = counts(shelf.get(champion).profile, 1, n=50)
        watch._put(Counted(champion, "a"), {FIRST_H: pack(one)})
        watch._put_minutes(Counted(champion, "a"), {FIRST_H * 60 + 1: pack(one)})
        await watch.evaluate([state(model=champion, event_ms=(FIRST_H * 60 + m) * MINUTE_MS + 7) for m in event_minutes], champion)
        answer = await watch.answer("1h", NOW_MS)
        await watch.close()
        return answer.event_ms // MINUTE_MS - FIRST_H * 60, answer.n_rows

    assert asyncio.run(shown(30, 25)) == (25, 50)
    assert asyncio.run(shown(30, 2)) == (20, 50)
