"""Fill a Redis with the state and decision index of a history, so that the stream starts warm."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import polars as pl
from redis.asyncio import Redis
from redis.exceptions import RedisError

from domain.errors import ConfigError, Unavailable
from features import layout as at
from features.currency import Rates
from features.index import Entry, encode_entry, encode_label
from features.keys import STATE_TTL_S, Keys
from features.offline import fold_states
from features.spec import FeatureSettings

_DAY_MS = 86_400_000
_PER_PIPELINE = 1_000
_NEVER: Callable[[float], None] = lambda _: None  # noqa: E731 - a default argument


class Rebuilt(NamedTuple):
    """What was written."""

    entities: int
    state_bytes: int
    index_entries: int


async def rebuild(
    client: Redis,
    keys: Keys,
    history: pl.DataFrame,
    settings: FeatureSettings,
    rates: Rates,
    *,
    end_ms: int,
    index_days: int,
    replace: bool = False,
    progress: Callable[[float], None] = _NEVER,
) -> Rebuilt:
    """Write the state of every entity as of `end_ms`, and the index of the last `index_days` before it.

    Transactions with event time, and labels with label time, before `end_ms` count. No worker may run meanwhile.

    Raises:
        ConfigError: States of this feature spec are there already, and `replace` is not set.
        Unavailable: Redis does not answer; what is written stays, start again with `replace`.
    """
    try:
        await _empty(client, keys, replace=replace)
        entities = size = 0
        for kind, ids, states in fold_states(history, end_ms, settings, rates, lambda share: progress(0.7 * share)):
            pairs = ((keys.state(kind, entity_id), state) for entity_id, state in zip(ids, states, strict=True))
            await _set(client, pairs, STATE_TTL_S)
            entities += len(ids)
            size += sum(map(len, states))
        first_ms = end_ms - index_days * _DAY_MS
        recent = history.with_row_index("row").filter(pl.col("event_time_ms").is_between(first_ms, end_ms, closed="left"))
        await _set(client, _entries(keys, recent, end_ms), index_days * 86_400)
        progress(1.0)
    except (RedisError, OSError) as error:
        raise Unavailable(f"redis does not answer (redis.url): {error}") from error
    return Rebuilt(entities, size, len(recent))


async def _empty(client: Redis, keys: Keys, *, replace: bool) -> None:
    """Remove the states of this spec, or refuse if there are any."""
    async for key in client.scan_iter(match=keys.state_pattern, count=5_000):
        if not replace:
            raise ConfigError(
                f"redis already holds states of this feature spec ({key.decode()!r} and perhaps others): "
                "stop the workers and use --replace to build them anew, or set another redis.prefix"
            )
        await client.unlink(key)


async def _set(client: Redis, pairs: Iterator[tuple[bytes, bytes]], ttl_s: int) -> None:
    pipe = client.pipeline(transaction=False)
    for key, value in pairs:
        pipe.set(key, value, ex=ttl_s)
        if len(pipe) >= _PER_PIPELINE:
            await pipe.execute()
    await pipe.execute()


def _entries(keys: Keys, recent: pl.DataFrame, end_ms: int) -> Iterator[tuple[bytes, bytes]]:
    columns = recent.select(
        "row", "transaction_id", "event_time_ms", "card_id", "merchant_id", "device_id", "ip", "is_fraud", "label_time_ms"
    )
    source_start = at.HISTORY_SOURCE << at.OFFSET_BITS
    for row, transaction_id, event_ms, card, merchant, device, ip, is_fraud, label_ms in columns.iter_rows():
        source = source_start + row + 1
        is_known = is_fraud and label_ms is not None and label_ms < end_ms
        label = encode_label(source, label_ms, is_fraud=True, change=1) if is_known else b""
        entry = Entry(source, event_ms, event_ms, (card, merchant, device, ip))
        yield keys.index(transaction_id), encode_entry(entry, label)
