"""The log in Redis: entity states, decision index and sources, by Redis Functions."""

import struct
import time
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Final

from features import layout as at
from features.index_budget import IndexBudget
from features.keys import STATE_TTL_S, Keys
from features.log import Checkpoint
from features.redis_node import pack_append, pack_expire
from features.redis_wire import Call, Command, Wire

#: Keys per call: a longer call blocks Redis for milliseconds.
KEYS_PER_CALL: Final = 64
#: A state's time to live is set once in each week of event time: the 20 days that it is longer than the idleness after which
#: an entity begins anew leave room for it, and most transactions need one command less.
_RENEWED_EVERY_MS: Final = 7 * 86_400_000
_WORD: Final = struct.Struct("<q")
_TIME_AT: Final = 8
"""Byte of a record at which its event time lies."""
_MULTI: Final[Command] = ("MULTI",)
_EXEC: Final[Command] = ("EXEC",)


def library() -> Command:
    """Return the command that loads the Functions."""
    code = files("features").joinpath("lua", "weir_features.lua").read_text("utf-8")
    return ("FUNCTION", "LOAD", "REPLACE", code)


class RedisLog:
    """States and index entries in Redis; see `features.log.Log`."""

    def __init__(self, wire: Wire, keys: Keys, budget: IndexBudget) -> None:
        """Prepare; the Functions must be loaded (see `library`) on every node.

        Args:
            wire: Connections.
            keys: Names of states and sources.
            budget: Says how long a new index entry is kept.
        """
        self._wire = wire
        self._keys = keys
        self._budget = budget
        self._to_renew: list[bytes] = []

    async def append(self, states: Sequence[bytes], records: Sequence[bytes]) -> list[bytes]:
        """See `features.log.Log`; one round trip.

        Plain commands: a Function would take Redis nearly twice the time. So times to live are set with the next call,
        and only a value that is no string at all needs a second round trip.
        """
        if not states:
            return []
        groups, calls = self._groups(states), []
        for group in groups:
            part = [states[i] for i in group]
            appends = [pack_append(states[i], records[i]) for i in group]
            calls.append(Call(part[0], (_MULTI, ("MGET", *part), *appends, _EXEC)))
        before, strange = [b""] * len(states), []
        for group, answers in zip(groups, await self._wire.run([*calls, *self._renewals()]), strict=False):
            values, *lengths = answers[-1]
            for i, value, length in zip(group, values, lengths, strict=True):
                if value:
                    before[i] = value
                if type(length) is not int:  # inside a transaction an error is an answer
                    strange.append(i)
        if strange:
            await self._begin_anew([states[i] for i in strange], [records[i] for i in strange])
        self._note_old(states, before, records)
        return before

    async def _begin_anew(self, states: Sequence[bytes], records: Sequence[bytes]) -> None:
        """Move values aside that are no strings, and begin new states with these records."""
        fixed = (STATE_TTL_S, self._keys.states, self._keys.bad)
        calls = []
        for group in self._groups(states):
            part = [states[i] for i in group]
            calls.append(Call(part[0], (("FCALL", "weir_begin_anew_v1", len(part), *part, *fixed, *(records[i] for i in group)),)))
        await self._wire.run(calls)

    def _renewals(self) -> list[Call]:
        """Return what gives states their time to live that are new, or were seen last in an earlier week."""
        renewed, self._to_renew = self._to_renew, []
        groups = self._groups(renewed)
        return [Call(renewed[group[0]], tuple(pack_expire(renewed[i], STATE_TTL_S) for i in group)) for group in groups]

    async def claim(
        self, keys: Sequence[bytes], entries: Sequence[bytes], window_ms: int, answers: Sequence[tuple[bytes, bytes, bytes]]
    ) -> dict[int, bytes]:
        """See `features.log.Log`; one round trip."""
        now_ms = time.time_ns() // 1_000_000
        ttl_s = self._budget.ttl_s(now_ms)
        groups, calls = self._groups(keys), []
        for group in groups:
            part = [keys[i] for i in group]
            claim: Command = ("FCALL", "weir_claim_v1", len(part), *part, ttl_s, window_ms, *(entries[i] for i in group))
            calls.append(Call(part[0], (claim,)))
        for group in self._groups([key for key, _, _ in answers]):
            noted = [answers[i] for i in group]
            arguments = [x for _, source, answer in noted for x in (source, answer)]
            calls.append(Call(noted[0][0], (("FCALL", "weir_answer_v1", len(noted), *(key for key, _, _ in noted), *arguments),)))
        found = {}
        for group, (taken,) in zip(groups, await self._wire.run(calls), strict=False):
            found.update({group[place - 1]: entry for place, entry in zip(taken[::2], taken[1::2], strict=True)})
        n_bytes = sum(map(len, keys)) + sum(map(len, entries))
        self._budget.written(now_ms, n_entries=len(keys), n_bytes=n_bytes, ttl_s=ttl_s)
        return found

    async def checkpoint(self, checkpoints: Sequence[Checkpoint]) -> int:
        """See `features.log.Log`."""
        calls = []
        for group in self._groups([c.key for c in checkpoints]):
            part = [checkpoints[i] for i in group]
            arguments = [x for c in part for x in (c.first, c.last, c.used_bytes, c.content)]
            calls.append(Call(part[0].key, (("FCALL", "weir_checkpoint_v1", len(part), *(c.key for c in part), *arguments),)))
        return sum(len(answers[0]) for answers in await self._wire.run(calls))

    async def set_aside(self, states: Sequence[bytes], contents: Sequence[bytes]) -> None:
        """See `features.log.Log`."""
        fixed = (STATE_TTL_S, self._keys.states, self._keys.bad)
        calls = []
        for group in self._groups(states):
            part = [states[i] for i in group]
            calls.append(Call(part[0], (("FCALL", "weir_set_aside_v1", len(part), *part, *fixed, *(contents[i] for i in group)),)))
        await self._wire.run(calls)

    async def label(
        self, keys: Sequence[bytes], sources: Sequence[int], label_ms: Sequence[int], is_fraud: Sequence[bool]
    ) -> list[tuple[bytes, int] | None]:
        """See `features.log.Log`."""
        groups, calls = self._groups(keys), []
        for group in groups:
            arguments: list[bytes | int] = []
            for i in group:
                arguments += (_WORD.pack(sources[i]), _WORD.pack(label_ms[i]), int(is_fraud[i]))
            calls.append(Call(keys[group[0]], (("FCALL", "weir_label_v1", len(group), *(keys[i] for i in group), *arguments),)))
        found: list[tuple[bytes, int] | None] = [None] * len(keys)
        for group, (answers,) in zip(groups, await self._wire.run(calls), strict=True):
            for i, each in zip(group, answers, strict=True):
                found[i] = None if each is None else (each[0], each[1])
        return found

    async def source_ids(self, fields: Sequence[str]) -> list[int]:
        """See `features.log.Log`."""
        command: Command = ("FCALL", "weir_source_v1", 1, self._keys.sources, at.HISTORY_SOURCE + 1, *fields)
        found: list[list[list[int]]] = await self._wire.run([Call(self._keys.sources, (command,))])
        return found[0][0]

    async def releases(self, name: str) -> tuple[int, dict[int, str]]:
        """See `features.log.Log`."""
        key = self._keys.releases
        commands: list[Command] = [("HGETALL", key)]
        if name:
            commands.insert(0, ("FCALL", "weir_source_v1", 1, key, 1, name))
        answers = (await self._wire.run([Call(key, tuple(commands))]))[0]
        fields: list[Any] = [x for pair in answers[-1].items() for x in pair] if isinstance(answers[-1], dict) else answers[-1]
        names = {int(number): each.decode() for each, number in zip(fields[::2], fields[1::2], strict=True) if each != b"registered"}
        return answers[0][0] if name else 0, names

    def _groups(self, keys: Sequence[bytes]) -> list[list[int]]:
        """Return the places of the keys that go into one call: few enough, and in a cluster of one bucket."""
        if not self._wire.is_cluster:
            return [list(range(a, min(a + KEYS_PER_CALL, len(keys)))) for a in range(0, len(keys), KEYS_PER_CALL)]
        buckets: dict[bytes, list[int]] = {}
        for i, key in enumerate(keys):
            buckets.setdefault(key[key.index(b"{") : key.index(b"}")], []).append(i)
        return [places[a : a + KEYS_PER_CALL] for places in buckets.values() for a in range(0, len(places), KEYS_PER_CALL)]

    def _note_old(self, states: Sequence[bytes], before: Sequence[bytes], records: Sequence[bytes]) -> None:
        """Let the next call set the time to live of states that are new, or whose last record is of an earlier week than these."""
        week_ms = _WORD.unpack_from(records[0], _TIME_AT)[0] // _RENEWED_EVERY_MS * _RENEWED_EVERY_MS
        from_end = at.RECORD_BYTES - _TIME_AT
        self._to_renew += [
            key
            for key, state in zip(states, before, strict=True)
            if len(state) < at.RECORD_BYTES or _WORD.unpack_from(state, len(state) - from_end)[0] < week_ms
        ]
