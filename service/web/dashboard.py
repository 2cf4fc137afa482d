"""The dashboard put together: what reads, what evaluates, what tells, and the views that the addresses show."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from domain.decision import Tier
from domain.errors import ConfigError, ModelError, Unavailable, WeirError
from domain.retraining_event import RetrainingEvent
from features.redis_cluster_wire import open_wire
from features.redis_wire import ReplyError
from monitoring.drift_windows import Window
from monitoring.explanation import Explanation
from monitoring.web_metrics import WebMetrics
from service.policies import known_policies
from service.quality_log import QualityLog
from service.redis_fleet import FleetStorage
from service.rollout_steward import RolloutSteward
from service.settings import Settings
from service.times import now_ms
from service.web.alarms import Alarms, Listener, to_kafka, to_webhook, write_control
from service.web.alerts import AlertTail, LastAlerts
from service.web.answers import Notice, StatusAnswer
from service.web.candidate import CandidateTraining
from service.web.drift_answers import DriftAnswer, DriftFeatureAnswer
from service.web.events import Events
from service.web.live import Live
from service.web.live_answers import AlertAnswer, LiveAnswer
from service.web.model_answers import ModelAnswer, ModelsAnswer
from service.web.models import ModelViews
from service.web.quality import QualityView
from service.web.quality_answers import QualityAnswer
from service.web.rounds import every, pause, together
from service.web.shelf import Shelf
from service.web.status import status
from service.web.steering import sources_of
from service.web.together import TogetherView
from service.web.watch import DriftWatch
from service.webhook import Webhook
from service.wiring import kafka_connection, rates_of, redis_client, registry_desk_of, registry_of, verifying_key_of

_TICK_S: Final = 1.0
_DRIFT_S: Final = 2.0
_MODELS_S: Final = 5.0
_ALARMS_S: Final = 10.0
_TRIAL_S: Final = 2.0
_QUALITY_S: Final = 60.0
_NO_ARCHIVE_S: Final = 5.0
_TOGETHER_S: Final = 10.0
"""Between two looks whether an hour is over."""
_CONCEPT_EVERY: Final = 5
"""Rounds of quality between two looks at the concept: they read every alert of the archive."""
_STUCK_MS: Final = 15_000


class Dashboard:
    """One process' views; `run` keeps them up to date. Belongs to one event loop."""

    def __init__(self, settings: Settings, *, config: Path | None) -> None:
        """Open what is kept on disk; nothing is connected yet.

        Args:
            settings: In force.
            config: Their file, for a training that an alarm begins; None: found by itself.

        Raises:
            ConfigError: A setting is wrong, or the folder `monitoring.directory` cannot be used.
        """
        directory, archive = Path(settings.monitoring.directory), Path(settings.archive.directory)
        registry, currency = registry_of(settings), settings.features.base_currency
        self._settings = settings
        self._currency = currency
        self._registry = registry
        self.events = Events()
        self._metrics = WebMetrics()
        self._alerts = LastAlerts()
        self._live = Live(self._alerts)
        self._shelf = Shelf(registry, verifying_key_of(settings))
        self._policies = known_policies(settings)
        self._steward = RolloutSteward(sources_of(settings, self._shelf, self._policies))
        self._models = ModelViews(registry, self._shelf, self._policies, str(registry))
        self._quality_log = QualityLog(archive, directory, rates=rates_of(settings))
        self._quality = QualityView(self._quality_log, archive, currency)
        self._training = CandidateTraining(
            config=config,
            archive=archive,
            log=directory / "training.log",
            registry=registry_desk_of(settings),
            tell=self._tell_retrained,
        )
        webhook = settings.monitoring.webhook_url
        self._webhook = Webhook(webhook, settings.monitoring.webhook_secret, directory / "webhooks.jsonl") if webhook else None
        self._watch = DriftWatch(self._shelf, directory, currency)
        self._together = TogetherView(archive)
        self._alarms = Alarms(self._watch, self._listeners(), now_ms)
        self._last_drift: DriftAnswer | None = None
        self._last_models: ModelsAnswer | None = None
        self._threshold: float | None = None
        self._storage: FleetStorage | None = None
        self._n_quality = self._n_drift = 0
        self._ticked_ms = now_ms()

    async def run(self, stop: asyncio.Event) -> None:
        """Keep everything up to date until `stop` is set."""
        connection = kafka_connection(self._settings)
        tail = AlertTail(connection, self._alerts, on_alerts=self._publish, on_trouble=lambda n: self._live.trouble("kafka", n))
        work = [
            self._fleet_loop(stop),
            every(_DRIFT_S, self._read_drift, stop),
            every(_MODELS_S, self._read_models, stop),
            every(_ALARMS_S, self._pass_on, stop),
            self._quality_loop(stop),
            every(_TOGETHER_S, self._read_together, stop),
            every(_TRIAL_S, self._steer, stop),
        ]
        if self._settings.kafka.bootstrap:
            work.append(tail.run(stop))
        else:
            self._live.trouble("kafka", _no_kafka())
        try:
            await together(work, stop)
        finally:
            await self.close()

    async def close(self) -> None:
        """End streams and a training that runs, and close what is kept."""
        self.events.close()
        await self._training.close()
        await self._watch.close()
        self._quality_log.close()

    # What the addresses show; see service.web.app.Views.

    def status(self) -> StatusAnswer:
        """See `Views`."""
        return status(
            self._live.event(now_ms()), self._last_drift, self.quality(), self._last_models, base_currency=self._currency
        )  # fmt: skip

    def live(self) -> LiveAnswer:
        """See `Views`."""
        return self._live.answer(now_ms())

    async def drift(self, window: Window) -> DriftAnswer:
        """See `Views`."""
        answer = await self._watch.answer(window, now_ms())
        return msgspec.structs.replace(answer, together=self._together.answer)

    async def drift_feature(self, feature: str, window: Window) -> DriftFeatureAnswer | None:
        """See `Views`."""
        return await self._watch.feature(feature, window, now_ms())

    def quality(self) -> QualityAnswer:
        """See `Views`."""
        return self._quality.answer(now_ms(), self._threshold)

    async def models(self) -> ModelsAnswer:
        """See `Views`."""
        return await asyncio.to_thread(self._models.all, self._serving(), now_ms(), self._steward.trouble)

    async def model(self, reference: str) -> ModelAnswer:
        """See `Views`."""
        return await asyncio.to_thread(self._models.one, reference, self._serving())

    async def transaction(self, transaction_id: str) -> Explanation | None:
        """See `Views`."""
        from service.explanation import explain

        return await explain(self._settings, transaction_id)

    def health(self) -> Sequence[str]:
        """See `Views`."""
        silent_ms = now_ms() - self._ticked_ms
        return [f"the fleet was looked at {silent_ms // 1000} s ago, not a second ago"] if silent_ms > _STUCK_MS else []

    def exposition(self) -> bytes:
        """See `Views`."""
        return self._metrics.exposition()

    # What keeps them up to date.

    async def _fleet_loop(self, stop: asyncio.Event) -> None:
        """Read Redis every second, whatever happens to it."""
        while not stop.is_set():
            try:
                await self._follow_redis(stop)
            except (Unavailable, ReplyError, ConfigError) as error:
                self._live.trouble("redis", _no_redis(error))
                self._tick()
            await pause(stop, _TICK_S)

    async def _follow_redis(self, stop: asyncio.Event) -> None:
        client = redis_client(self._settings)
        try:
            wire = await open_wire(client, n_lines=2)
            try:
                storage = FleetStorage(wire, self._settings.redis.prefix)
                self._storage = storage
                await every(_TICK_S, lambda: self._read_fleet(storage), stop, passes=(Unavailable, ReplyError))
            finally:
                self._storage = None
                await wire.close()
        finally:
            await client.aclose()

    async def _read_fleet(self, storage: FleetStorage) -> None:
        try:
            states = await storage.workers()
        except Unavailable:
            states = await storage.workers()  # a connection that was lost is opened anew by the call that finds it so
        self._live.hear(states, now_ms())
        self._live.trouble("redis", None)
        self._tick()

    def _tick(self) -> None:
        now = now_ms()
        event = self._live.tick(now)
        self._ticked_ms = now
        self._metrics.set_workers(worker.state for worker in event.workers)
        self.events.live(msgspec.json.encode(event))

    async def _read_drift(self) -> None:
        speaking = self._live.fleet.speaking(now_ms())
        if self._storage is not None:
            with suppress(Unavailable, ReplyError):  # the fleet's loop says so
                await self._watch.read(self._storage, speaking)
        news = await self._watch.evaluate(speaking, self._live.champion)
        for incident in news:
            self.events.fact("incident", msgspec.json.encode(incident))
        if self._last_drift is None or self._watch.n_changes != self._n_drift:
            self._n_drift = self._watch.n_changes
            self._last_drift = await self._watch.answer("24h", now_ms())
            if (found := self._watch.report) is not None:
                self._metrics.set_drift(*found)
        self._metrics.set_incidents((i.kind, i.severity) for i in await self._watch.incidents() if i.ended_ms is None)

    async def _read_models(self) -> None:
        self._live.champion = champion = await asyncio.to_thread(self._models.champion)
        self._last_models = await self.models()
        self._threshold = None
        if champion is not None:
            with suppress(ModelError):
                default = (await asyncio.to_thread(self._shelf.get, champion)).manifest.policy
                policy = await asyncio.to_thread(self._policies.in_force, champion, default)
                self._threshold = policy.thresholds[Tier.FULL].review

    async def _steer(self) -> None:
        await self._steward.look(self._live.fleet.speaking(now_ms()), now_ms())

    async def _quality_loop(self, stop: asyncio.Event) -> None:
        """Read the archive every minute; look often whether there is one."""
        while not stop.is_set():
            await every(_NO_ARCHIVE_S, self._read_quality, stop, until=lambda: self._quality.report is not None)
            await pause(stop, _QUALITY_S)

    async def _read_quality(self) -> None:
        try:
            await asyncio.to_thread(self._quality.refresh, now_ms(), self._threshold)
        except (WeirError, OSError) as error:
            self._quality.trouble(str(error))
        report = self._quality.report
        if report is None:
            return
        self._metrics.set_quality(report)
        if self._n_quality % _CONCEPT_EVERY == 0:
            with suppress(WeirError):  # the quality view says what is wrong with the archive
                archive = Path(self._settings.archive.directory)
                await self._watch.judge_concept(archive, self._live.fleet.speaking(now_ms()), report.at_ms)
        self._n_quality += 1

    async def _read_together(self) -> None:
        if (found := self._watch.report) is None:
            return
        model, report = found
        with suppress(ModelError):  # the view of drift says so
            spec = (await asyncio.to_thread(self._shelf.get, model)).manifest.spec
            await asyncio.to_thread(self._together.refresh, spec, report.now_hour, now_ms())

    async def _pass_on(self) -> None:
        self._metrics.set_untold(await self._alarms.pass_on())
        self._live.trouble("retraining", await asyncio.to_thread(self._training.notice))

    async def _tell_retrained(self, event: RetrainingEvent) -> None:
        if self._settings.kafka.bootstrap:
            await write_control(kafka_connection(self._settings), event)

    def _publish(self, alerts: Sequence[AlertAnswer]) -> None:
        for alert in alerts:
            self.events.fact("alert", msgspec.json.encode(alert))

    def _listeners(self) -> dict[str, Listener]:
        """Return who is told of incidents, by the policy `monitoring.on_alarm`."""
        chosen = self._settings.monitoring.on_alarm
        found: dict[str, Listener] = {}
        if chosen in {"incident", "train"} and self._settings.kafka.bootstrap:
            found["kafka"] = to_kafka(kafka_connection(self._settings))
        if chosen == "train":
            found["training"] = self._training.listener
        if self._webhook is not None:  # the last one: it may be long in answering
            found["webhook"] = to_webhook(self._webhook)
        return found

    def _serving(self) -> list[str]:
        return [state.model for state in self._live.fleet.speaking(now_ms())]


def _no_kafka() -> Notice:
    text = "No alerts can be shown: no Kafka is set; start the embedded one with `weir up`, or set kafka.bootstrap."
    return Notice(state="empty", text=text)


def _no_redis(error: Exception) -> Notice:
    if isinstance(error, ConfigError):
        return Notice(state="empty", text=f"The workers cannot be seen: {error}.")
    return Notice(state="alarm", text=f"The workers cannot be seen, what is shown of them is old: Redis does not answer ({error}).")
