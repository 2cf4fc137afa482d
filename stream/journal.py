"""The answer journal: what was answered is answered with the same bytes when it is asked again.

A chunk's answers are recorded before they are published, one slot per partition, in a ring of slots. A slot is used again
only when the offsets of all its answers are committed, so every answer that Kafka may ask for again is there. What this
process recorded stays in its memory too until it is committed: a Redis that lost its newest writes takes nothing away.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from typing import Final, NamedTuple, Protocol

from domain.errors import Unavailable
from features.journal_slot import Slot, decode_slot, encode_slot
from stream.journal_ring import Answer, Ring, Share, Start, read_groups

#: Times that a write gives way to another owner of the partition.
_MOST_CONFLICTS: Final = 16
_ASK_AGAIN_S: Final = 0.1


class SlotStorage(Protocol):
    """Where slots are kept; see `features.redis_journal.RedisJournal`. All methods raise Unavailable; repeating is safe."""

    async def heads(self, partitions: Sequence[int]) -> list[list[bytes]]:
        """Return the head of every slot of each partition, b"" = nothing there."""
        ...

    async def read(self, slots: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return the content of each (partition, slot), b"" = nothing there; a partition's slots stand together."""
        ...

    async def write(self, writes: Sequence[tuple[int, int, bytes, bytes]]) -> list[bool]:
        """Write (partition, slot, head known to be there, content) each; False: something else is there, nothing was changed."""
        ...


class Answered(NamedTuple):
    """The answers of a chunk, as columns of one length; each partition's offsets increase."""

    partitions: Sequence[int]
    offsets: Sequence[int]
    scores: Sequence[bytes]
    alerts: Sequence[bytes]
    """b"" = no alert."""


class Journal:
    """Records the answers of the partitions this process consumes, and finds them again. Used by one event loop.

    Guarantee: of an offset answered twice, the answer recorded first (lowest slot sequence) is the one that is found. It
    is the right one, since answers are recorded before they are published: the first may have been read by somebody, and a
    later one is an answer that was computed without knowing of it. Slots of one partition are written one after the other,
    whoever writes them, because a writer that does not know the newest slot is refused and reads first. So two owners at
    once (one does not know yet that it lost the partition) take nothing from each other.
    """

    def __init__(self, storage: SlotStorage, force_commit: Callable[[], Awaitable[None]]) -> None:
        """Prepare; `load` comes before anything else.

        Args:
            storage: Where slots are kept.
            force_commit: Commits the acknowledged offsets now, as far as possible; called when a ring is full, again and
                again until `committed` is told of enough.
        """
        self._storage = storage
        self._force_commit = force_commit
        self._rings: dict[int, Ring] = {}
        self._generation = 0
        self._lock = asyncio.Lock()
        self._changed = asyncio.Event()
        self.n_written = 0
        """Slots written."""
        self.n_broken = 0
        """Slots found that could not be read; they were passed over."""
        self.n_conflicts = 0
        """Writes that met another owner's."""
        self.n_forced = 0
        """Commits asked for because a ring was full."""

    @property
    def fullness(self) -> float:
        """Share of the fullest ring that holds answers not committed, in [0, 1]: at 1 writing waits for a commit."""
        return max((sum(map(ring.holds, ring.slots)) / len(ring.slots) for ring in self._rings.values()), default=0.0)

    async def load(self, starts: Mapping[int, Start]) -> None:
        """Read the journals of the partitions assigned now; call it at each assignment and seek, before the first record.

        Partitions that are not in `starts` are given up. A write that waits meanwhile ends without having written.

        Raises:
            Unavailable: Nothing has changed; load again.
        """
        async with self._lock:
            self._rings = await self._read(starts)
            self._generation += 1
            self._changed.set()

    def find(self, partition: int, offset: int) -> Answer | None:
        """Return the recorded answer of a transaction, or None: it was never published, or was committed long ago."""
        ring = self._rings.get(partition)
        found = ring.answers.get(offset) if ring is not None else None
        return None if found is None else Answer._make(found)

    async def write(self, answered: Answered) -> bool:
        """Record the answers of a chunk, all partitions in one round trip; those recorded before are not recorded again.

        Returns:
            True: recorded, they may be published. False: `load` was called meanwhile, or a partition is not ours any more:
            do not publish, the records come again, here or elsewhere.

        Raises:
            Unavailable: Perhaps some are recorded. Write the same answers again before anything later; or publish them without: this
                process finds them (`find`), so the records get the same answers when they come again here.
        """
        shares = _shares(answered)
        generation = self._generation
        if not shares.keys() <= self._rings.keys():
            return False
        for _ in range(_MOST_CONFLICTS):
            await self._wait_for_room(shares, generation)
            async with self._lock:
                if generation != self._generation:
                    return False
                try:
                    refused = await self._write(shares)
                except Unavailable:
                    for partition, share in shares.items():
                        self._rings[partition].keep(share)
                    raise
                if not refused:
                    return True
                self.n_conflicts += 1
                await self._read_again(refused)
        raise Unavailable(
            f"another process keeps writing the answer journal of partitions {sorted(shares)}: it may not have noticed that it lost them"
        )

    def committed(self, offsets: Mapping[int, int]) -> None:
        """Tell that the broker has accepted these offsets (partition -> next offset): their slots may be used again."""
        for partition, offset in offsets.items():
            ring = self._rings.get(partition)
            if ring is not None:
                ring.commit(offset)
        self._changed.set()

    async def _wait_for_room(self, shares: Mapping[int, Share], generation: int) -> None:
        """Return when the next slots are free, or `load` was called."""
        while generation == self._generation and any(self._rings[p].must_wait(share.offsets[0]) for p, share in shares.items()):
            self._changed.clear()
            self.n_forced += 1
            await self._force_commit()
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._changed.wait(), _ASK_AGAIN_S)

    async def _write(self, shares: Mapping[int, Share]) -> list[int]:
        """Write what is not recorded yet; return the partitions whose next slot is not as it was last seen."""
        todo = [(p, part) for p, share in shares.items() if (part := self._rings[p].unrecorded(share)).offsets]
        writes = []
        for partition, part in todo:
            ring = self._rings[partition]
            slot = ring.next_sequence % len(ring.slots)
            writes.append((partition, slot, ring.heads[slot], encode_slot(ring.next_sequence, ring.source, *part)))
        refused = []
        for (partition, part), write, is_written in zip(todo, writes, await self._storage.write(writes), strict=True):
            if is_written:
                self.n_written += 1
                self._rings[partition].put(write[3])
                self._rings[partition].remember(part)
            else:
                refused.append(partition)
        return refused

    async def _read_again(self, partitions: Sequence[int]) -> None:
        """Learn what another owner has written."""
        known = {p: self._rings[p] for p in partitions}
        rings = await self._read({p: Start(ring.source, ring.committed) for p, ring in known.items()})
        for partition, ring in rings.items():
            ring.commit(known[partition].committed)  # it may have moved meanwhile
        self._rings.update(rings)

    async def _read(self, starts: Mapping[int, Start]) -> dict[int, Ring]:
        """Return the rings as the storage has them now, with what this process knows besides."""
        heads = await self._storage.heads(list(starts))
        rings = {p: Ring(start, found) for (p, start), found in zip(starts.items(), heads, strict=True)}
        self.n_broken += sum(
            head != b"" and slot is None for ring in rings.values() for head, slot in zip(ring.heads, ring.slots, strict=True)
        )
        found: dict[int, list[Slot]] = {partition: [] for partition in rings}
        for group in read_groups(rings):
            for (partition, _), content in zip(group, await self._storage.read(group), strict=True):
                decoded = decode_slot(content)
                if decoded is None:
                    self.n_broken += 1
                elif decoded.head.source == rings[partition].source:
                    found[partition].append(decoded)
        for partition, ring in rings.items():
            ring.fill(found[partition], self._rings.get(partition))
        return rings


def _shares(answered: Answered) -> dict[int, Share]:
    """Return each partition's part of a chunk."""
    shares: dict[int, Share] = {}
    a = 0
    for partition, run in groupby(answered.partitions):
        b = a + len(list(run))
        share = Share(list(answered.offsets[a:b]), list(answered.scores[a:b]), list(answered.alerts[a:b]))
        if partition in shares:
            before = shares[partition]
            before.offsets.extend(share.offsets)
            before.scores.extend(share.scores)
            before.alerts.extend(share.alerts)
        else:
            shares[partition] = share
        a = b
    return shares
