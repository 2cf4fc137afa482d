"""Steers a trial to its end: promotes the better model, ends the trial of a worse or harmful one, and says why."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import structlog

from domain.errors import ModelError, WeirError
from features.archive_files import is_archive
from models.registry import Registry
from models.registry_history import Event, Rollout, State
from monitoring.fleet import WorkerState
from monitoring.quality_facts import DAY_MS
from monitoring.rollout_windows import WindowCounter, why_roll_back
from service.rollout_archive import TrialArchive
from service.rollout_pending import Pair, PendingDays
from service.rollout_record import TrialOutcome, TrialRecord, begun, read_trials, write_trial
from service.rollout_topics import TrialTopics
from stream.connection import KafkaConnection

WHO: Final = "weir"
"""Who acts, in the registry's history."""
_READ_EVERY_MS: Final = 15_000
_log = structlog.get_logger("weir.rollout")


class Sources(NamedTuple):
    """What a steward looks at."""

    registry: Registry
    threshold: Callable[[State], float]
    """Probability from which on the champion alerts (tier full); it may raise WeirError."""
    archive: Path
    """Folder of the archive; where there is none, the topics are read."""
    connection: KafkaConnection | None
    maturity_days: int
    budget_ms: float
    """Setting scoring.latency_budget_ms; 0 = none."""
    objection: Callable[[State, str], str]
    """Why the gate keeps a model (`name@version`) from being promoted; empty = it does not."""


class _Trial:
    """The trial in force, and what is read for it."""

    def __init__(self, sources: Sources, record: TrialRecord) -> None:
        self.record = record
        self.comparison = record.comparison
        self.counter = WindowCounter(record.model, record.started_ms, sources.budget_ms)
        done_ms = record.days[-1].day_ms + DAY_MS if record.days else 0
        pair = Pair(record.champion, record.model, record.started_ms)
        self.pending = PendingDays(pair, sources.maturity_days * DAY_MS, done_ms)
        self.archive = TrialArchive(sources.archive, record.started_ms)
        self.topics = None if sources.connection is None else TrialTopics(sources.connection, record.started_ms)
        self.read_ms = 0

    def is_of(self, state: State) -> bool:
        """Tell whether it is still this trial that is in force."""
        rollout = state.rollout
        return (
            rollout is not None
            and (rollout.model, rollout.started_ms) == (self.record.model, self.record.started_ms)
            and state.champion == self.record.champion
        )


class RolloutSteward:
    """Looks at the registry's trial again and again. Several may look at the same one: whoever comes second changes nothing.

    Guarantee: it acts on the state that its evidence is about (compare-and-set), and everything it does stands in the
    registry's history, by WHO, with the reason; workers follow within their poll and say so on `control.v1`.

    Attributes:
        trouble: Why the trial cannot be compared, or not be ended by the steward, in one sentence; empty: nothing.
    """

    def __init__(self, sources: Sources, *, read_every_ms: int = _READ_EVERY_MS) -> None:
        """Prepare.

        Args:
            sources: What it looks at.
            read_every_ms: Time between two readings of the archive.
        """
        self._sources = sources
        self._read_every_ms = read_every_ms
        self._trial: _Trial | None = None
        self._stamp: tuple[int, ...] | None = None
        self._logged = ""
        self.trouble = ""

    @property
    def record(self) -> TrialRecord | None:
        """What is known of the trial in force; None if there is none."""
        return None if self._trial is None else self._trial.record

    async def look(self, states: Sequence[WorkerState], now_ms: int) -> None:
        """Take what is new, and act if it is enough.

        Args:
            states: What the workers say now.
            now_ms: Wall clock: UTC, ms since the epoch.
        """
        try:
            await asyncio.to_thread(self._follow, now_ms)
            trial = self._trial
            if trial is None:
                return
            if trial.counter.hear(states, now_ms):
                await asyncio.to_thread(self._guard, trial, now_ms)
            if now_ms - trial.read_ms >= self._read_every_ms:
                trial.read_ms = now_ms
                await self._read(trial)
                await asyncio.to_thread(self._compare, trial, now_ms)
        except (WeirError, OSError) as error:
            self._complain(str(error))

    def _complain(self, sentence: str) -> None:
        if sentence and sentence != self._logged:
            _log.warning("rollout_needs_somebody", reason=sentence)
            self._logged = sentence
        self.trouble = sentence

    def _follow(self, now_ms: int) -> None:
        """Take up the trial that the registry says is in force."""
        stamp = self._sources.registry.stamp()
        if stamp == self._stamp:
            return
        state = self._sources.registry.state()
        if self._stamp is None or (self._trial is not None and not self._trial.is_of(state)):
            self._settle(state)
            self._trial = None
        if state.rollout is not None and state.champion is not None:
            if self._trial is None:
                self._trial = _Trial(self._sources, self._known(state.champion, state.rollout, now_ms))
            record = msgspec.structs.replace(self._trial.record, percent=state.rollout.percent)
            self._keep(self._trial, record)
        self._stamp = stamp

    def _known(self, champion: str, rollout: Rollout, now_ms: int) -> TrialRecord:
        """Return what is known of a trial from before; what it says of another champion is of no use."""
        for record in read_trials(self._sources.registry.beside(rollout.model)):
            if record.started_ms == rollout.started_ms and record.champion == champion and record.outcome == "running":
                return record
        return begun(champion, rollout, now_ms)

    def _settle(self, state: State) -> None:
        """Write down how trials ended that are no longer in force, whoever ended them."""
        history = self._sources.registry.history()
        running = state.rollout.started_ms if state.rollout is not None else None
        for model in {event.model for event in history if event.rollout is not None and event.model == event.rollout.model}:
            try:
                beside = self._sources.registry.beside(model)
            except ModelError:  # collected since
                continue
            for record in read_trials(beside):
                if record.outcome == "running" and not (record.started_ms == running and record.champion == state.champion):
                    write_trial(beside, _ended(record, history))

    def _guard(self, trial: _Trial, now_ms: int) -> None:
        """End the trial if it does harm."""
        self._keep(trial, trial.record.seen(trial.comparison, trial.counter.windows, now_ms))
        why = why_roll_back(trial.counter.windows)
        if why:
            self._act(trial, lambda state: self._sources.registry.end_rollout(expected=state, who=WHO, why=f"rolled back: {why}"))

    async def _read(self, trial: _Trial) -> None:
        if is_archive(self._sources.archive):
            problems = await asyncio.to_thread(trial.archive.read_into, trial.pending)
            self._complain(problems[0] if problems else "")
        elif trial.topics is not None:
            await trial.topics.read_into(trial.pending)
            self._complain("")
        else:
            self._complain("there is neither an archive (archive.directory) nor a Kafka (kafka.bootstrap) to read the answers from")

    def _compare(self, trial: _Trial, now_ms: int) -> None:
        """Count the days that have matured; act on what they say."""
        before = len(trial.comparison.days)
        threshold = self._sources.threshold(self._sources.registry.state())
        for day_ms, rows in trial.pending.matured(now_ms):
            trial.comparison = trial.comparison.add(day_ms, rows, threshold)
            if trial.comparison.evidence().verdict != "running":
                break
        n_waiting, is_old = trial.pending.n_rows, len(trial.comparison.days) == before
        if is_old and trial.record.evidence.verdict == "running" and n_waiting == trial.record.n_waiting:
            return
        seen = trial.record.seen(trial.comparison, trial.counter.windows, now_ms)
        record = msgspec.structs.replace(seen, n_waiting=n_waiting)
        self._keep(trial, record)
        registry, why = self._sources.registry, record.sentence.rstrip(".")
        match record.evidence.verdict:
            case "promote" if objection := self._sources.objection(registry.state(), record.model):
                self._complain(f"{record.model} is the better one by its evidence, but {objection}; end the trial with `weir models end`")
            case "promote":
                self._act(trial, lambda state: registry.promote(record.model, expected=state, who=WHO, why=why))
            case "roll_back":
                self._act(trial, lambda state: registry.end_rollout(expected=state, who=WHO, why=f"rolled back: {why}"))
            case "inconclusive":
                self._act(trial, lambda state: registry.end_rollout(expected=state, who=WHO, why=f"inconclusive: {why}"))
            case "running":
                pass

    def _act(self, trial: _Trial, action: Callable[[State], object]) -> None:
        """Change the registry, if the trial is still the one in force."""
        state = self._sources.registry.state()
        if trial.is_of(state):
            try:
                action(state)
            except ModelError as error:  # somebody was faster; the next look sees what they did
                _log.info("rollout_already_changed", reason=str(error))
                return
            _log.info("rollout_steered", model=trial.record.model, sentence=trial.record.sentence)
        self._stamp = None
        self._follow(trial.record.updated_ms)

    def _keep(self, trial: _Trial, record: TrialRecord) -> None:
        trial.record = record
        write_trial(self._sources.registry.beside(record.model), record)


def _ended(record: TrialRecord, history: Iterable[Event]) -> TrialRecord:
    """Return a record with how its trial ended, by the history: the first event after which it was no longer in force."""
    started = False
    for event in history:
        rollout = event.rollout
        is_it = rollout is not None and (rollout.model, rollout.started_ms) == (record.model, record.started_ms)
        if is_it and event.aliases.get("champion") == record.champion:
            started = True
        elif started:
            return record.over(_outcome(record, event), event.why or record.sentence, event.time_ms)
    return record.over("ended", record.sentence, record.updated_ms)


def _outcome(record: TrialRecord, event: Event) -> TrialOutcome:
    if event.event == "promoted" and event.model == record.model:
        return "promoted"
    if event.event == "ended" and event.who == WHO:
        return "inconclusive" if event.why.startswith("inconclusive") else "rolled_back"
    return "ended"
