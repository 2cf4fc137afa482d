"""Keeps every model's drift up to date: hours from Redis onto the disk, an evaluation for each hour that is over."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from domain.errors import ModelError
from monitoring.design_effect import MIN_DAYS
from monitoring.drift_report import DriftReport
from monitoring.drift_windows import Window
from monitoring.fleet import WorkerState
from monitoring.packed import HOUR_MS, MINUTE_MS
from service.redis_fleet import Counted, FleetStorage
from service.web.answers import Notice
from service.web.concept import newest_change
from service.web.drift import DriftView
from service.web.drift_answers import DriftAnswer, DriftFeatureAnswer, Incident, ModelSpan
from service.web.evaluation import ModelDrift, newest_hour
from service.web.hours import FILE, HourLog
from service.web.minutes import over
from service.web.shelf import Shelf

T = TypeVar("T")

_SILENT_EVERY: Final = 30
"""Workers that no longer speak are asked every so many rounds: what they counted last is there at the first."""
_RENEWED_EVERY: Final = 5
"""Rounds between two looks at what was counted late: a stream with many late events does not keep the thread busy."""
_MOST_BEHIND_H: Final = 6
"""An hour is over when every worker has passed it, but none is waited for longer than this."""


class DriftWatch:
    """Owns the hours and evaluates them in one thread of its own, so that the event loop never waits for it."""

    def __init__(self, shelf: Shelf, directory: Path, base_currency: str) -> None:
        """Open what was kept.

        Raises:
            ConfigError: The folder cannot be used.
        """
        self._shelf = shelf
        self._base_currency = base_currency
        self._log = HourLog(directory / FILE)
        self._thread = ThreadPoolExecutor(1, "weir-drift")
        self._models: dict[str, ModelDrift] = {}
        self._views: dict[str, DriftView] = {}
        self._notices: dict[str, Notice] = {}
        self._since: dict[Counted, int] = {}
        self._since_minutes: dict[Counted, int] = {}
        self._round = 0
        self._main: str | None = None
        self._n_changes = 0

    async def close(self) -> None:
        """Wait for the evaluation that runs, and close the file."""
        await self._in_thread(self._log.close)
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def read(self, storage: FleetStorage, speaking: Sequence[WorkerState]) -> None:
        """Take what was counted since the last reading.

        Raises:
            Unavailable: Redis does not answer; what was not read now is read next time.
        """
        now = {Counted(state.model, state.worker) for state in speaking}
        asked = await storage.counted() if self._round % _SILENT_EVERY == 0 else now
        for counted in asked:
            since, hours = await storage.hours(*counted, self._since.get(counted, 0))
            if hours:
                await self._in_thread(self._put, counted, hours)
            self._since[counted] = since
            since, minutes = await storage.changed(*counted, self._since_minutes.get(counted, 0))
            if minutes:
                await self._in_thread(self._put_minutes, counted, minutes)
            self._since_minutes[counted] = since
        self._round += 1

    async def evaluate(self, speaking: Sequence[WorkerState], champion: str | None) -> list[Incident]:
        """Evaluate the hours that are over, and look at the last sixty minutes; return the incidents that began, grew or ended."""
        await self._in_thread(self._choose, speaking, champion)
        news: list[Incident] = []
        for model in list(self._models):
            while (found := await self._in_thread(self._advance, model, speaking)) is not None:
                news += found
            await self._in_thread(self._look, model, speaking)
            if self._round % _RENEWED_EVERY == 0:
                await self._in_thread(self._renew, model)
        return news

    async def answer(self, window: Window, now_ms: int) -> DriftAnswer:
        """Return what has changed."""
        return await self._in_thread(self._answer, window, now_ms)

    async def feature(self, name: str, window: Window, now_ms: int) -> DriftFeatureAnswer | None:
        """Return one feature opened."""
        return await self._in_thread(lambda: self._view.feature(name, window, now_ms=now_ms) if self._view else None)

    async def judge_concept(self, archive: Path, speaking: Sequence[WorkerState], now_ms: int) -> None:
        """Look whether the alerts of the model that serves are right as often as they were.

        Args:
            archive: Their folder.
            speaking: The workers; their policy counts.
            now_ms: The archive's own time.

        Raises:
            HistoryError: The archive cannot be read.
        """
        drift = self._models.get(self._main or "")
        if drift is None:
            return
        window = drift.shelved.manifest.window
        policy = next((s.policy for s in speaking if s.model == self._main), drift.shelved.manifest.policy.version)
        find = partial(newest_change, archive, drift.shelved.reference, policy, maturity_ms=window.maturity_ms, now_ms=now_ms)
        drift.concept = await asyncio.to_thread(find)

    async def incidents(self) -> list[Incident]:
        """Return the newest word of every incident of every model."""
        return await self._in_thread(lambda: [incident for drift in self._models.values() for incident in drift.incidents])

    async def told(self, listener: str, incident_id: str) -> bytes | None:
        """Return what a listener was last told about an incident."""
        return await self._in_thread(self._log.kept, listener, incident_id)

    async def tell(self, listener: str, incident_id: str, content: bytes) -> None:
        """Remember what a listener was told about an incident."""
        await self._in_thread(self._log.keep, listener, incident_id, content)

    @property
    def n_changes(self) -> int:
        """Grows whenever an answer may differ from the last one in more than its time."""
        return self._n_changes

    @property
    def report(self) -> tuple[str, DriftReport] | None:
        """The model that serves most, and its last evaluation."""
        drift = self._models.get(self._main or "")
        return None if drift is None or drift.report is None else (drift.shelved.reference, drift.report)

    @property
    def _view(self) -> DriftView | None:
        return self._views.get(self._main or "")

    async def _in_thread(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    def _put(self, counted: Counted, hours: dict[int, bytes]) -> None:
        drift = self._drift(counted.model)
        if drift is None:
            self._log.put(counted.model, counted.worker, hours)  # judged as soon as the registry has the model
        else:
            drift.put(counted.worker, hours)

    def _put_minutes(self, counted: Counted, minutes: dict[int, bytes]) -> None:
        drift = self._drift(counted.model)
        if drift is not None:
            drift.put_minutes(counted.worker, minutes)

    def _drift(self, model: str) -> ModelDrift | None:
        """Return a model's drift; None, and a notice, if the registry does not have the model."""
        if model not in self._models:
            try:
                drift = ModelDrift(self._shelf.get(model), self._log)
            except ModelError as error:
                text = f"What {model} counted cannot be judged: {error}. Copy its bundle into this registry (model.registry)."
                self._n_changes += model not in self._notices
                self._notices[model] = Notice(state="attention", text=text, href="#/models")
                return None
            self._notices.pop(model, None)
            self._models[model] = drift
            self._views[model] = DriftView(drift, self._base_currency)
        return self._models[model]

    def _choose(self, speaking: Sequence[WorkerState], champion: str | None) -> None:
        """Choose the model that the view shows: the one that most workers serve, else the champion, else the newest counted."""
        serving = [state.model for state in speaking]
        by_number = sorted(set(serving), key=lambda model: (-serving.count(model), model))
        wanted = [*by_number, *([champion] if champion else []), *self._log.models()]
        found = next((model for model in wanted if self._drift(model) is not None), None)
        self._n_changes += found != self._main
        self._main = found

    def _advance(self, model: str, speaking: Sequence[WorkerState]) -> list[Incident] | None:
        """Evaluate one hour; None: nothing is left to evaluate."""
        drift = self._models[model]
        now_hour = _over(drift, [state for state in speaking if state.model == model])
        hour = None if now_hour is None else drift.next_hour(now_hour)
        if hour is None:
            return None
        self._n_changes += 1
        return drift.advance(hour)

    def _renew(self, model: str) -> None:
        self._n_changes += self._models[model].renew()

    def _look(self, model: str, speaking: Sequence[WorkerState]) -> None:
        end = over([state.event_ms // MINUTE_MS for state in speaking if state.model == model and state.event_ms])
        if end is not None:
            self._n_changes += self._models[model].look(end)

    def _answer(self, window: Window, now_ms: int) -> DriftAnswer:
        models = self._spans()
        notices = list(self._notices.values())
        if self._view is not None:
            return self._view.answer(window, now_ms=now_ms, notices=notices, models=models)
        sentence = "Nothing is counted: train a model (weir train HISTORY) and start a worker (weir worker)."
        return DriftAnswer(
            at_ms=now_ms, event_ms=None, window=window, model="", base_currency=self._base_currency, state="empty", sentence=sentence,
            notices=notices, has_baseline=False, baseline_days=0, baseline_days_needed=MIN_DAYS, n_rows=0, score=None, together=None,
            features=[], incidents=[], models=models,
        )  # fmt: skip

    def _spans(self) -> list[ModelSpan]:
        found = [ModelSpan(model=m, from_ms=min(d.hours) * HOUR_MS) for m, d in self._models.items() if d.hours]
        return sorted(found, key=lambda span: span.from_ms)


def _over(drift: ModelDrift, speaking: Sequence[WorkerState]) -> int | None:
    """Return the first hour that is not over: that of the worker furthest behind, but not of one that lies far behind."""
    hours = [state.event_ms // HOUR_MS for state in speaking if state.event_ms]
    newest = newest_hour(drift)
    if newest is None:
        return None
    return max(min(hours), max(hours) - _MOST_BEHIND_H) if hours else newest
