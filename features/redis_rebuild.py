"""Fill a Redis with the state and decision index of a history, so that the stream starts warm."""

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import polars as pl
from redis.asyncio import Redis

from domain.errors import ConfigError
from features.columns import columns_of
from features.currency import Rates
from features.keys import STATE_TTL_S, Keys
from features.offline import default_events, fold_states
from features.redis_index_rebuild import write_index
from features.redis_markers import RedisMarkers
from features.redis_wire import SingleWire, Wire
from features.redis_writing import Writing, calls_of
from features.spec import FeatureSettings

STATES_SHARE: Final = 0.6
"""Of the progress."""
_NEVER: Callable[[float], None] = lambda _: None  # noqa: E731 - a default argument


class Rebuilt(NamedTuple):
    """What was written."""

    entities: int
    state_bytes: int
    index_entries: int


async def rebuild(
    client: Redis, keys: Keys, history: pl.DataFrame, settings: FeatureSettings, rates: Rates, *, end_ms: int, index_days: int,
    replace: bool = False, progress: Callable[[float], None] = _NEVER,
) -> Rebuilt:  # fmt: skip
    """Do what `rebuild_states` does on one server, and leave the sentinel there."""
    del settings  # the states do not depend on them; the namespace that they go to does
    wire = SingleWire(client)
    try:
        found = await rebuild_states(
            wire, keys, history, rates, end_ms=end_ms, index_days=index_days, replace=replace, progress=progress
        )  # fmt: skip
        await RedisMarkers(wire, keys, "").set_alive()
    finally:
        await wire.close()
    return found


async def rebuild_states(
    wire: Wire, keys: Keys, history: pl.DataFrame, rates: Rates, *, end_ms: int, index_days: int, index_max_bytes: int = 0,
    replace: bool = False, progress: Callable[[float], None] = _NEVER,
) -> Rebuilt:  # fmt: skip
    """Write the state of every entity as of `end_ms`, and the index of the last `index_days` before it.

    Transactions with event time, and labels with label time, before `end_ms` count. No worker of this feature spec may run
    meanwhile. Others may: their states are not touched, and an index entry that is there already stays as it is.

    Args:
        wire: To Redis.
        keys: Names of what is written.
        history: Normalised (see `features.history`), sorted by (event_time_ms, transaction_id).
        rates: Of the base currency.
        end_ms: Moment of which the states are, not included.
        index_days: An index entry is kept until its transaction is so old, counted from `end_ms`.
        index_max_bytes: Bound of the index: its oldest transactions are left out; 0 = none.
        replace: Remove the states of this spec first.
        progress: Called with the finished share, in [0, 1].

    Raises:
        ConfigError: States of this feature spec are there already, and `replace` is not set.
        Unavailable: Redis does not answer; what is written stays, start again with `replace`.
    """
    await _empty(wire, keys, replace=replace)
    columns = await asyncio.to_thread(columns_of, history, rates)
    events = default_events(history, end_ms=end_ms)
    blocks = fold_states(columns, events, rates.major, lambda share: progress(STATES_SHARE * share))
    async with Writing(wire) as writing:
        entities = size = 0
        ahead = asyncio.create_task(asyncio.to_thread(next, blocks, None))
        while (block := await ahead) is not None:
            ahead = asyncio.create_task(asyncio.to_thread(next, blocks, None))
            kind, ids, states = block
            named = [keys.state(kind, entity_id) for entity_id in ids]
            await writing.put([("SET", name, state, "EX", STATE_TTL_S) for name, state in zip(named, states, strict=True)])
            entities += len(ids)
            size += sum(map(len, states))
    index_progress = lambda share: progress(STATES_SHARE + (1 - STATES_SHARE) * share)  # noqa: E731 - one line
    n_entries = await write_index(
        wire, keys, history, columns, end_ms=end_ms, index_days=index_days, max_bytes=index_max_bytes, progress=index_progress
    )
    progress(1.0)
    return Rebuilt(entities, size, n_entries)


async def set_positions(wire: Wire, keys: Keys, group: str, positions: Mapping[int, tuple[int, int]], *, wait_replicas: int = 0) -> None:
    """Say where workers go on, and leave the sentinel: what a rebuild ends with.

    Args:
        wire: To the Redis that was rebuilt.
        keys: Names of markers and sentinel.
        group: Consumer group of the workers.
        positions: Source id -> (first offset that the states do not hold, append time of the last one they hold). Empty: the
            positions of an earlier state are taken away, and workers go on where the group committed.
        wait_replicas: Replicas that must have everything.

    Raises:
        Unavailable: Redis does not answer, or has too few replicas; do it again.
    """
    markers = RedisMarkers(wire, keys, group, wait_replicas=wait_replicas, wait_timeout_ms=5_000)
    await _remove(wire, _glob(keys.marker(group, 0, 0).rpartition(b"{")[0]))
    await markers.write(positions, may_go_back=True)
    await markers.set_alive()


async def _empty(wire: Wire, keys: Keys, *, replace: bool) -> None:
    """Remove the states of this spec, or refuse if there are any."""
    if replace:
        await _remove(wire, keys.state_pattern.encode())
        return
    async for found in _scan(wire, keys.state_pattern.encode()):
        raise ConfigError(
            f"redis already holds states of this feature spec ({found[0].decode()!r} and perhaps others): "
            "stop the workers and use --replace to build them anew, or set another redis.prefix"
        )


async def _remove(wire: Wire, pattern: bytes) -> None:
    async for found in _scan(wire, pattern):
        await wire.run(calls_of(wire, [("UNLINK", key) for key in found]))


async def _scan(wire: Wire, pattern: bytes) -> Any:
    """Yield the keys of all nodes that match a glob, some at a time.

    A cursor belongs to its node, a question goes to all of them: so each asks on behalf of all, and takes its own answer.
    """
    cursors: list[Any] = [0]
    is_open = [True]
    while any(is_open):
        answers = await wire.everywhere([("SCAN", cursor, "MATCH", pattern, "COUNT", 1_000) for cursor in cursors])
        if len(answers) != len(cursors):  # the first question told how many nodes there are
            cursors, is_open = [0] * len(answers), [True] * len(answers)
            continue
        for node, of_node in enumerate(answers):
            if is_open[node]:
                cursors[node], found = int(of_node[node][0]), of_node[node][1]
                is_open[node] = cursors[node] != 0
                if found:
                    yield found


def _glob(prefix: bytes) -> bytes:
    """Return the glob of Redis that matches everything after a prefix."""
    return re.sub(rb"([\\*?\[\]])", rb"\\\1", prefix) + b"*"
