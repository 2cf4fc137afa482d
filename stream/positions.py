"""Where each partition is applied up to, in Kafka's eyes and in the states' own: what makes a restart and a failover exact."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

import structlog

from domain.errors import Unavailable
from stream.gate import Gate
from stream.journal import Answered, Journal
from stream.journal_ring import Answer, Start
from stream.outage import Outage
from stream.records import Committed, Message, Record, TopicPartition
from stream.sources import Sources

#: What the last fetch has not seen yet may be this old, and brokers' clocks may differ by it.
_IDLE_MARGIN_MS: Final = 5_000

log = structlog.get_logger("weir.positions")


class Position(Protocol):
    """How far a partition is applied."""

    @property
    def next_offset(self) -> int:
        """Everything below is in the states."""
        ...

    @property
    def append_ms(self) -> int:
        """Append time of the last applied record."""
        ...


class Markers(Protocol):
    """Position markers beside the states; see `features.redis_markers.RedisMarkers`."""

    async def write(self, positions: Mapping[int, tuple[int, int]]) -> None:
        """Write source -> (next offset, append time of the last applied record, ms)."""
        ...

    async def read(self, sources: Sequence[int]) -> Mapping[int, Position | None]:
        """Return how far each source is applied on all nodes; None where that is not known."""
        ...

    async def is_emptied(self) -> bool:
        """Tell whether the sentinel is absent."""
        ...

    async def set_alive(self) -> None:
        """Leave the sentinel."""
        ...


class Store(Protocol):
    """The store's side of an assignment; see `service.wiring`."""

    async def begin(self) -> int:
        """Make the store ready (Functions, connections) and return the generation of its connections."""
        ...

    def open_for(self, generation: int) -> None:
        """Let appends through as long as connections are of this generation."""
        ...


class Notes(Protocol):
    """What the store is told about answers and positions; see `features.store.FeatureStore`."""

    async def note_answers(self) -> None:
        """Note the answers so far in the decision index."""
        ...

    def hold(self, positions: Mapping[int, int]) -> None:
        """Keep records raw from these offsets on."""
        ...


class Positions:
    """Reads positions at every assignment and seek, and writes them before every commit.

    Guarantee: a record is committed only when every node that holds states of it has its position, and consumption starts
    no later than the least position of any node. So a node that lost its newest writes gets them again.
    """

    def __init__(
        self,
        sources: Sources,
        store: Store,
        read: Markers,
        write: Markers,
        journal: Journal,
        *,
        topics: tuple[str, str],
        gate: Gate,
        notes: Notes,
        outage: Outage,
    ) -> None:
        """Prepare.

        Args:
            sources: Ids of the partitions.
            store: What appends.
            read: Markers on connections that were not looked through yet.
            write: Markers on the connections that append.
            journal: Of the answers to transactions.
            topics: Full names of the topics of transactions and of labels.
            gate: What pipelines pass while they apply.
            notes: Told before commits, and of all workers' positions.
            outage: Ended by an assignment that could read positions.
        """
        self._sources = sources
        self._store = store
        self._read = read
        self._write = write
        self._journal = journal
        self._topics = topics
        self._gate = gate
        self._outage = outage
        self._notes = notes
        self._answered: dict[TopicPartition, int] = {}
        """Committed offset of the partitions that begin before it."""
        self._applied_ms: dict[TopicPartition, int] = {}
        self._next: dict[TopicPartition, int] = {}
        self._uuid: str | None = None
        self.n_partitions = 0
        """Of the topic of transactions; 0 = not known yet."""
        self.n_lost = 0
        """Committed records that states had lost: applied again."""
        self.n_unmarked = 0
        """Partitions of this assignment with commits that have no marker."""
        self.problem = ""
        """Why nothing is consumed, in one sentence; "" = all is well."""

    async def assign(self, uuids: Mapping[str, str], committed: Mapping[TopicPartition, Committed | None]) -> Mapping[TopicPartition, int]:
        """Return where consumption has to start earlier than committed; see `stream.records.OnAssigned`.

        Raises:
            Unavailable: Redis does not answer, or was emptied: nothing may be applied; ask again.
        """
        try:
            return await self._look(uuids, committed)
        except Unavailable:
            self._outage.failed()
            if not self._outage.is_on or self.problem:
                raise
            self._answered = {}
            return {}  # transactions are answered without states; the seek after the outage looks again

    async def _look(self, uuids: Mapping[str, str], committed: Mapping[TopicPartition, Committed | None]) -> Mapping[TopicPartition, int]:
        async with self._gate.shut():
            generation = await self._store.begin()
            await self._sources.assign(uuids, list(committed))
            ids = {tp: self._sources.id_of(tp) for tp in committed}
            markers = await self._read.read(list(ids.values()))
            self.n_unmarked = sum(found is not None and found.offset > 0 and markers[ids[tp]] is None for tp, found in committed.items())
            await self._check_alive(committed)
            starts = {tp: found.next_offset for tp in committed if (found := markers[ids[tp]]) is not None}
            offsets = {tp: starts.get(tp, 0) if found is None else found.offset for tp, found in committed.items()}
            begin = {tp: min(offset, starts.get(tp, offset)) for tp, offset in offsets.items()}
            mine = {tp.partition: Start(ids[tp], begin[tp]) for tp in committed if tp.topic == self._topics[0]}
            self._store.open_for(generation)
            await self._journal.load(mine)
            self._answered = {tp: offset for tp, offset in offsets.items() if begin[tp] < offset}
            # A replica that is promoted before the first commit must know that there is something to apply again.
            await self._write.write({ids[tp]: (offset, 0) for tp, offset in begin.items() if tp not in starts})
            self._next, self._uuid = begin, uuids.get(self._topics[0])
            for tp in committed:  # what was applied in between is applied again
                self._applied_ms.pop(tp, None)
            self._outage.over()
        for tp, offset in begin.items():
            if offset < offsets[tp]:
                self.n_lost += offsets[tp] - offset
                log.warning("states_lost_records", topic=tp.topic, partition=tp.partition, from_offset=offset, committed=offsets[tp])
        return starts

    async def before_commit(self, offsets: Mapping[TopicPartition, int]) -> bool:
        """Write the markers of offsets about to be committed; False: not now.

        Raises:
            Unavailable: A node does not answer, or too few replicas have it.
        """
        await self._notes.note_answers()
        await self._write.write({self._sources.id_of(tp): (offset, self._applied_ms.get(tp, 0)) for tp, offset in offsets.items()})
        return True

    def committed(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Note that the broker has accepted offsets."""
        self._next.update(offsets)
        self._journal.committed({tp.partition: offset for tp, offset in offsets.items() if tp.topic == self._topics[0]})

    def applied(self, records: Sequence[Record]) -> None:
        """Note records of one topic, in order per partition, as applied."""
        newest = {(record.topic, record.partition): record.timestamp for record in records}
        self._applied_ms.update({TopicPartition(*place): timestamp for place, timestamp in newest.items()})

    def is_answered(self, record: Record) -> bool:
        """Tell whether a record comes again only for the states' sake: its answer was committed."""
        return bool(self._answered) and record.offset < self._answered.get(TopicPartition(record.topic, record.partition), 0)

    async def horizon_ms(self) -> int | None:
        """Return the least append time (ms) that every partition of transactions has passed; None while one is unknown.

        Raises:
            Unavailable: Redis does not answer.
        """
        found = [position for position in (await self._marked()).values() if position is not None]
        if not found or len(found) < self.n_partitions:
            return None
        return min(position.append_ms for position in found) - _IDLE_MARGIN_MS

    @property
    def next_offsets(self) -> Mapping[TopicPartition, int]:
        """The next to read of each partition of transactions, as committed."""
        return {tp: offset for tp, offset in self._next.items() if tp.topic == self._topics[0]}

    async def hold(self) -> None:
        """Let records stay raw that may come again, of all partitions of transactions.

        Raises:
            Unavailable: Redis does not answer.
        """
        found = await self._marked()
        self._notes.hold({source: position.next_offset for source, position in found.items() if position is not None})

    async def _marked(self) -> Mapping[int, Position | None]:
        """Return the markers of all partitions of transactions, whoever owns them; none while the topic is not known."""
        if self._uuid is None:
            return {}
        places = [TopicPartition(self._topics[0], partition) for partition in range(self.n_partitions)]
        await self._sources.know(self._uuid, places)
        return await self._write.read([self._sources.id_of(place) for place in places])

    async def mark_idle(self, lags: Callable[[Mapping[TopicPartition, int]], Mapping[TopicPartition, int]]) -> None:
        """Mark partitions of transactions of which nothing is left to apply as of now; so labels for nobody end their wait.

        Raises:
            Unavailable: Redis does not answer.
        """
        mine = self.next_offsets
        now_ms = time.time_ns() // 1_000_000 - _IDLE_MARGIN_MS
        idle = {tp: mine[tp] for tp, lag in lags(mine).items() if lag == 0}
        if idle:
            await self._write.write(
                {self._sources.id_of(tp): (offset, max(now_ms, self._applied_ms.get(tp, 0))) for tp, offset in idle.items()}
            )

    def recorded(self, record: Record) -> Answer | None:
        """Return what the journal says about a transaction, None if it was not answered yet."""
        return self._journal.find(record.partition, record.offset)

    async def record(self, messages: Sequence[Message]) -> bool:
        """Write answers to the journal; see `stream.records.Recorder`."""
        scores = [message for message in messages if message.offset is not None]
        if not scores:
            return True
        return await self._journal.write(_answered(scores))

    async def _check_alive(self, committed: Mapping[TopicPartition, Committed | None]) -> None:
        if not await self._read.is_emptied():
            self.problem = ""
            return
        if any(found is not None and found.offset for found in committed.values()):
            self.problem = (
                "Redis holds no state, though transactions were committed: it was emptied. "
                "Nothing is consumed until `weir rebuild HISTORY` has built the states anew"
            )
            raise Unavailable(self.problem)
        await self._read.set_alive()
        self.problem = ""


def _answered(messages: Sequence[Message]) -> Answered:
    """Return scores and alerts of a chunk (an alert follows its score) as columns."""
    partitions: list[int] = []
    offsets: list[int] = []
    scores: list[bytes] = []
    alerts: list[bytes] = []
    for _, _, value, partition, _, offset in messages:
        assert partition is not None
        assert offset is not None
        if offsets and offsets[-1] == offset and partitions[-1] == partition:
            alerts[-1] = value or b""
            continue
        partitions.append(partition)
        offsets.append(offset)
        scores.append(value or b"")
        alerts.append(b"")
    return Answered(partitions, offsets, scores, alerts)
