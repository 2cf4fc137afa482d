"""What a retraining refuses before the long work, one at a time, and its schedule."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from domain.errors import HistoryError, ModelError, NoChampion
from models.gate import Check, Verdict
from service.retraining import WHO, _Attempt, retrain
from service.retraining_log import Retraining, RetrainingLog
from service.retraining_schedule import due_ms
from service.settings import ModelSettings, Settings
from tests.unit.archive_sample import HOUR_MS, START_MS, add_file, make_archive, record, transaction
from tests.unit.registry_samples import Installation

DAY_MS = 24 * HOUR_MS


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path)


@pytest.fixture
def settings(installation: Installation) -> Settings:
    return Settings(model=ModelSettings(registry=str(installation.root), signing_key=installation.key.decode()))


def archive_of(directory: Path, *, n_days: int, labels: tuple[int, ...] = ()) -> Path:
    """An archive with a transaction a day, some of them labelled as fraud."""
    make_archive(directory)
    values = [transaction(i, event_time_ms=START_MS + i * DAY_MS, amount_minor=100) for i in range(n_days)]
    end_ms = START_MS + n_days * DAY_MS
    add_file(directory, "transactions.v1", [record(i, end_ms, value) for i, value in enumerate(values)])
    if labels:
        said = [{"transaction_id": f"t{i}", "is_fraud": True, "label_time_ms": end_ms, "source": "chargeback"} for i in labels]
        add_file(directory, "labels.v1", [record(i, end_ms, json.dumps(label).encode()) for i, label in enumerate(said)])
    return directory


def attempt_of(**changes: object) -> Retraining:
    found = Retraining(outcome="refused", sentence="worse", archive="a", begun_ms=5 * HOUR_MS, ended_ms=6 * HOUR_MS)
    return msgspec.structs.replace(found, **changes)


@pytest.mark.parametrize(
    ("n_days", "labels", "sentence"),
    [
        (0, (), "holds no transactions"),
        (60, (), "holds no labels: nothing tells fraud from good"),
        (30, (1, 2), "covers 30 days; to train a candidate and to compare it with the champion takes 49: 28 to train"),
        (48, (1, 2), "covers 48 days"),
    ],
)
def test_an_archive_that_cannot_carry_a_candidate_is_told_before_the_work(installation, settings, tmp_path, n_days, labels, sentence):
    installation.add("weir")
    directory = archive_of(tmp_path / "archive", n_days=n_days, labels=labels) if n_days else make_archive(tmp_path / "archive")
    options = tmp_path / "options.toml"
    options.write_text("days = 28")

    with pytest.raises(HistoryError, match=sentence):
        retrain(settings, directory, options_file=options)

    last = RetrainingLog(installation.root).last()
    assert last.outcome == "failed"
    assert sentence in last.sentence
    assert len(installation.registry.names()) == 1


def test_the_command_ends_with_a_sentence_and_exit_code_2(installation, tmp_path):
    installation.add("weir")
    line = [sys.executable, "-m", "service", "retrain", "--archive", str(tmp_path / "nowhere")]

    found = subprocess.run(line, check=False, capture_output=True, text=True, env=os.environ | installation.environment, timeout=120)

    assert found.returncode == 2
    assert found.stderr.splitlines()[-1].startswith("weir: ")
    assert "is not an archive of weir archive" in found.stderr


def test_without_a_champion_there_is_nothing_to_compare_with(installation, settings, tmp_path):
    with pytest.raises(NoChampion, match="train the first model with `weir train"):
        retrain(settings, tmp_path)
    assert installation.registry.names() == []


def test_only_one_retrains_at_a_time(installation, settings, tmp_path):
    installation.add("weir")
    with RetrainingLog(installation.root).turn(), pytest.raises(ModelError, match=rf"at work \(process {os.getpid()}\)"):
        retrain(settings, tmp_path)

    assert RetrainingLog(installation.root).last() is None
    with pytest.raises(HistoryError):  # the turn is free again
        retrain(settings, tmp_path)


def test_the_last_whole_line_of_the_log_counts(tmp_path):
    log = RetrainingLog(tmp_path)
    assert log.last() is None
    with log.turn():
        log.append(attempt_of(model="weir@1"))
        log.append(attempt_of(model="weir@2"))
    with (tmp_path / "retraining" / "log.jsonl").open("ab") as file:
        file.write(b'{"outcome":"shad')

    assert log.last() == attempt_of(model="weir@2")


def test_the_next_attempt_is_due_so_long_after_the_last_one_of_anybody_began(tmp_path):
    log = RetrainingLog(tmp_path)
    assert due_ms(0, DAY_MS, tmp_path) == DAY_MS  # in 1970: at once
    with log.turn():
        log.append(attempt_of())

    assert due_ms(0, DAY_MS, tmp_path) == 29 * HOUR_MS
    assert due_ms(8 * HOUR_MS, DAY_MS, tmp_path) == 32 * HOUR_MS


class TestPassed:
    """What becomes of a candidate that passed."""

    @pytest.fixture
    def passed(self, installation, settings):
        """Returns what becomes of candidate `other`."""
        champion, other = installation.add("weir"), installation.add("other")
        found = attempt_of(
            model=other, champion=champion, verdict=Verdict.of(other, champion, [Check("x", "passed", "")], made_ms=0, history="")
        )
        attempt = _Attempt(settings, Path("archive"), "a drift alarm", 0, lambda *_: None)
        return lambda: attempt._tried(found, "the gate passes it")

    def test_it_scores_in_the_shadow(self, installation, passed):
        found = passed()

        assert (found.outcome, installation.registry.state().rollout.model) == ("shadow", found.model)
        assert installation.registry.history()[-1].who == WHO
        assert installation.registry.history()[-1].why == "the gate passes it (a drift alarm)"

    def test_it_waits_while_another_is_on_trial(self, installation, passed):
        third = installation.add("third")
        installation.registry.canary(third, 5)

        found = passed()

        assert (found.outcome, installation.registry.state().rollout.model) == ("registered", third)
        assert f"{third} is on trial: `weir models shadow {found.model}`" in found.sentence

    def test_it_waits_if_the_champion_it_was_compared_with_has_gone(self, installation, passed):
        third = installation.add("third")
        installation.registry.promote(third)

        found = passed()

        assert (found.outcome, installation.registry.state().rollout) == ("registered", None)
        assert f"{third} became champion meanwhile" in found.sentence

    def test_a_trial_of_its_own_goes_on(self, installation, passed):
        rollout = installation.registry.canary(passed().model, 5)

        assert passed().outcome == "unchanged"
        assert installation.registry.state().rollout == rollout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_schedule_tells_a_failure_waits_for_the_next_and_ends_cleanly(installation, number):
    line = [sys.executable, "-m", "service", "retrain", "--every", "7d"]
    with subprocess.Popen(line, env=os.environ | installation.environment, stderr=subprocess.PIPE, text=True) as process:
        said = [process.stderr.readline(), process.stderr.readline()]
        process.send_signal(number)
        rest = process.stderr.read()

    assert "has no champion to compare a candidate with" in said[0]
    next_ms = RetrainingLog(installation.root).last().begun_ms + 7 * DAY_MS
    assert said[1].strip().startswith(f"the next retraining begins at {time.strftime('%Y-%m-%dT%H:%M', time.gmtime(next_ms / 1000))}")
    assert (process.returncode, rest) == (0, "stopped: no further retraining\n")
