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
_TIME: Final = struct.Struct("<q")
_TIME_AT: Final = 8
"""Byte of a record at which its event time lies."""
_TRANSIENT = (
    redis_errors.ConnectionError,
    redis_errors.TimeoutError,
    redis_errors.BusyLoadingError,
    redis_errors.OutOfMemoryError,
    redis_errors.ReadOnlyError,
    OSError,
)

Command = tuple[str | bytes | int, ...]
_MULTI: Final[Command] = ("MULTI",)
_EXEC: Final[Command] = ("EXEC",)
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
        self._to_renew: list[bytes] = []

    async def load(self) -> None:
        """Load the Functions, once per Redis.

        Raises:
            Unavailable: Redis does not answer.
        """
        code = files("features").joinpath("lua", "weir_features.lua").read_text("utf-8")
        await self._run([("FUNCTION", "LOAD", "REPLACE", code)])

    async def append(self, states: Sequence[bytes], records: Sequence[bytes]) -> list[bytes]:
        """See `features.store.Log`; one round trip."""
        if not states:
            return []
        commands: list[Command] = []
        for a in range(0, len(states), KEYS_PER_CALL):
            part = states[a : a + KEYS_PER_CALL]
            fixed = (STATE_TTL_S, self._keys.states, self._keys.bad)
            append: Command = ("FCALL", "weir_append_v1", len(part), *part, *fixed, *records[a : a + KEYS_PER_CALL])
            commands += (_MULTI, ("MGET", *part), append, _EXEC)
        n_answers = len(commands)
        for a in range(0, len(self._to_renew), KEYS_PER_CALL):
            part = self._to_renew[a : a + KEYS_PER_CALL]
            commands.append(("FCALL", "weir_renew_v1", len(part), *part, STATE_TTL_S))
        self._to_renew = []
        before: list[bytes] = []
        for values, moved in (await self._run(commands))[3:n_answers:4]:
            if isinstance(moved, Exception):  # inside a transaction an error is an answer
                raise moved
            for i in moved:
                values[i - 1] = None
            before += [value or b"" for value in values]
        self._note_old(states, before, records)
        return before

    async def claim(
        self, keys: Sequence[bytes], entries: Sequence[bytes], window_ms: int, answers: Sequence[tuple[bytes, bytes, bytes]]
    ) -> dict[int, bytes]:
        """See `features.store.Log`; one round trip."""
        commands: list[Command] = []
        for a in range(0, len(keys), KEYS_PER_CALL):
            part = keys[a : a + KEYS_PER_CALL]
            commands.append(("FCALL", "weir_claim_v1", len(part), *part, self._index_ttl_s, window_ms, *entries[a : a + KEYS_PER_CALL]))
        n_claims = len(commands)
        for a in range(0, len(answers), KEYS_PER_CALL):
            noted = answers[a : a + KEYS_PER_CALL]
            arguments = [x for _, source, answer in noted for x in (source, answer)]
            commands.append(("FCALL", "weir_answer_v1", len(noted), *(key for key, _, _ in noted), *arguments))
        found = (await self._run(commands))[:n_claims]
        return {
            KEYS_PER_CALL * call + place - 1: entry
            for call, taken in enumerate(found)
            for place, entry in zip(taken[::2], taken[1::2], strict=True)
        }

    async def releases(self, name: str) -> tuple[int, dict[int, str]]:
        """See `features.store.Log`."""
        commands: list[Command] = [("HGETALL", self._keys.releases)]
        if name:
            commands.insert(0, ("FCALL", "weir_source_v1", 1, self._keys.releases, 1, name))
        found = await self._run(commands)
        pairs = found[-1].items() if isinstance(found[-1], dict) else zip(found[-1][::2], found[-1][1::2], strict=True)
        return found[0][0] if name else 0, {int(number): each.decode() for each, number in pairs if each != b"registered"}

    def _note_old(self, states: Sequence[bytes], before: Sequence[bytes], records: Sequence[bytes]) -> None:
        """Let the next call renew the time to live of states whose last record is of an earlier day than this chunk's first."""
        day_ms = _TIME.unpack_from(records[0], _TIME_AT)[0] // _DAY_MS * _DAY_MS
        from_end = at.RECORD_BYTES - _TIME_AT
        self._to_renew += [
            key for key, state in zip(states, before, strict=True) if state and _TIME.unpack_from(state, len(state) - from_end)[0] < day_ms
        ]

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
