"""Settings to objects: the only place that knows the concrete classes together."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from domain.errors import ConfigError, FeatureSpecMismatch, NoChampion
from features.currency import Rates
from features.keys import Keys
from features.spec import fingerprint
from service.settings import Settings, without_password
from stream.connection import KafkaConnection

if TYPE_CHECKING:
    from models.registry import FileRegistry
    from models.scorer import Scorer
    from monitoring.metrics import Metrics
    from stream.worker import Pipelines, WorkerSettings


_SOCKET_BYTES = 2 << 20
#: Short, because `weir produce` waits for commits between labels and transactions; each costs two small requests.
_COMMIT_EVERY_S = 0.2


def kafka_connection(settings: Settings) -> KafkaConnection:
    """Return how to reach Kafka."""
    found = msgspec.structs.asdict(settings.kafka)
    found.pop("group")
    return KafkaConnection(**found)


def redis_client(settings: Settings) -> Redis:
    """Return a client of Redis that does not retry by itself; nothing is connected yet.

    Raises:
        ConfigError: No address is set and no embedded Redis runs, or the address is not one.
    """
    if not settings.redis.url:
        raise ConfigError("no Redis: start the embedded one with `weir up`, or set redis.url (WEIR_REDIS_URL)")
    timeout_s = settings.redis.timeout_ms / 1000
    try:
        return Redis.from_url(
            settings.redis.url, password=settings.redis.password or None, socket_timeout=timeout_s, socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0), health_check_interval=0, redis_connect_func=_connect, socket_read_size=_SOCKET_BYTES,
        )  # fmt: skip
    except ValueError as error:
        raise ConfigError(f"redis.url: {error}; found {without_password(settings.redis.url)}") from error


async def _connect(connection: Any) -> None:
    """Let a whole chunk's request lie in the socket: what does not fit would wait until the event loop is free again."""
    connection._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BYTES)  # noqa: SLF001 - no other way to it
    await connection.on_connect()


async def require_redis(client: Redis, settings: Settings) -> None:
    """Return if Redis answers.

    Raises:
        ConfigError: It does not; the sentence names address and setting.
    """
    try:
        await client.ping()
    except (RedisError, OSError) as error:
        address = without_password(settings.redis.url)
        raise ConfigError(f"redis does not answer at {address} ({error}); start it, or correct the setting redis.url") from error


def rates_of(settings: Settings) -> Rates:
    """Return the exchange rates of the settings."""
    return Rates.load(Path(settings.features.rates) if settings.features.rates else None, settings.features.base_currency)


def keys_of(settings: Settings) -> Keys:
    """Return the Redis keys of this installation and its feature spec."""
    return Keys(settings.redis.prefix, fingerprint(settings.features.definition()))


def registry_of(settings: Settings) -> "FileRegistry":
    """Return the model registry."""
    from models.registry import FileRegistry

    return FileRegistry(Path(settings.model.registry))


def signing_key_of(settings: Settings) -> bytes:
    """Return the key that signs bundles: of the settings, else the file beside the registry, made on first use."""
    from models.signature import signing_key

    return signing_key(settings.model.signing_key, Path(settings.model.registry))


def load_champion(settings: Settings) -> "Scorer":
    """Return the champion of the registry, verified.

    Raises:
        ConfigError: There is none, or it was trained on other features; the sentence says how to train one.
        BundleRejected: It is unsigned, altered or too new.
    """
    from models.bundle import load_bundle

    try:
        bundle = registry_of(settings).resolve("champion")
    except NoChampion as error:
        raise ConfigError(
            f"no champion in the registry {settings.model.registry}: train a model with `weir train HISTORY`; "
            "the first one becomes the champion"
        ) from error
    try:
        return load_bundle(bundle, signing_key_of(settings), fingerprint(settings.features.definition()))
    except FeatureSpecMismatch as error:
        raise ConfigError(f"the champion cannot serve: {error}") from error


def worker_settings(settings: Settings) -> "WorkerSettings":
    """Return how a worker runs."""
    from stream.worker import WorkerSettings

    return WorkerSettings(
        kafka_connection(settings),
        settings.kafka.group,
        settings.scoring.chunk_size,
        settings.monitoring.bind,
        settings.monitoring.port,
        commit_interval_s=_COMMIT_EVERY_S,
    )


def pipelines_of(
    settings: Settings, scorer: "Scorer", rates: Rates, metrics: "Metrics"
) -> Callable[[], AbstractAsyncContextManager["Pipelines"]]:
    """Return what makes the pipelines inside the worker's event loop and closes them after it has drained."""

    @asynccontextmanager
    async def build() -> AsyncIterator["Pipelines"]:
        from features.redis_fence import Fence
        from features.redis_journal import RedisJournal
        from features.redis_log import RedisLog, library
        from features.redis_markers import RedisMarkers
        from features.redis_wire import SingleWire
        from features.store import FeatureStore
        from stream.gate import Gate
        from stream.journal import Journal
        from stream.label_pipeline import LabelPipeline
        from stream.outage import Outage
        from stream.pipeline import OutputTopics, TransactionPipeline
        from stream.positions import Positions
        from stream.records import TopicPartition
        from stream.sources import Sources
        from stream.topics import ALERTS, FEATURE_ROWS, LABELS, LABELS_DEAD, SCORES, TRANSACTIONS, TRANSACTIONS_DEAD
        from stream.worker import Pipelines

        connection, keys, definition = kafka_connection(settings), keys_of(settings), settings.features.definition()
        client = redis_client(settings)
        try:
            await require_redis(client, settings)
            wire = SingleWire(
                client, on_call=lambda seconds: metrics.redis_unavailable.inc() if seconds is None else metrics.redis.observe(seconds)
            )
            seek, gate, group = asyncio.Event(), Gate(), settings.kafka.group
            fence = Fence(wire, library(), seek.set)
            outage = Outage(lambda: wire.everywhere([("PING",)]), seek, is_degrading=settings.scoring.on_outage == "degrade")
            index_ttl_s = settings.features.index_days * 86_400
            log = RedisLog(fence, keys, index_ttl_s=index_ttl_s)
            store = FeatureStore(log, keys, definition, rates, claim_window_ms=settings.features.duplicate_window_s * 1000)
            sources = Sources(FeatureStore(RedisLog(wire, keys, index_ttl_s=index_ttl_s), keys, definition, rates))
            markers = partial(
                RedisMarkers, keys=keys, group=group, wait_replicas=settings.redis.wait_replicas,
                wait_timeout_ms=max(settings.redis.timeout_ms - 10, 1),
            )  # fmt: skip
            journal = Journal(RedisJournal(fence, keys, group), lambda: asyncio.sleep(_COMMIT_EVERY_S / 4))
            positions = Positions(
                sources, fence, markers(wire), markers(fence), journal, gate=gate,
                topics=(connection.topic(TRANSACTIONS), connection.topic(LABELS)), outage=outage,
            )  # fmt: skip
            topics = OutputTopics(*(connection.topic(t) for t in (SCORES, ALERTS, FEATURE_ROWS, TRANSACTIONS_DEAD)))
            transactions = TransactionPipeline(
                store, lambda: scorer, sources, rates, topics, metrics,
                past=positions, vector_share=settings.features.vector_share, reasons_budget_ms=settings.scoring.reasons_budget_ms,
            )  # fmt: skip
            labels = LabelPipeline(store, sources, scorer.spec, topics._replace(dead=connection.topic(LABELS_DEAD)), metrics)

            def committed(offsets: Mapping[TopicPartition, int]) -> None:
                positions.committed(offsets)
                transactions.committed(offsets)

            yield Pipelines(
                transactions.process, labels.process, on_assigned=positions.assign, before_commit=positions.before_commit,
                on_committed=committed, record=positions.record, gate=gate, seek=seek,
                outage=outage, degrade=lambda records: partial(transactions.degraded, records),
                facts=lambda: {"model": f"{scorer.name}@{scorer.version}", "state": not positions.problem},
            )  # fmt: skip
            await store.close()
            await wire.close()
        finally:
            await client.aclose()

    return build
