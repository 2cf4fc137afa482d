"""What a worker serves with: store, pipelines, positions and what goes on beside them, put together from the settings."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import msgspec

from domain.errors import Unavailable
from domain.model_event import ModelEvent
from features import redis_parked
from features.currency import Rates
from features.index_budget import IndexBudget
from features.redis_cluster_wire import open_wire
from features.redis_fence import Fence
from features.redis_index_budget import RedisIndexBudget
from features.redis_journal import RedisJournal
from features.redis_log import RedisLog, library
from features.redis_markers import RedisMarkers
from features.redis_wire import Wire
from features.store import FeatureStore
from models.reason_texts import ReasonTexts
from monitoring.metrics import Metrics
from service.heartbeat import Heartbeat, Surroundings
from service.lineup_loading import Opened
from service.model_watch import ModelWatch
from service.redis_fleet import FleetStorage
from service.settings import Settings
from service.wiring import COMMIT_EVERY_S, kafka_connection, keys_of, redis_client, require_redis
from stream.control import Control
from stream.gate import Gate
from stream.journal import Journal
from stream.label_pipeline import LabelPipeline
from stream.lineup import Lineup, model_of
from stream.outage import Outage
from stream.parked_labels import ParkedLabels
from stream.pipeline import TransactionPipeline
from stream.positions import Positions
from stream.publisher import Publisher
from stream.records import Committed, Message, TopicPartition
from stream.shedding import Shedding
from stream.sources import Sources
from stream.topics import ALERTS, CONTROL, FEATURE_ROWS, LABELS, LABELS_DEAD, SCORES, TRANSACTIONS, TRANSACTIONS_DEAD, OutputTopics
from stream.worker import Insight, Lags, Pipelines

_HOLD_EVERY_S = 0.5
_MARK_IDLE_ROUNDS = 4


def pipelines_of(
    settings: Settings, models: Opened, rates: Rates, metrics: Metrics
) -> Callable[[], AbstractAsyncContextManager[Pipelines]]:
    """Return what makes the pipelines inside the worker's event loop and closes them after it has drained."""

    @asynccontextmanager
    async def build() -> AsyncIterator[Pipelines]:
        client = redis_client(settings)
        try:
            await require_redis(client, settings)

            def count_call(seconds: float | None) -> None:
                if seconds is None:
                    metrics.redis_unavailable.inc()
                else:
                    metrics.redis.observe(seconds)

            serving = Serving(settings, models, rates, metrics, await open_wire(client, on_call=count_call))
            yield serving.pipelines()
            await serving.close()
        finally:
            await client.aclose()

    return build


class Serving:
    """The parts of one worker."""

    def __init__(self, settings: Settings, models: Opened, rates: Rates, metrics: Metrics, wire: Wire) -> None:
        self._settings = settings
        self._rates = rates
        self._metrics = metrics
        self._connection = kafka_connection(settings)
        self._keys = keys_of(settings)
        self._gate = Gate()
        self._seek = asyncio.Event()
        self._wire = wire
        self._fence = Fence(self._wire, [library(), redis_parked.library()], self._seek.set)
        self._outage = Outage(
            lambda: self._wire.everywhere([("PING",)]), self._seek, is_degrading=settings.scoring.on_outage == "degrade"
        )  # fmt: skip
        features = settings.features
        shortest_s = max(3_600, features.duplicate_window_s)
        self._budget = IndexBudget(features.index_max_bytes, features.index_days, shortest_s=shortest_s)
        self._store = self._store_on(self._fence)
        self._sources = Sources(self._store_on(self._wire))
        # The ring of answers is many times what is processed between two commits: it waits, if ever, for the next.
        self._journal = Journal(RedisJournal(self._fence, self._keys, settings.kafka.group), lambda: asyncio.sleep(COMMIT_EVERY_S / 4))
        self._positions = self._new_positions()
        self._insight: Insight | None = None
        lineup = models.loaded.lineup
        self._spec = lineup.champion.spec
        self._heartbeat = Heartbeat(FleetStorage(self._wire, settings.redis.prefix), lineup, metrics, self._look)
        self._models = ModelWatch(
            models.registry, models.loader, models.loaded, worker=self._heartbeat.worker, poll_s=settings.model.poll_s
        )  # fmt: skip
        self._shedding = Shedding(settings.scoring.latency_budget_ms)
        self._show_models(lineup)
        self._topics = OutputTopics(*(self._connection.topic(t) for t in (SCORES, ALERTS, FEATURE_ROWS, TRANSACTIONS_DEAD)))
        self._transactions = TransactionPipeline(
            self._store, lambda: self._models.lineup, self._sources, rates, self._topics, metrics, past=self._positions,
            vector_share=settings.features.vector_share, reasons_budget_ms=settings.scoring.reasons_budget_ms,
            control=Control(settings.scoring.control_scale, settings.scoring.release_control), on_scored=self._heartbeat.count,
            shedding=self._shedding, say=ReasonTexts.load(Path(texts)).of if (texts := settings.scoring.reason_texts) else None,
        )  # fmt: skip
        self._parked = redis_parked.RedisParked(self._fence, self._keys)
        self._waiting = self._new_waiting()

    def pipelines(self) -> Pipelines:
        """Return what the worker calls."""
        labels = LabelPipeline(self._store, self._sources, self._spec, self._label_topics, self._metrics, self._parked)
        transactions, positions = self._transactions, self._positions
        return Pipelines(
            transactions.process, labels.process, on_assigned=self._assigned, before_commit=positions.before_commit,
            on_committed=self._committed, record=positions.record, gate=self._gate, seek=self._seek, beside=self._beside,
            outage=self._outage, degrade=lambda records: partial(transactions.degraded, records),
            facts=lambda: {"model": self._models.model, "state": not positions.problem},
            refresh=self._refresh, published=transactions.published,
        )  # fmt: skip

    async def close(self) -> None:
        """Note and tell what is still to be, and disconnect."""
        await self._heartbeat.close()
        await self._store.close()
        await self._wire.close()

    def _refresh(self) -> None:
        """Show the figures that the parts keep."""
        journal, outage, positions = self._journal, self._outage, self._positions
        self._metrics.set_journal(
            n_written=journal.n_written, n_conflicts=journal.n_conflicts, n_forced=journal.n_forced, n_broken=journal.n_broken,
            fullness=journal.fullness,
        )  # fmt: skip
        models, shedding = self._models, self._shedding
        self._metrics.set_lineup(
            n_swaps=models.n_swaps, n_refused=models.n_refused, is_shedding=shedding.is_on, n_sheddings=shedding.n_times
        )  # fmt: skip
        self._metrics.set_outage(is_on=outage.is_on, n_outages=outage.n_outages, total_s=outage.total_s)
        self._metrics.set_states(
            n_set_aside=self._store.n_broken, n_lost=positions.n_lost, n_unmarked=positions.n_unmarked, is_emptied=bool(positions.problem)
        )

    def _look(self) -> Surroundings:
        positions, insight = self._positions, self._insight
        if insight is None:
            return Surroundings([], 0, self._outage.is_on, positions.problem, "")
        lag = sum(insight.lags(positions.next_offsets).values())
        problem = insight.problem() or positions.problem
        return Surroundings(insight.partitions(), lag, self._outage.is_on, problem, insight.address)

    @property
    def _label_topics(self) -> OutputTopics:
        return self._topics._replace(dead=self._connection.topic(LABELS_DEAD))

    def _store_on(self, wire: Wire) -> FeatureStore:
        features = self._settings.features
        log = RedisLog(wire, self._keys, self._budget)
        window_ms = features.duplicate_window_s * 1000
        return FeatureStore(log, self._keys, features.definition(), self._rates, claim_window_ms=window_ms, holds=True)

    def _markers_on(self, wire: Wire) -> RedisMarkers:
        redis = self._settings.redis
        wait_ms = max(redis.timeout_ms - 10, 1)
        return RedisMarkers(wire, self._keys, self._settings.kafka.group, wait_replicas=redis.wait_replicas, wait_timeout_ms=wait_ms)

    def _new_positions(self) -> Positions:
        return Positions(
            self._sources, self._fence, self._markers_on(self._wire), self._markers_on(self._fence), self._journal, gate=self._gate,
            topics=(self._connection.topic(TRANSACTIONS), self._connection.topic(LABELS)), notes=self._store, outage=self._outage,
        )  # fmt: skip

    def _new_waiting(self) -> ParkedLabels:
        async def replicated() -> None:
            await self._positions.before_commit({})

        return ParkedLabels(
            self._parked, self._store, self._sources.registry, self._spec, self._label_topics, self._metrics,
            self._positions.horizon_ms, labels_topic=self._connection.topic(LABELS), replicated=replicated, gate=self._gate,
        )  # fmt: skip

    async def _assigned(
        self, uuids: Mapping[str, str], committed: Mapping[TopicPartition, Committed | None]
    ) -> Mapping[TopicPartition, int]:
        starts = await self._positions.assign(uuids, committed)
        self._transactions.assigned(committed)
        if not self._outage.is_on:
            await self._waiting.assign(uuids, list(committed))
        return starts

    def _committed(self, offsets: Mapping[TopicPartition, int]) -> None:
        self._positions.committed(offsets)
        self._transactions.committed(offsets)

    async def _beside(self, publisher: Publisher, insight: Insight) -> None:
        self._insight = insight
        self._positions.n_partitions = await publisher.n_partitions(self._connection.topic(TRANSACTIONS))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._mark_idle(insight.lags))
            tasks.create_task(self._heartbeat.run())
            tasks.create_task(self._models.run(self._adopt, partial(self._tell, publisher)))
            tasks.create_task(RedisIndexBudget(self._wire, self._keys.index_bytes, self._budget).run())
            tasks.create_task(self._waiting.run(publisher.publish))

    async def _adopt(self, lineup: Lineup) -> None:
        """Make ready for a lineup that answers from the next chunk on; without Redis that chunk does it, a rollback does not wait."""
        with suppress(Unavailable):
            await self._transactions.prepare(lineup)
        await asyncio.to_thread(self._heartbeat.adopt, lineup)
        self._show_models(lineup)

    def _show_models(self, lineup: Lineup) -> None:
        champion = lineup.champion
        self._metrics.set_model(model=model_of(champion), spec=champion.spec, policy=champion.policy_version)

    async def _tell(self, publisher: Publisher, event: ModelEvent) -> None:
        topic = self._connection.topic(CONTROL)
        await (await publisher.publish([Message(topic, event.id.encode(), msgspec.json.encode(event), None)]))

    async def _mark_idle(self, lags: Lags) -> None:
        n_rounds = 0
        while True:
            await asyncio.sleep(_HOLD_EVERY_S)
            n_rounds += 1
            with suppress(Unavailable):
                await self._positions.hold()
                if n_rounds % _MARK_IDLE_ROUNDS == 0:
                    await self._positions.mark_idle(lags)
