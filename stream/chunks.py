"""The records of one topic on their way: drained, delivered in chunks, acknowledged, committed. Pure bookkeeping.

Three rules, each of which was a loss once:
* a chunk may span all partitions of its topic, but order within a partition is kept;
* the offset to commit is chosen by looking at the longest acknowledged prefix, and only a commit that the broker
  accepted moves anything: a refused one is tried again;
* after a seek everything drained before it is void: an acknowledgement of a void chunk changes nothing.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from stream.records import Record, TopicPartition

#: Most chunks delivered and not acknowledged, also within one large fetch.
MAX_IN_FLIGHT: Final = 4
#: A fetch of more chunks than this is a backlog.
_BACKLOG: Final = 2 * MAX_IN_FLIGHT


class Chunk:
    """Consecutive records of one or more partitions of one topic; the unit of processing and of acknowledgement."""

    __slots__ = ("born_s", "ends", "is_acknowledged", "is_taken", "is_unapplied", "is_void", "records", "refused_s", "topic")

    def __init__(self, topic: str, records: Sequence[Record], ends: Mapping[TopicPartition, int]) -> None:
        self.topic = topic
        self.records = records
        self.ends = ends
        """Partition -> offset after its last record here."""
        self.born_s = 0.0
        """Monotonic time of the delivery."""
        self.refused_s = 0.0
        """Monotonic time of the last attempt, of it or of a chunk before it, that found the other side unavailable; 0: none."""
        self.is_taken = False
        """Its processing has begun."""
        self.is_acknowledged = False
        self.is_unapplied = False
        """Answered without being applied: neither it nor anything later of its partitions may be committed."""
        self.is_void = False
        """A seek happened since: its records come again."""


class Flow:
    """The chunks of one topic. Used by one event loop; `oldest_s` and `stuck_since_s` may be read from any thread."""

    def __init__(self, topic: str, *, chunk_size: int) -> None:
        self.topic = topic
        self._first: Chunk | None = None
        self._chunk_size = chunk_size
        self._waiting: deque[Chunk] = deque()
        self._in_flight: dict[Chunk, None] = {}
        self._uncommitted: dict[TopicPartition, deque[Chunk]] = {}
        self._next_offset: dict[TopicPartition, int] = {}
        self._has_backlog = False
        self._changed = asyncio.Event()

    @property
    def oldest_s(self) -> float | None:
        """Monotonic time at which the oldest unacknowledged chunk was delivered; None: there is none."""
        return None if (first := self._first) is None else first.born_s

    @property
    def stuck_since_s(self) -> float | None:
        """The same, but later if an attempt has failed since because the other side is away: waiting for it is not being stuck."""
        return None if (first := self._first) is None else max(first.born_s, first.refused_s)

    @property
    def wants_records(self) -> bool:
        """Whether it is time to fetch: the work is done; in a backlog already when it runs low, so that it never stops.

        Without a backlog an earlier fetch would bring a few records, which wait here, while what comes after them waits at the
        broker: a chunk would be made of what was there when the one before began, not when it ended.
        """
        return len(self._waiting) <= MAX_IN_FLIGHT if self._has_backlog else self.is_idle

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and nothing is in flight."""
        return not self._waiting and not self._in_flight

    @property
    def has_new(self) -> bool:
        """Whether a chunk waits whose processing has not begun."""
        return bool(self._waiting) or not all(chunk.is_taken for chunk in self._in_flight)

    @property
    def n_in_flight(self) -> int:
        """Chunks delivered and not acknowledged."""
        return len(self._in_flight)

    @property
    def n_uncommitted(self) -> int:
        """Chunks delivered whose offsets are not committed, acknowledged or not."""
        return len({id(chunk) for queue in self._uncommitted.values() for chunk in queue})

    @property
    def is_busy(self) -> bool:
        """Whether the processing of a chunk has begun and is not acknowledged."""
        return any(chunk.is_taken for chunk in self._in_flight)

    def goes_back(self, drained: Mapping[TopicPartition, Sequence[Record]]) -> bool:
        """Tell whether offsets went backwards without a seek: the log is not the one it was."""
        return any(records[0].offset < self._next_offset.get(tp, 0) for tp, records in drained.items())

    def put(self, drained: Mapping[TopicPartition, Sequence[Record]]) -> None:
        """Take the records of a fetch, non-empty per partition, to be delivered in chunks of at most the chunk size."""
        for tp, records in drained.items():
            self._next_offset[tp] = records[-1].offset + 1
        self._waiting.extend(_chunks(self.topic, drained, self._chunk_size))
        self._has_backlog = len(self._waiting) > _BACKLOG

    def caught_up(self) -> None:
        """Note that a fetch found nothing: there is no backlog any more."""
        self._has_backlog = False

    def next(self, now_s: float) -> Chunk | None:
        """Return the next chunk to deliver, now in flight, or None: nothing waits, or too many are in flight."""
        if not self._waiting or len(self._in_flight) >= MAX_IN_FLIGHT:
            return None
        chunk = self._waiting.popleft()
        chunk.born_s = now_s
        self._in_flight[chunk] = None
        for tp in chunk.ends:
            self._uncommitted.setdefault(tp, deque()).append(chunk)
        self._note_oldest()
        return chunk

    def acknowledge(self, chunk: Chunk) -> None:
        """Mark `chunk` as answered; its offsets may be committed once all before it are."""
        chunk.is_acknowledged = True
        if chunk.is_unapplied:
            chunk.records = ()  # an outage may be long: only its offsets are kept
        if self._in_flight.pop(chunk, self) is None:
            first = self._note_oldest()
            if first is not None:  # it could not be tried before
                first.refused_s = max(first.refused_s, chunk.refused_s)
            self._changed.set()

    def committable(self) -> dict[TopicPartition, int]:
        """Return the end of each partition's acknowledged prefix. Looks only; forgets nothing."""
        found = {}
        for tp, queue in self._uncommitted.items():
            for chunk in queue:
                if not chunk.is_acknowledged or chunk.is_unapplied:
                    break
                found[tp] = chunk.ends[tp]
        return found

    def answered(self) -> dict[TopicPartition, int]:
        """Return the end of each partition's answered prefix, where a part of it is not applied."""
        found = {}
        for tp, queue in self._uncommitted.items():
            is_applied = True
            for chunk in queue:
                if not chunk.is_acknowledged:
                    break
                is_applied &= not chunk.is_unapplied
                if not is_applied:
                    found[tp] = chunk.ends[tp]
        return found

    def committed(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Forget the chunks below `offsets`: the broker has accepted them."""
        for tp, offset in offsets.items():
            queue = self._uncommitted.get(tp)
            while queue and queue[0].ends[tp] <= offset:
                queue.popleft()

    def void(self) -> None:
        """Forget everything: positions were reset, all that was drained comes again."""
        for chunk in self._in_flight:
            chunk.is_void = True
        self._waiting.clear()
        self._in_flight.clear()
        self._uncommitted.clear()
        self._next_offset.clear()
        self._has_backlog = False
        self._note_oldest()
        self._changed.set()

    async def change(self, timeout_s: float) -> None:
        """Wait until a chunk is acknowledged or all are void, at most `timeout_s`."""
        self._changed.clear()
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._changed.wait(), timeout_s)

    def _note_oldest(self) -> Chunk | None:
        self._first = next(iter(self._in_flight), None)
        return self._first


def _chunks(topic: str, drained: Mapping[TopicPartition, Sequence[Record]], size: int) -> Iterable[Chunk]:
    records: list[Record] = []
    ends: dict[TopicPartition, int] = {}
    for tp, batch in drained.items():
        for start in range(0, len(batch), size):
            part = batch[start : start + size]
            if records and len(records) + len(part) > size:
                yield Chunk(topic, records, ends)
                records, ends = [], {}
            records.extend(part)
            ends[tp] = part[-1].offset + 1
    if records:
        yield Chunk(topic, records, ends)
