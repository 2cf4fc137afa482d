"""Fill a Redis with the state and decision index of a history, so that the stream starts warm."""

import asyncio
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl
from redis.asyncio import Redis

from domain.errors import ConfigError
from features import layout as at
from features.columns import Columns, columns_of
from features.currency import Rates
from features.index import NO_ID, encode_id, encode_label, fixed_parts
from features.keys import STATE_TTL_S, Keys
from features.offline import default_events, fold_states
from features.redis_markers import RedisMarkers
from features.redis_wire import Call, Command, SingleWire, Wire
from features.spec import FeatureSettings

_DAY_MS: Final = 86_400_000
#: Commands of one write: short enough that other clients are answered in between.
_PER_WRITE: Final = 1_000
_WRITES_UNDER_WAY: Final = 4
_ROWS_PER_BLOCK: Final = 10_000
_STATES_SHARE: Final = 0.6
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
    wire: Wire, keys: Keys, history: pl.DataFrame, rates: Rates, *, end_ms: int, index_days: int, replace: bool = False,
    progress: Callable[[float], None] = _NEVER,
) -> Rebuilt:  # fmt: skip
    """Write the state of every entity as of `end_ms`, and the index of the last `index_days` before it.

    Transactions with event time, and labels with label time, before `end_ms` count. No worker of this feature spec may run
    meanwhile. Others may: their states are not touched, and an index entry that is there already stays as it is.

    Raises:
        ConfigError: States of this feature spec are there already, and `replace` is not set.
        Unavailable: Redis does not answer; what is written stays, start again with `replace`.
    """
    await _empty(wire, keys, replace=replace)
    columns = await asyncio.to_thread(columns_of, history, rates)
    events = default_events(history, end_ms=end_ms)
    blocks = fold_states(columns, events, rates.major, lambda share: progress(_STATES_SHARE * share))
    writing = _Writing(wire)
    entities = size = 0
    ahead = asyncio.create_task(asyncio.to_thread(next, blocks, None))
    while (block := await ahead) is not None:
        ahead = asyncio.create_task(asyncio.to_thread(next, blocks, None))
        kind, ids, states = block
        named = [keys.state(kind, entity_id) for entity_id in ids]
        await writing.put([("SET", name, state, "EX", STATE_TTL_S) for name, state in zip(named, states, strict=True)])
        entities += len(ids)
        size += sum(map(len, states))
    n_entries = 0
    first_ms = end_ms - index_days * _DAY_MS
    for pairs, share in _entries(keys, history, columns, first_ms, end_ms):
        await writing.put([("SET", name, entry, "NX", "EX", index_days * 86_400) for name, entry in pairs])
        n_entries += len(pairs)
        progress(_STATES_SHARE + (1 - _STATES_SHARE) * share)
    await writing.end()
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


class _Writing:
    """Writes keys, with a few writes under way at any time."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._under_way: deque[asyncio.Task[Any]] = deque()

    async def put(self, commands: Sequence[Command]) -> None:
        """Send commands that have one key each; returns when most of those before are answered."""
        for a in range(0, len(commands), _PER_WRITE):
            if len(self._under_way) == _WRITES_UNDER_WAY:
                await self._under_way.popleft()
            calls = _calls(self._wire, commands[a : a + _PER_WRITE])
            self._under_way.append(asyncio.create_task(self._wire.run(calls)))
            await asyncio.sleep(0)  # lets the write begin

    async def end(self) -> None:
        """Return when all is written."""
        while self._under_way:
            await self._under_way.popleft()


def _calls(wire: Wire, commands: Sequence[Command]) -> list[Call]:
    """Return calls of commands whose key is their second word: one for each node that is to get any."""
    if wire.is_cluster:
        return [Call(_key(command), (command,)) for command in commands]
    return [Call(_key(commands[0]), tuple(commands))]


def _key(command: Command) -> bytes:
    key = command[1]
    assert isinstance(key, bytes)
    return key


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
        await wire.run(_calls(wire, [("UNLINK", key) for key in found]))


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


def _entries(
    keys: Keys, history: pl.DataFrame, columns: Columns, first_ms: int, end_ms: int
) -> Iterator[tuple[list[tuple[bytes, bytes]], float]]:
    """Yield index entries of the transactions in [first_ms, end_ms), in blocks, with the share that is done."""
    times = columns.batch.time_ms
    first, end = np.searchsorted(times, [first_ms, end_ms]).tolist()
    labels = _known_labels(history, first, end, end_ms)
    encoded = [[*map(encode_id, entities.ids), NO_ID] for entities in columns.entities]
    source = (at.HISTORY_SOURCE << at.OFFSET_BITS) + 1
    for a in range(first, end, _ROWS_PER_BLOCK):
        b = min(a + _ROWS_PER_BLOCK, end)
        heads = fixed_parts(np.arange(source + a, source + b), times[a:b].tolist(), times[a:b])
        # code -1, none, is the last of the encoded ids
        ids = [[each[c] for c in entities.code[a:b].tolist()] for each, entities in zip(encoded, columns.entities, strict=True)]
        names = map(keys.index, history["transaction_id"][a:b].to_list())
        pairs = [
            (name, b"".join((*parts, labels.get(row, b""))))
            for row, name, parts in zip(range(a, b), names, zip(heads, *ids, strict=True), strict=True)
        ]
        yield pairs, (b - first) / (end - first)


def _known_labels(history: pl.DataFrame, first: int, end: int, end_ms: int) -> dict[int, bytes]:
    """Return row -> encoded label of the frauds known before `end_ms`."""
    source = (at.HISTORY_SOURCE << at.OFFSET_BITS) + 1
    part = history[first:end].select("is_fraud", "label_time_ms").with_row_index("row", offset=first)
    known = part.filter(pl.col("is_fraud") & (pl.col("label_time_ms") < end_ms))
    return {
        row: encode_label(source + row, label_ms, is_fraud=True, change=1) for row, _, label_ms in known.iter_rows()
    }  # fmt: skip
