"""What becomes of an incident: every listener is told every new word, once, also after a restart."""

import asyncio
import signal

import msgspec
import pytest

from domain.control_event import ControlEvent
from domain.errors import Unavailable
from domain.retraining_event import RetrainingEvent
from service.retraining_log import Retraining, RetrainingLog
from service.web.alarms import Alarms, control_event
from service.web.candidate import DAY_MS, CandidateTraining
from service.web.drift_answers import Incident
from service.web.hours import HourLog
from service.web.watch import DriftWatch
from tests.unit.registry_samples import Installation
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


def training_of(folder, **more) -> CandidateTraining:
    """With an archive that holds nothing."""
    (folder / "archive").mkdir(exist_ok=True)
    return CandidateTraining(
        config=None, archive=folder / "archive", log=folder / "training.log", registry=folder / "registry", **more
    )  # fmt: skip


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """The registry of the child, as this process' environment names it, with a champion."""
    installation = Installation(tmp_path)
    for name, value in installation.environment.items():
        monkeypatch.setenv(name, value)
    installation.add("weir")
    return installation.registry


@pytest.mark.parametrize("changes", [{"ended_ms": 9}, {"severity": "attention"}])
def test_a_candidate_is_trained_for_open_alarms_only(tmp_path, changes):
    training = training_of(tmp_path)

    assert asyncio.run(training.listener(control_event(msgspec.structs.replace(INCIDENT, **changes), NOW_MS)))
    assert not (tmp_path / "training.log").exists()


def test_an_alarm_starts_one_retraining_a_day_and_what_came_of_it_is_told(tmp_path, registry):
    told: list[RetrainingEvent] = []

    async def tell(event: RetrainingEvent) -> None:
        told.append(event)

    training = training_of(tmp_path, tell=tell)

    async def run():
        event = control_event(INCIDENT, NOW_MS)
        assert await training.listener(event)
        first = training._process
        assert await training.listener(event)
        assert training._process is first
        await asyncio.wait_for(training._end, 60)
        assert await training.listener(event)
        assert training._process is first  # one a day
        return first.returncode

    assert asyncio.run(run()) == 2  # an empty folder is no archive
    assert "is not an archive" in (tmp_path / "training.log").read_text()
    [event] = told
    last = RetrainingLog(tmp_path / "registry").last()
    assert (event.event, event.outcome, event.incident, event.sentence) == ("retraining", "failed", INCIDENT.id, last.sentence)
    assert last.why == f"alarm feature_drift: {INCIDENT.sentence}"
    notice = training.notice()
    assert (notice.state, notice.text) == ("attention", f"Retraining: failed: {last.sentence}")
    later = training_of(tmp_path, clock_ms=lambda: last.ended_ms + DAY_MS + 1)
    assert later.notice() is None


def test_a_day_later_an_alarm_starts_another_retraining(tmp_path):
    log = RetrainingLog(tmp_path / "registry")
    with log.turn():
        log.append(Retraining(outcome="refused", sentence="worse", archive="a", begun_ms=NOW_MS, ended_ms=NOW_MS))
    same_day, next_day = (training_of(tmp_path, clock_ms=lambda at=at: NOW_MS + at) for at in (DAY_MS - 1, DAY_MS))

    async def run():
        for training in (same_day, next_day):
            await training.listener(control_event(INCIDENT, NOW_MS))
            await training.close()

    asyncio.run(run())

    assert same_day._process is None
    assert next_day._process is not None


def test_a_retraining_that_leaves_no_word_is_told_as_failed(tmp_path, registry):
    """As when the system ends it for want of memory."""
    told: list[RetrainingEvent] = []

    async def tell(event: RetrainingEvent) -> None:
        told.append(event)

    training = training_of(tmp_path, tell=tell)

    async def run():
        await training.listener(control_event(INCIDENT, NOW_MS))
        training._process.kill()
        await asyncio.wait_for(training._end, 10)

    asyncio.run(run())
    assert told[0].outcome == "failed"
    assert "exit code -9" in told[0].sentence


def test_a_training_that_runs_ends_with_the_dashboard(tmp_path):
    training = training_of(tmp_path)

    async def run():
        await training.listener(control_event(INCIDENT, NOW_MS))
        process = training._process
        await training.close()
        return await asyncio.wait_for(process.wait(), 10)

    assert asyncio.run(run()) == -signal.SIGTERM
