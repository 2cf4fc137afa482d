"""What becomes of an incident: every listener is told every new word, once, also after a restart."""

import asyncio
import signal

import msgspec
import pytest

from domain.control_event import ControlEvent
from domain.errors import Unavailable
from service.web.alarms import Alarms, control_event
from service.web.answers import Incident
from service.web.candidate import CandidateTraining
from service.web.hours import HourLog
from service.web.watch import DriftWatch
from tests.unit.web_scenes import NOW_MS, shelf_of

INCIDENT = Incident(
    id="weir@1:feature_drift-7", kind="feature_drift", state="alarm", features=("card_count_24h",), model="weir@1", started_ms=7,
    ended_ms=None, severity="alarm", sentence="It changed.", advice="Look.", runbook="docs/drift.md#a-feature-has-drifted",
)  # fmt: skip


class Told:
    """A listener: keeps what it was told; does not answer while `is_away`."""

    def __init__(self) -> None:
        self.events: list[ControlEvent] = []
        self.is_away = False

    async def listener(self, event: ControlEvent) -> bool:
        if self.is_away:
            raise Unavailable("nobody there")
        self.events.append(event)
        return True


class Kept(DriftWatch):
    """What is kept on disk, with incidents of the test's choice."""

    chosen: tuple[Incident, ...] = (INCIDENT,)

    async def incidents(self) -> list[Incident]:
        return list(self.chosen)


def passed_on(folder, *, listeners, chosen=(INCIDENT,), rounds=1) -> list[int]:
    """Pass on in a process of its own, as far as memory goes."""

    async def run():
        memory = Kept(shelf_of(folder / "model")[0] if not (folder / "model").exists() else None, folder / "monitoring", "EUR")
        memory.chosen = chosen
        alarms = Alarms(memory, {name: told.listener for name, told in listeners.items()}, lambda: NOW_MS)
        try:
            return [await alarms.pass_on() for _ in range(rounds)]
        finally:
            await memory.close()

    return asyncio.run(run())


def test_each_listener_is_told_each_word_once_also_after_a_restart(tmp_path):
    first, second = Told(), Told()
    listeners = {"kafka": first, "webhook": second}
    assert passed_on(tmp_path, listeners=listeners, rounds=3) == [0, 0, 0]
    assert passed_on(tmp_path, listeners=listeners) == [0]
    grown = msgspec.structs.replace(INCIDENT, features=("card_count_24h", "card_total_24h"))
    ended = msgspec.structs.replace(grown, ended_ms=99, state="well")
    passed_on(tmp_path, listeners=listeners, chosen=(grown,))
    passed_on(tmp_path, listeners=listeners, chosen=(ended,))

    for told in (first, second):
        assert [(event.state, len(event.features), event.id) for event in told.events] == [
            ("open", 1, INCIDENT.id), ("open", 2, INCIDENT.id), ("ended", 2, INCIDENT.id),
        ]  # fmt: skip


def test_a_listener_that_does_not_answer_is_told_later_and_keeps_nobody_waiting(tmp_path):
    away, there = Told(), Told()
    away.is_away = True
    assert passed_on(tmp_path, listeners={"kafka": away, "webhook": there}) == [1]
    assert len(there.events) == 1
    away.is_away = False

    assert passed_on(tmp_path, listeners={"kafka": away, "webhook": there}) == [0]

    assert (len(away.events), len(there.events)) == (1, 1)


def test_the_record_says_all_of_it():
    found = msgspec.json.decode(msgspec.json.encode(control_event(INCIDENT, NOW_MS)))

    assert found == {
        "event": "incident", "id": INCIDENT.id, "at_ms": NOW_MS, "state": "open", "kind": "feature_drift", "severity": "alarm",
        "model": "weir@1", "features": ["card_count_24h"], "started_ms": 7, "sentence": "It changed.", "advice": "Look.",
        "runbook": "docs/drift.md#a-feature-has-drifted",
    }  # fmt: skip


def test_what_was_told_survives_in_the_file(tmp_path):
    log = HourLog(tmp_path / "hours.sqlite")
    log.keep("kafka", "id", b"one")
    log.keep("kafka", "id", b"two")
    log.close()

    log = HourLog(tmp_path / "hours.sqlite")

    assert (log.kept("kafka", "id"), log.kept("webhook", "id")) == (b"two", None)
    log.close()


@pytest.mark.parametrize("changes", [{"ended_ms": 9}, {"severity": "attention"}])
def test_a_candidate_is_trained_for_open_alarms_only(tmp_path, changes):
    (tmp_path / "archive").mkdir()
    training = CandidateTraining(config=None, archive=tmp_path / "archive", log=tmp_path / "training.log")

    assert asyncio.run(training.listener(control_event(msgspec.structs.replace(INCIDENT, **changes), NOW_MS)))
    assert not (tmp_path / "training.log").exists()


def test_an_alarm_starts_one_training_and_its_words_are_in_the_log(tmp_path):
    (tmp_path / "archive").mkdir()
    training = CandidateTraining(config=None, archive=tmp_path / "archive", log=tmp_path / "training.log")

    async def run():
        event = control_event(INCIDENT, NOW_MS)
        assert await training.listener(event)
        first = training._process
        assert await training.listener(event)
        assert training._process is first
        await asyncio.wait_for(first.wait(), 60)
        return first.returncode

    assert asyncio.run(run()) == 2  # an empty folder is no history
    assert "weir:" in (tmp_path / "training.log").read_text()


def test_a_training_that_runs_ends_with_the_dashboard(tmp_path):
    (tmp_path / "archive").mkdir()
    training = CandidateTraining(config=None, archive=tmp_path / "archive", log=tmp_path / "training.log")

    async def run():
        await training.listener(control_event(INCIDENT, NOW_MS))
        process = training._process
        await training.close()
        return await asyncio.wait_for(process.wait(), 10)

    assert asyncio.run(run()) == -signal.SIGTERM
