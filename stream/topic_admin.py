"""Make the topics of the contract, and say what is wrong with those that exist."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from kafka.errors import KafkaError, TopicAlreadyExistsError, TopicAuthorizationFailedError

from domain.errors import ConfigError, Unavailable
from features.layout import MAX_SOURCES
from stream.connection import KafkaConnection
from stream.topics import ALERTS, FEATURE_ROWS, LABELS, SCORES, TOPICS, TRANSACTIONS, Topic

#: Longest wait for a first answer of any broker.
BOOTSTRAP_TIMEOUT_MS: Final = 6_000
_REQUEST_TIMEOUT_MS: Final = 10_000
#: Topics whose partitions must be those of the transactions: an answer goes to the partition of its transaction.
_AS_TRANSACTIONS: Final = (SCORES, ALERTS, FEATURE_ROWS)
_TIMESTAMP: Final = "message.timestamp.type"


class Finding(NamedTuple):
    """One thing that is not as the contract says."""

    topic: str
    """Full name."""
    detail: str
    """What was found and what must be."""
    is_fatal: bool
    """The worker does not start with it."""


class _Found(NamedTuple):
    uuid: str
    n_partitions: int
    config: dict[str, str]


@contextmanager
def admin_client(connection: KafkaConnection, *, timeout_ms: int = BOOTSTRAP_TIMEOUT_MS) -> Iterator[Any]:
    """Give a kafka-python admin client, closed at the end.

    Raises:
        ConfigError: No broker answers within `timeout_ms`.
    """
    try:
        client = KafkaAdminClient(
            **connection.kafka_python(),
            bootstrap_timeout_ms=timeout_ms,
            request_timeout_ms=_REQUEST_TIMEOUT_MS,
            reconnect_backoff_max_ms=1_000,
        )
    except (KafkaError, OSError, ValueError) as error:
        raise ConfigError(
            f"kafka does not answer at {connection.bootstrap or '(no address)'} ({_sentence(error)}); "
            "start it, or correct the setting kafka.bootstrap"
        ) from error
    try:
        yield client
    finally:
        client.close()


def create(connection: KafkaConnection, topics: Sequence[Topic] = TOPICS, *, replication_factor: int = -1) -> list[str]:
    """Make the topics that are missing, and give the others the configuration of the contract.

    Safe to repeat: what is right already is left alone; partitions are never changed.

    Args:
        connection: Where.
        topics: What.
        replication_factor: -1 = the broker's default.

    Returns:
        What was done, one sentence each; empty: nothing was to be done.

    Raises:
        ConfigError: Kafka is not reachable, or refuses.
    """
    with admin_client(connection) as client:
        try:
            return _create(client, connection, topics, replication_factor)
        except KafkaError as error:
            raise ConfigError(f"kafka at {connection.bootstrap} refused to make the topics: {_sentence(error)}") from error


def check(connection: KafkaConnection, topics: Sequence[Topic] = TOPICS) -> list[Finding]:
    """Return what is not as the contract says; empty: all is well.

    Raises:
        ConfigError: Kafka is not reachable, or refuses to tell.
    """
    with admin_client(connection) as client:
        try:
            found = _describe(client, [connection.topic(topic) for topic in topics])
        except KafkaError as error:
            raise ConfigError(f"kafka at {connection.bootstrap} does not describe the topics: {_sentence(error)}") from error
    return list(_findings(connection, topics, found))


def check_start(connection: KafkaConnection, topics: Sequence[Topic]) -> None:
    """Return if a worker may start with these topics.

    Raises:
        ConfigError: Kafka is not reachable, or a topic is missing or unfit; the sentence says what to do.
    """
    fatal = [finding for finding in check(connection, topics) if finding.is_fatal]
    if fatal:
        details = "; ".join(f"{finding.topic}: {finding.detail}" for finding in fatal[:4])
        raise ConfigError(f"{details}; run `weir topics create`" + ("" if len(fatal) <= 4 else f" ({len(fatal)} findings in all)"))


def topic_uuids(client: Any, names: Iterable[str]) -> dict[str, str]:
    """Return topic -> UUID of those among `names` that exist.

    Raises:
        Unavailable: Kafka does not answer now.
    """
    try:
        described = client.describe_topics(list(names))
    except (KafkaError, OSError) as error:
        raise Unavailable(f"kafka does not describe the topics: {_sentence(error)}") from error
    return {topic["name"]: str(topic["topic_id"]) for topic in described if not topic["error_code"]}


def _create(client: Any, connection: KafkaConnection, topics: Sequence[Topic], replication_factor: int) -> list[str]:
    done = []
    found = _describe(client, [connection.topic(topic) for topic in topics])
    for topic in topics:
        name = connection.topic(topic)
        if name not in found:
            asked = {"num_partitions": topic.partitions, "replication_factor": replication_factor, "configs": topic.config()}
            try:
                client.create_topics({name: asked}, timeout_ms=_REQUEST_TIMEOUT_MS, wait_for_metadata=True)
            except TopicAlreadyExistsError:
                continue  # another process was faster; what it made is checked by whoever starts
            done.append(f"{name} made with {topic.partitions} partitions")
            continue
        wrong = {key: value for key, value in topic.config().items() if found[name].config.get(key) != value}
        if wrong:
            answer = client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, dict(wrong))])
            if (result := answer["topic"][name]) != "OK":
                raise ConfigError(f"kafka refused {wrong} for topic {name}: {result}")
            done.append(f"{name} set to " + ", ".join(f"{key}={value}" for key, value in wrong.items()))
    return done


def _describe(client: Any, names: Sequence[str]) -> dict[str, _Found]:
    described = client.describe_topics(list(names))
    if denied := [t["name"] for t in described if t["error_code"] == TopicAuthorizationFailedError.errno]:
        raise TopicAuthorizationFailedError(f"not allowed to see {', '.join(denied)}")
    topics = {topic["name"]: topic for topic in described if not topic["error_code"]}
    if not topics:
        return {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in topics]
    configs = client.describe_configs(resources, config_filter="all")["topic"]
    return {
        name: _Found(
            str(topic["topic_id"]),
            len(topic["partitions"]),
            {key: entry["value"] for key, entry in configs[name].items()},
        )
        for name, topic in topics.items()
    }


def _findings(connection: KafkaConnection, topics: Sequence[Topic], found: dict[str, _Found]) -> Iterator[Finding]:
    transactions = found.get(connection.topic(TRANSACTIONS))
    for topic in topics:
        name = connection.topic(topic)
        if name not in found:
            yield Finding(name, "the topic is missing", is_fatal=True)
            continue
        for key, value in topic.config().items():
            if (actual := found[name].config.get(key)) != value:
                yield Finding(name, f"{key} is {actual}, must be {value}", is_fatal=key in {_TIMESTAMP, "max.message.bytes"})
        n_partitions = found[name].n_partitions
        if topic in _AS_TRANSACTIONS and transactions is not None and n_partitions != transactions.n_partitions:
            yield Finding(
                name,
                f"it has {n_partitions} partitions, must have {transactions.n_partitions} as {connection.topic(TRANSACTIONS)}; "
                "make it anew or add partitions",
                is_fatal=True,
            )
    n_sources = sum(found[name].n_partitions for topic in (TRANSACTIONS, LABELS) if (name := connection.topic(topic)) in found)
    if n_sources > MAX_SOURCES:
        yield Finding(
            connection.topic(TRANSACTIONS),
            f"it and {connection.topic(LABELS)} have {n_sources} partitions, at most {MAX_SOURCES} can be told apart; make them with fewer",
            is_fatal=True,
        )


def _sentence(error: BaseException) -> str:
    return (str(error).partition("\n")[0] or type(error).__name__).rstrip(".")
