"""Settings to objects: the only place that knows the concrete classes together."""

import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from domain.errors import BundleRejected, ConfigError, FeatureSpecMismatch, NoChampion
from features.currency import Rates
from features.keys import Keys
from features.spec import fingerprint
from service.settings import Settings, without_password
from stream.connection import KafkaConnection

if TYPE_CHECKING:
    from models.policy_store import PolicyStore
    from models.registry import Registry
    from models.scorer import Scorer
    from models.store import Store
    from stream.worker import WorkerSettings


_SOCKET_BYTES = 2 << 20
_FILE_SCHEME = "file://"
#: Short, because `weir produce` waits for commits between labels and transactions; each costs two small requests.
COMMIT_EVERY_S = 0.2


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


def registry_of(settings: Settings) -> "Registry":
    """Return the model registry; one in a store is not connected yet.

    Raises:
        ConfigError: The store's URL cannot be used, or its extra is not installed.
    """
    from models.registry import Registry

    return Registry(_registry_root(settings))


def policies_of(settings: Settings) -> "PolicyStore":
    """Return the live policies of the registry; errors as `registry_of`."""
    from models.policy_store import PolicyStore

    return PolicyStore(_registry_root(settings))


def _registry_root(settings: Settings) -> "Path | Store":
    from models.store import open_store

    return registry_folder_of(settings) or open_store(settings.model.registry, Path(settings.model.cache))


def registry_folder_of(settings: Settings) -> Path | None:
    """Return the folder of the registry, None if it is in a store."""
    registry = settings.model.registry
    if registry.startswith(_FILE_SCHEME):
        registry = registry.removeprefix(_FILE_SCHEME)
    return None if "://" in registry else Path(registry)


def registry_desk_of(settings: Settings) -> Path:
    """Return the local folder of what concerns this machine's work on the registry, such as whose turn it is to retrain."""
    return registry_folder_of(settings) or Path(settings.model.cache)


def signing_key_of(settings: Settings) -> bytes:
    """Return the key that signs bundles and policies: of the settings, else the file beside the registry, made on first use.

    Raises:
        ConfigError: This installation may only verify, or its two keys are not a pair.
    """
    from models.signature import sign, signing_key, verify

    model = settings.model
    if model.verify_key and not model.signing_key:
        raise ConfigError("this installation verifies models and signs none: model.verify_key is set and model.signing_key is not")
    key = signing_key(model.signing_key, registry_folder_of(settings))
    if model.verify_key:
        try:
            verify(b"", sign(b"", key), verifying_key_of(settings))
        except BundleRejected as error:
            raise ConfigError(
                "model.verify_key is not the public key of model.signing_key: what is signed here would be refused"
            ) from error
    return key


def verifying_key_of(settings: Settings) -> bytes:
    """Return the key that verifies bundles and policies: the public key of the settings, else the one that signs."""
    from models.signature import verifying_key

    return verifying_key(settings.model.verify_key, settings.model.signing_key, registry_folder_of(settings))


def load_champion(settings: Settings) -> "Scorer":
    """Return the champion of the registry, verified.

    Raises:
        ConfigError: There is none, or it was trained on other features; the sentence says how to train one.
        BundleRejected: It is unsigned, altered or too new.
        StoreUnavailable: The registry's store cannot be used now.
    """
    from models.bundle import load_bundle

    registry = registry_of(settings)
    try:
        bundle = registry.resolve("champion")
    except NoChampion as error:
        raise ConfigError(
            f"no champion in the registry {registry}: train a model with `weir train HISTORY`; the first one becomes the champion"
        ) from error
    try:
        return load_bundle(bundle, verifying_key_of(settings), fingerprint(settings.features.definition()))
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
        commit_interval_s=COMMIT_EVERY_S,
    )
