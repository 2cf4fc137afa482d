"""The log in Redis: entity states, decision index and sources, by Redis Functions."""

import struct
from collections.abc import Callable, Sequence
from importlib.resources import files
from time import perf_counter
from typing import Any, Final

from hiredis import pack_command
from redis import exceptions as redis_errors
from redis.asyncio import Redis

from domain.errors import Unavailable
from features import layout as at
from features.keys import STATE_TTL_S, Keys
from features.store import Checkpoint

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

Command = tuple[str | bytes | int, ...]
OnCall = Callable[[float | None], None]


class RedisLog:
    """States and index entries in one Redis; see `features.store.Log`."""

    def __init__(self, client: Redis, keys: Keys, *, index_ttl_s: int, on_call: OnCall = lambda _: None) -> None:
        """Prepare.

        Args:
            client: Does not retry by itself.
            keys: Names of states and sources.
            index_ttl_s: Time that an index entry is kept.
            on_call: Told the seconds of each round trip, None for one that was not answered.
        """
        self._client = client
        self._keys = keys
        self._index_ttl_s = index_ttl_s
        self._on_call = on_call

    async def load(self) -> None:
        """Load the Functions, once per Redis.

        Raises:
            Unavailable: Redis does not answer.
        """
        code = files("features").joinpath("lua", "weir_features.lua").read_text("utf-8")
        await self._run([("FUNCTION", "LOAD", "REPLACE", code)])

    async def append(
        self, states: Sequence[bytes], records: Sequence[bytes], index: Sequence[bytes], entries: Sequence[bytes]
    ) -> list[bytes]:
        """See `features.store.Log`; one round trip."""
        if not states:
            return []
        day = _SOURCE.unpack_from(records[0], 8)[0] // _DAY_MS * _DAY_MS
        commands: list[Command] = []
        for a in range(0, len(states), KEYS_PER_CALL):
            part = states[a : a + KEYS_PER_CALL]
            fixed = (STATE_TTL_S, day, self._keys.states, self._keys.bad)
            commands.append(("FCALL", "weir_append_v1", len(part), *part, *fixed, *records[a : a + KEYS_PER_CALL]))
        n_calls = len(commands)
        for a in range(0, len(index), KEYS_PER_CALL):
            part = index[a : a + KEYS_PER_CALL]
            commands.append(("FCALL", "weir_remember_v1", len(part), *part, self._index_ttl_s, *entries[a : a + KEYS_PER_CALL]))
        found = await self._run(commands)
        return [state if isinstance(state, bytes) else b"" for part in found[:n_calls] for state in part]

    async def checkpoint(self, checkpoints: Sequence[Checkpoint]) -> int:
        """See `features.store.Log`."""
        commands: list[Command] = []
        for a in range(0, len(checkpoints), KEYS_PER_CALL):
            part = checkpoints[a : a + KEYS_PER_CALL]
            arguments = [x for c in part for x in (c.first, c.last, c.used_bytes, c.content)]
            commands.append(("FCALL", "weir_checkpoint_v1", len(part), *(c.key for c in part), *arguments))
        return sum(len(won) for won in await self._run(commands))

    async def set_aside(self, states: Sequence[bytes], contents: Sequence[bytes]) -> None:
        """See `features.store.Log`."""
        await self._run([("FCALL", "weir_set_aside_v1", len(states), *states, STATE_TTL_S, self._keys.states, self._keys.bad, *contents)])

    async def label(
        self, keys: Sequence[bytes], sources: Sequence[int], label_ms: Sequence[int], is_fraud: Sequence[bool]
    ) -> list[tuple[bytes, int] | None]:
        """See `features.store.Log`."""
        commands: list[Command] = []
        for a in range(0, len(keys), KEYS_PER_CALL):
            b = a + KEYS_PER_CALL
            arguments: list[bytes | int] = []
            for source, when, value in zip(sources[a:b], label_ms[a:b], is_fraud[a:b], strict=True):
                arguments += (_SOURCE.pack(source), _SOURCE.pack(when), int(value))
            commands.append(("FCALL", "weir_label_v1", len(keys[a:b]), *keys[a:b], *arguments))
        found = [each for part in await self._run(commands) for each in part]
        return [None if each is None else (each[0], each[1]) for each in found]

    async def source_ids(self, fields: Sequence[str]) -> list[int]:
        """See `features.store.Log`."""
        found: list[list[int]] = await self._run([("FCALL", "weir_source_v1", 1, self._keys.sources, at.HISTORY_SOURCE + 1, *fields)])
        return found[0]

    async def _run(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands in one write and return their answers.

        Packed by hiredis: the client's own pipeline packs a chunk's 2,000 arguments in Python, a quarter of a transaction's time.
        """
        began = perf_counter()
        try:
            packed = b"".join([pack_command(command) for command in commands])  # type: ignore[arg-type]  # its stub says one argument
            found = await self._exchange(packed, len(commands))
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

    async def _exchange(self, packed: bytes, n_answers: int) -> list[Any]:
        pool = self._client.connection_pool
        connection = await pool.get_connection()  # type: ignore[no-untyped-call]  # redis-py has no types here
        try:
            await connection.send_packed_command(packed)
            return [await connection.read_response() for _ in range(n_answers)]
        except BaseException:  # answers may still be on their way: this connection is of no use any more
            await connection.disconnect(nowait=True)
            raise
        finally:
            await pool.release(connection)


def _unavailable(error: Exception) -> Unavailable:
    return Unavailable(f"Redis does not answer (redis.url): {error}")
