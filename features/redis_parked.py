"""Parked labels in Redis, by Functions of their own; see `features.parked.Parked` for what they promise."""

from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Final

from domain.errors import MalformedRecord
from features.keys import Keys, bucket
from features.parked import Numbered, ParkedLabel, decode_parked, encode_parked
from features.redis_wire import Call, Command, Wire

_DAY_S: Final = 86_400
#: Longest time for which the fate of a label that waits is remembered: far longer than a worker leaves a record uncommitted.
WAITING_TTL_S: Final = 30 * _DAY_S
#: The same once it is dealt with.
SETTLED_TTL_S: Final = 7 * _DAY_S
#: Labels per call: two keys each, and a longer call blocks Redis for milliseconds.
_PER_CALL: Final = 32


def library() -> Command:
    """Return the command that loads the Functions."""
    code = files("features").joinpath("lua", "weir_parked.lua").read_text("utf-8")
    return ("FUNCTION", "LOAD", "REPLACE", code)


class RedisParked:
    """Parked labels of one feature spec; one Redis or a cluster."""

    def __init__(self, wire: Wire, keys: Keys) -> None:
        """Prepare; the Functions must be loaded (see `library`) on every node."""
        self._wire = wire
        self._keys = keys

    async def divert(self, transaction_ids: Sequence[str], sources: Sequence[int]) -> list[int]:
        """See `features.parked.Parked`."""
        return await self._decide("weir_divert_v1", transaction_ids, sources, WAITING_TTL_S, ())

    async def put(self, labels: Sequence[ParkedLabel]) -> None:
        """See `features.parked.Parked`."""
        calls = []
        for partition in sorted({label.partition for label in labels}):
            records, waiting, _, _ = self._queue(partition)
            mine = [label for label in labels if label.partition == partition]
            for a in range(0, len(mine), _PER_CALL):
                arguments = [x for label in mine[a : a + _PER_CALL] for x in (label.source, label.timestamp, encode_parked(label))]
                calls.append(Call(records, (("FCALL", "weir_park_v1", 2, records, waiting, *arguments),)))
        await self._answers(calls)

    async def count(self, partition: int) -> int:
        """See `features.parked.Parked`."""
        records = self._queue(partition)[0]
        return int((await self._answers([Call(records, (("HLEN", records),))]))[0])

    async def waiting(self, partition: int, *, before_ms: int | None, start: int, most: int) -> list[ParkedLabel]:
        """See `features.parked.Parked`. Labels that a newer weir parked are left to it."""
        records, waiting, _, _ = self._queue(partition)
        before = "+inf" if before_ms is None else before_ms
        command: Command = ("FCALL_RO", "weir_waiting_v1", 2, records, waiting, before, start, most)
        contents = (await self._answers([Call(records, (command,))]))[0]
        return [label for content in contents if (label := _decoded(content)) is not None]

    async def known(self, labels: Sequence[ParkedLabel]) -> list[bool]:
        """See `features.parked.Parked`."""
        keys = [self._keys.index(label.transaction_id) for label in labels]
        return [found not in {b"", b"\0"} for found in await self._answers([Call(key, (("GETRANGE", key, 28, 28),)) for key in keys])]

    async def number(self, partition: int, labels: Sequence[ParkedLabel], *, most: int) -> list[Numbered]:
        """See `features.parked.Parked`. Ends before a label that a newer weir numbered."""
        keys = self._queue(partition)
        sources = [label.source for label in labels]
        calls = [
            Call(keys[0], (("FCALL", "weir_number_v1", len(keys), *keys, most, *sources[a : a + _PER_CALL]),))
            for a in range(0, max(len(sources), 1), _PER_CALL)
        ]
        found = (await self._answers(calls))[-1]
        numbered: list[Numbered] = []
        for number, content in zip(found[::2], found[1::2], strict=True):
            label = _decoded(content)
            if label is None:
                break
            numbered.append(Numbered(int(number), label))
        return numbered

    async def carry(self, numbered: Sequence[Numbered]) -> list[int]:
        """See `features.parked.Parked`."""
        ids, sources = [n.label.transaction_id for n in numbered], [n.label.source for n in numbered]
        return await self._decide("weir_carry_v1", ids, sources, SETTLED_TTL_S, [n.number for n in numbered])

    async def give_up(self, labels: Sequence[ParkedLabel]) -> list[bool]:
        """See `features.parked.Parked`."""
        ids, sources = [label.transaction_id for label in labels], [label.source for label in labels]
        return [bool(found) for found in await self._decide("weir_give_up_v1", ids, sources, SETTLED_TTL_S, ())]

    async def remove(self, partition: int, labels: Sequence[ParkedLabel]) -> None:
        """See `features.parked.Parked`."""
        keys = self._queue(partition)[:3]
        sources = [label.source for label in labels]
        await self._answers([
            Call(keys[0], (("FCALL", "weir_unpark_v1", len(keys), *keys, *sources[a : a + _PER_CALL]),))
            for a in range(0, len(sources), _PER_CALL)
        ])  # fmt: skip

    async def _decide(
        self, function: str, transaction_ids: Sequence[str], sources: Sequence[int], ttl_s: int, numbers: Sequence[int]
    ) -> list[int]:
        """Call a Function on the index entry and the fate of each label, bucket by bucket."""
        buckets: dict[int, list[int]] = {}
        for i, transaction_id in enumerate(transaction_ids):
            buckets.setdefault(bucket(transaction_id), []).append(i)
        parts = [rows[a : a + _PER_CALL] for rows in buckets.values() for a in range(0, len(rows), _PER_CALL)]
        calls = []
        for rows in parts:
            keys = [key for i in rows for key in (self._keys.index(transaction_ids[i]), self._fate(transaction_ids[i], sources[i]))]
            arguments = [numbers[i] for i in rows] if numbers else []
            calls.append(Call(keys[0], (("FCALL", function, len(keys), *keys, ttl_s, *arguments),)))
        found = [0] * len(transaction_ids)
        for rows, answers in zip(parts, await self._answers(calls), strict=True):
            for i, answer in zip(rows, answers, strict=True):
                found[i] = answer
        return found

    async def _answers(self, calls: Sequence[Call]) -> list[Any]:
        """Return the answer of each call's only command."""
        return [answers[0] for answers in await self._wire.run(calls)] if calls else []

    def _fate(self, transaction_id: str, source: int) -> bytes:
        return b"%b:{%d}:%d" % (self._keys.parked, bucket(transaction_id), source)

    def _queue(self, partition: int) -> tuple[bytes, bytes, bytes, bytes]:
        """Return the keys of a partition's records, of their order of waiting, of their numbers, and of the last number."""
        names = (b"records", b"waiting", b"numbered", b"number")
        found = tuple(b"%b:{%d}:%b" % (self._keys.parked, partition, name) for name in names)
        return found[0], found[1], found[2], found[3]


def _decoded(content: bytes | None) -> ParkedLabel | None:
    try:
        return None if content is None else decode_parked(content)
    except MalformedRecord:
        return None
