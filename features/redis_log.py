"""The log in Redis: entity states, decision index and sources, by Redis Functions."""

import struct
from collections.abc import Callable, Sequence
from importlib.resources import files
from time import perf_counter
from typing import Any, Final

from redis import exceptions as redis_errors
from redis.asyncio import Redis

from domain.errors import Unavailable
from features import layout as at
from features.keys import STATE_TTL_S
from features.store import Checkpoint

LIBRARY: Final = "weir_features_v1"
#: Keys per call: a longer call blocks Redis for milliseconds.
KEYS_PER_CALL: Final = 64
_DAY_MS: Final = 86_400_000
_SOURCE: Final = struct.Struct("<q")
_TRANSIENT = (
    redis_errors.ConnectionError,
    redis_errors.TimeoutError,
    redis_errors.BusyLoadingError,
    redis_errors.OutOfMemoryError,
    redis_errors.ReadOnlyError,
    OSError,
)


class RedisLog:
    """States and index entries in one Redis; see `features.store.Log`."""

    def __init__(
        self, client: Redis, *, sources_key: bytes, index_ttl_s: int, on_call: Callable[[float | None], None] = lambda _: None
    ) -> None:
        """Prepare.

        Args:
            client: Does not retry by itself.
            sources_key: Key of the sources.
            index_ttl_s: Time that an index entry is kept.
            on_call: Told the seconds of each round trip, None for one that was not answered.
        """
        self._client = client
        self._on_call = on_call
        self._sources_key = sources_key
        self._index_ttl_s = index_ttl_s

    async def load(self) -> None:
        """Load the Functions, once per Redis.

        Raises:
            Unavailable: Redis does not answer.
        """
        code = files("features").joinpath("lua", "weir_features.lua").read_text("utf-8")
        try:
            await self._client.function_load(code, replace=True)
        except _TRANSIENT as error:
            raise _unavailable(error) from error

    async def append(
        self, states: Sequence[bytes], bad: Sequence[bytes], records: Sequence[bytes], index: Sequence[bytes], entries: Sequence[bytes]
    ) -> list[bytes]:
        """See `features.store.Log`; one round trip."""
        if not states:
            return []
        day = _SOURCE.unpack_from(records[0], 8)[0] // _DAY_MS * _DAY_MS
        pipe = self._client.pipeline(transaction=False)
        for a in range(0, len(states), KEYS_PER_CALL):
            b = a + KEYS_PER_CALL
            part = states[a:b]
            pipe.fcall("weir_append_v1", 2 * len(part), *part, *bad[a:b], STATE_TTL_S, day, *records[a:b])
        n_calls = len(pipe)
        for a in range(0, len(index), KEYS_PER_CALL):
            b = a + KEYS_PER_CALL
            pipe.fcall("weir_remember_v1", len(index[a:b]), *index[a:b], self._index_ttl_s, *entries[a:b])
        found = await self._run(pipe)
        return [state if isinstance(state, bytes) else b"" for part in found[:n_calls] for state in part]

    async def checkpoint(self, checkpoints: Sequence[Checkpoint]) -> int:
        """See `features.store.Log`."""
        pipe = self._client.pipeline(transaction=False)
        for a in range(0, len(checkpoints), KEYS_PER_CALL):
            part = checkpoints[a : a + KEYS_PER_CALL]
            arguments = [x for c in part for x in (c.first, c.last, c.used_bytes, c.content)]
            pipe.fcall("weir_checkpoint_v1", len(part), *(c.key for c in part), *arguments)
        return sum(len(won) for won in await self._run(pipe))

    async def set_aside(self, states: Sequence[bytes], bad: Sequence[bytes], contents: Sequence[bytes]) -> None:
        """See `features.store.Log`."""
        pipe = self._client.pipeline(transaction=False)
        pipe.fcall("weir_set_aside_v1", 2 * len(states), *states, *bad, STATE_TTL_S, *contents)
        await self._run(pipe)

    async def label(
        self, keys: Sequence[bytes], sources: Sequence[int], label_ms: Sequence[int], is_fraud: Sequence[bool]
    ) -> list[tuple[bytes, int] | None]:
        """See `features.store.Log`."""
        pipe = self._client.pipeline(transaction=False)
        for a in range(0, len(keys), KEYS_PER_CALL):
            b = a + KEYS_PER_CALL
            arguments: list[bytes | int] = []
            for source, when, value in zip(sources[a:b], label_ms[a:b], is_fraud[a:b], strict=True):
                arguments += (_SOURCE.pack(source), _SOURCE.pack(when), int(value))
            pipe.fcall("weir_label_v1", len(keys[a:b]), *keys[a:b], *arguments)
        found = [each for part in await self._run(pipe) for each in part]
        return [None if each is None else (each[0], each[1]) for each in found]

    async def source_ids(self, fields: Sequence[str]) -> list[int]:
        """See `features.store.Log`."""
        pipe = self._client.pipeline(transaction=False)
        pipe.fcall("weir_source_v1", 1, self._sources_key, at.HISTORY_SOURCE + 1, *fields)
        ids: list[int] = (await self._run(pipe))[0]
        return ids

    async def _run(self, pipe: Any) -> list[Any]:
        began = perf_counter()
        try:
            found: list[Any] = await pipe.execute()
        except _TRANSIENT as error:
            self._on_call(None)
            raise _unavailable(error) from error
        except redis_errors.ResponseError as error:
            if "OOM" in str(error) or "LOADING" in str(error):
                self._on_call(None)
                raise _unavailable(error) from error
            raise
        self._on_call(perf_counter() - began)
        return found


def _unavailable(error: Exception) -> Unavailable:
    return Unavailable(f"Redis does not answer (redis.url): {error}")
