"""Where an answer journal is kept: rings of slots in Redis, one ring per partition, no time to live.

A slot is written only over the content its writer knows. So a process that still believes it owns a partition cannot
destroy what the partition's new owner has recorded: it is told, and reads first.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Final

from features.journal_slot import HEAD_BYTES
from features.keys import Keys
from features.redis_wire import Call, Wire

#: KEYS: slots. ARGV: length of a head. -> the first bytes of each, '' for none and for what is not a string.
_HEADS: Final = """
local heads = {}
for i = 1, #KEYS do
  local head = redis.pcall('GETRANGE', KEYS[i], 0, ARGV[1] - 1)
  heads[i] = type(head) == 'string' and head or ''
end
return heads
"""
#: KEYS: a slot. ARGV: length of a head, head that the writer knows, new content. -> 1, or 0: something else is there.
#: What is there may be the new content itself: its first writing was not answered in time.
_WRITE: Final = """
local head = redis.pcall('GETRANGE', KEYS[1], 0, ARGV[1] - 1)
if type(head) ~= 'string' then head = '' end
if head == string.sub(ARGV[3], 1, ARGV[1]) then return 1 end
if head ~= ARGV[2] then return 0 end
redis.call('SET', KEYS[1], ARGV[3])
return 1
"""

SlotWrite = tuple[int, int, bytes, bytes]
"""Partition, slot, head known to be there (b"" = none), new content."""


class RedisJournal:
    """See `stream.journal.SlotStorage`. Scripts travel with their calls: a Redis that was replaced needs nothing loaded."""

    def __init__(self, wire: Wire, keys: Keys, group: str, *, n_slots: int = 256) -> None:
        self._wire = wire
        self._keys = keys
        self._group = group
        self._names: dict[int, list[bytes]] = {}
        self.n_slots = n_slots

    async def heads(self, partitions: Sequence[int]) -> list[list[bytes]]:
        """Return the head of every slot of each partition, b"" = nothing there; one round trip.

        Raises:
            Unavailable: Redis does not answer.
        """
        names = [self._ring(partition) for partition in partitions]
        calls = [Call(ring[0], (("EVAL", _HEADS, len(ring), *ring, HEAD_BYTES),)) for ring in names]
        return [answers[0] for answers in await self._wire.run(calls)] if calls else []

    async def read(self, slots: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return the content of each (partition, slot), b"" = nothing there; one round trip. A partition's slots stand together.

        Raises:
            Unavailable: Redis does not answer.
        """
        calls = []
        for partition, group in groupby(slots, lambda each: each[0]):
            names = [self._ring(partition)[slot] for _, slot in group]
            calls.append(Call(names[0], (("MGET", *names),)))
        return [content or b"" for answers in await self._wire.run(calls) for content in answers[0]] if calls else []

    async def write(self, writes: Sequence[SlotWrite]) -> list[bool]:
        """Write each slot unless something else is there than the writer knows; tell which were written; one round trip.

        Raises:
            Unavailable: Perhaps some are written; writing the same again is safe.
        """
        calls = []
        for partition, slot, known, content in writes:
            name = self._ring(partition)[slot]
            calls.append(Call(name, (("EVAL", _WRITE, 1, name, HEAD_BYTES, known, content),)))
        return [answers[0] == 1 for answers in await self._wire.run(calls)] if calls else []

    def _ring(self, partition: int) -> list[bytes]:
        names = self._names.get(partition)
        if names is None:
            names = [self._keys.journal(self._group, partition, slot) for slot in range(self.n_slots)]
            self._names[partition] = names
        return names
