"""What `weir doctor` looks at: Kafka, topics, Redis, the workers, the registry, the clocks. Nothing is changed."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import redis
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from domain.errors import ConfigError, PolicyRejected, WeirError
from features.index_budget import IndexBudget
from features.redis_index_budget import decode_counts
from service import fleet_status
from service.settings import Settings, without_password
from service.times import format_time, now_ms
from service.wiring import kafka_connection, keys_of, load_champion, policies_of, registry_of, verifying_key_of
from stream import topic_admin
from stream.connection import KafkaConnection
from stream.topics import TRANSACTIONS

_CLOCK_TOLERANCE_MS: Final = 2_000
#: Share of Redis' memory limit from which on somebody should act.
_MEMORY_ALARM: Final = 0.75
_OLDEST_REDIS: Final = (7, 0)
#: Most labels come within so many days.
_SHORTEST_INDEX_DAYS: Final = 30


class Check(NamedTuple):
    """One thing looked at."""

    name: str
    ok: bool
    detail: str
    """What was found."""
    advice: str
    """What to do; empty where nothing is to be done."""


def diagnose(settings: Settings) -> list[Check]:
    """Return all checks, in the order in which they should be repaired."""
    parts: dict[str, Callable[[Settings], Iterator[Check]]] = {
        "kafka": _kafka, "redis": _redis, "fleet": _fleet, "registry": _registry,
    }  # fmt: skip
    found: list[Check] = []
    for name, part in parts.items():
        if name == "fleet" and not any(check.name == "redis" and check.ok for check in found):
            continue  # that Redis does not answer is said once
        try:
            for check in part(settings):
                found.append(check)  # noqa: PERF402 - what was found before an error is kept
        except (WeirError, OSError, ValueError, KafkaError, redis.RedisError) as error:
            found.append(Check(name, ok=False, detail=_sentence(error), advice=_ADVICE[name]))
    return found


_ADVICE: Final = {
    "kafka": "start the embedded one with `weir up`, or correct kafka.bootstrap",
    "redis": "start the embedded one with `weir up`, or correct redis.url",
    "fleet": "workers speak by Redis: see what is said of it above",
    "registry": "`weir models list` shows what is there; `weir train HISTORY` makes a model",
}


def _kafka(settings: Settings) -> Iterator[Check]:
    if not settings.kafka.bootstrap:
        raise ConfigError("no address is set and no embedded Kafka runs")
    connection = kafka_connection(settings)
    with topic_admin.admin_client(connection) as client:
        n_brokers = len(client.describe_cluster()["brokers"])
    yield Check("kafka", ok=True, detail=f"{n_brokers} broker{'s' * (n_brokers != 1)} at {connection.bootstrap}", advice="")
    findings = topic_admin.check(connection)
    detail = "; ".join(f"{finding.topic}: {finding.detail}" for finding in findings)
    yield Check("topics", ok=not findings, detail=detail or "as they must be", advice="weir topics create" if findings else "")
    if not any(finding.topic == connection.topic(TRANSACTIONS) for finding in findings):
        yield _broker_clock(connection)


def _broker_clock(connection: KafkaConnection) -> Check:
    """Kafka does not tell its time, but the newest append time must not lie ahead of this machine's clock."""
    consumer: Any = KafkaConsumer(**connection.kafka_python(), enable_auto_commit=False, auto_offset_reset="latest")
    try:
        topic = connection.topic(TRANSACTIONS)
        partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
        newest = max((_newest_ms(consumer, partition) for partition in partitions), default=0)
    finally:
        consumer.close()
    ahead_ms = newest - now_ms()
    ok = ahead_ms <= _CLOCK_TOLERANCE_MS
    detail = f"newest append time {format_time(newest)}" if newest else "nothing appended yet"
    return Check(
        "clock_kafka", ok=ok, detail=detail, advice="" if ok else f"the broker's clock is {ahead_ms} ms ahead; set the clocks by NTP"
    )


def _newest_ms(consumer: Any, partition: TopicPartition) -> int:
    consumer.assign([partition])
    end = consumer.end_offsets([partition])[partition]
    if end == consumer.beginning_offsets([partition])[partition]:
        return 0
    consumer.seek(partition, end - 1)
    records = consumer.poll(timeout_ms=2_000).get(partition, [])
    return int(records[-1].timestamp) if records else 0


def _redis(settings: Settings) -> Iterator[Check]:
    if not settings.redis.url:
        raise ConfigError("no address is set and no embedded Redis runs")
    client: Any = redis.Redis.from_url(
        settings.redis.url,
        **({"password": settings.redis.password} if settings.redis.password else {}),
        socket_timeout=max(1.0, settings.redis.timeout_ms / 1000),
        socket_connect_timeout=2.0,
    )
    with client:
        facts = client.info()
        version = str(facts["redis_version"])
        is_new = tuple(int(part) for part in version.split(".")[:2]) >= _OLDEST_REDIS
        advice = "" if is_new else "Redis 7 or Valkey 7.2 and newer have Functions; upgrade"
        yield Check("redis", is_new, f"version {version} at {without_password(settings.redis.url)}", advice)
        yield _functions(client)
        yield _eviction(facts)
        yield _memory(facts)
        yield _index(client, facts, settings)
        yield _redis_clock(client)


def _functions(client: Any) -> Check:
    try:
        client.function_list()
    except redis.RedisError as error:
        return Check("redis_functions", ok=False, detail=_sentence(error), advice="allow FUNCTION and FCALL to this user (ACL)")
    return Check("redis_functions", ok=True, detail="answered", advice="")


def _eviction(facts: Mapping[str, Any]) -> Check:
    policy = str(facts.get("maxmemory_policy", "unknown"))
    ok = policy == "noeviction"
    return Check(
        "redis_eviction", ok, f"maxmemory-policy {policy}", "" if ok else "set maxmemory-policy noeviction: evicted state is wrong features"
    )


def _memory(facts: Mapping[str, Any]) -> Check:
    used, limit = int(facts["used_memory"]), int(facts.get("maxmemory", 0))
    if limit == 0:
        return Check("redis_memory", ok=True, detail=f"{used / 2**20:.0f} MB used, no limit", advice="")
    share = used / limit
    ok = share < _MEMORY_ALARM
    detail = f"{used / 2**20:.0f} of {limit / 2**20:.0f} MB used ({share:.0%})"
    return Check("redis_memory", ok, detail, "" if ok else "raise maxmemory or shorten features.index_days")


def _index(client: Any, facts: Mapping[str, Any], settings: Settings) -> Check:
    """What the decision index takes now and when it is full."""
    days, bound = settings.features.index_days, settings.features.index_max_bytes
    budget = IndexBudget(bound, days)
    budget.learn(decode_counts(client.hgetall(keys_of(settings).index_bytes)))
    found = budget.forecast(now_ms())
    detail = (
        f"{_megabytes(found.kept_bytes)} now, {_megabytes(found.bytes_per_day)} a day: {_megabytes(found.full_bytes)} after {days} days"
    )
    kept_days = found.retention_s / 86_400
    if bound:
        detail += f"; features.index_max_bytes {_megabytes(bound)} keeps new transactions for {kept_days:.1f} days"
        ok = kept_days >= min(days, _SHORTEST_INDEX_DAYS)
        advice = "raise features.index_max_bytes: labels that come later than that find no transaction"
    else:
        limit = int(facts.get("maxmemory", 0))
        free = limit - int(facts["used_memory"]) + found.kept_bytes
        ok = limit == 0 or found.full_bytes <= free
        advice = "Redis will be full before: set features.index_max_bytes, shorten features.index_days or raise maxmemory"
    return Check("decision_index", ok, detail, "" if ok else advice)


def _megabytes(size: int) -> str:
    return f"{size / 2**20:,.0f} MB"


def _redis_clock(client: Any) -> Check:
    before = now_ms()
    seconds, micros = client.time()
    difference_ms = seconds * 1000 + micros // 1000 - (before + now_ms()) // 2
    ok = abs(difference_ms) <= _CLOCK_TOLERANCE_MS
    return Check("clock_redis", ok, f"differs by {difference_ms} ms", "" if ok else "set the clocks by NTP")


def _fleet(settings: Settings) -> Iterator[Check]:
    """Look at the workers heard of in the last 60 s; that there is none is no fault before one is started."""
    found = fleet_status.workers(settings)
    if not found:
        yield Check("fleet", ok=True, detail="no worker was heard of in the last 60 s; start one: weir worker", advice="")
        return
    troubles = [f"{state.worker}: {'; '.join(said)}" for state in found if (said := fleet_status.troubles(state))]
    lag = sum(state.lag for state in found)
    heard = f"{len(found)} worker{'s' * (len(found) != 1)} heard of in the last 60 s, {lag:,} records wait"
    advice = "the worker's log says why; `weir status` shows each" if troubles else ""
    yield Check("fleet", ok=not troubles, detail=". ".join([heard, *troubles]), advice=advice)


def _registry(settings: Settings) -> Iterator[Check]:
    scorer = load_champion(settings)
    detail = f"champion {scorer.name}@{scorer.version}; signature, digests and feature fingerprint {scorer.spec} fit"
    yield Check("registry", ok=True, detail=detail, advice="")
    yield _policy(settings)


def _policy(settings: Settings) -> Check:
    version = registry_of(settings).state().policy
    if not version:
        return Check("policy", ok=True, detail="each model's own", advice="")
    try:
        policies_of(settings).read(version, verifying_key_of(settings))
    except PolicyRejected as error:
        return Check("policy", ok=False, detail=str(error), advice="weir policy set FILE, or weir policy set --default")
    return Check("policy", ok=True, detail=f"live policy {version}; signature fits", advice="")


def _sentence(error: BaseException) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
