"""What was done about dead letters, and whose turn it is: the fold of `control.v1`.

`control.v1` has one partition, so everybody who folds it comes to the same state at the same offset.
"""

from typing import Final, NamedTuple

import msgspec

from domain.dead_letter_action import Action, ControlEvent, DeadLetterAction, DeadLetterTurn
from domain.errors import ConfigError
from service.partition_reading import PartitionReader
from stream.connection import KafkaConnection
from stream.records import Record
from stream.topics import CONTROL

LEASE_MS: Final = 120_000
"""A turn ends this long after its last record, unless it is renewed; by append times of `control.v1`."""
PARTITION: Final = 0
_ACTION: Final = b"dead_letter_action:"
_TURN: Final = b"dead_letter_turn:"
_DECODER: Final = msgspec.json.Decoder(ControlEvent)


class Handled(NamedTuple):
    """The newest action on a dead letter."""

    action: Action
    user: str
    time_ms: int
    reason: str
    to: tuple[str, int, int] | None
    """Topic, partition and offset of the replayed record."""

    def __str__(self) -> str:
        to = "" if self.to is None else " to {}:{}:{}".format(*self.to)
        return f"{self.action}{to} by {self.user}"


class Turn(NamedTuple):
    """The newest record of a run that has not ended."""

    record: DeadLetterTurn
    append_ms: int


def action_key(action: DeadLetterAction) -> bytes:
    """Return the key of an audit line; no two lines share one, so compaction keeps them all."""
    return _ACTION + f"{action.topic}:{action.partition}:{action.offset}@{action.append_ms}:{action.time_ms}".encode()


def turn_key(run: str) -> bytes:
    """Return the key of a run's turn; no value = the run has ended, and nothing it did is in doubt."""
    return _TURN + run.encode()


class LogState:
    """The fold.

    Attributes:
        handled: Newest action by origin of the dead letter (see `DeadLetter.origin`).
        turns: Runs that had a turn and have not ended, the holder included.
        holder: The run that may act; None = nobody.
        until_ms: Append time at which the holder's turn ends.
    """

    def __init__(self) -> None:
        self.handled: dict[str, Handled] = {}
        self.turns: dict[str, Turn] = {}
        self.holder: str | None = None
        self.until_ms = 0

    def fold(self, record: Record) -> None:
        """Take in the next record of `control.v1`; those of other kinds mean nothing here.

        Raises:
            ConfigError: The record is of this kind, but written by a newer version.
        """
        key = record.key or b""
        if not key.startswith((_ACTION, _TURN)):
            return
        if record.value is None:
            self._end(key.removeprefix(_TURN).decode("utf-8", "replace"))
            return
        try:
            event = _DECODER.decode(record.value)
        except msgspec.MsgspecError as error:
            place = f"{record.topic}:{record.partition}:{record.offset}"
            raise ConfigError(f"{place} cannot be read ({error}); use the version of weir that wrote it, or a newer one") from error
        if isinstance(event, DeadLetterTurn):
            self._turn(event, record.timestamp)
            return
        to = None
        if event.to_topic is not None and event.to_partition is not None and event.to_offset is not None:
            to = (event.to_topic, event.to_partition, event.to_offset)
        origin = f"{event.topic}:{event.partition}:{event.offset}@{event.append_ms}"
        self.handled[origin] = Handled(event.action, event.user, event.time_ms, event.reason, to)

    def _turn(self, event: DeadLetterTurn, append_ms: int) -> None:
        """A run gets the turn if nobody has it, its time is over, or its holder is known to have died; else its record is void."""
        if self.holder in {None, event.run, event.takes_over} or append_ms >= self.until_ms:
            self.holder, self.until_ms = event.run, append_ms + LEASE_MS
            self.turns[event.run] = Turn(event, append_ms)

    def _end(self, run: str) -> None:
        self.turns.pop(run, None)
        if self.holder == run:
            self.holder = None


class DeadLetterLog:
    """Keeps a `LogState` up with `control.v1`; reads with a reader of its own."""

    def __init__(self, connection: KafkaConnection, reader: PartitionReader) -> None:
        self.topic = connection.topic(CONTROL)
        self.state = LogState()
        self._reader = reader
        self._next = 0

    async def refresh(self, *, at_least: int = 0) -> LogState:
        """Read on up to the end, and up to offset `at_least` (not included); return the state there.

        Raises:
            ConfigError: The topic does not exist, has more than one partition, or holds what only a newer version can read.
            Unavailable: Kafka does not answer.
        """
        if self._next == 0 and await self._reader.partitions(self.topic) != [PARTITION]:
            raise ConfigError(f"topic {self.topic} must have one partition: its order decides who acts; make it anew")
        begin, end = await self._reader.bounds(self.topic, PARTITION)
        begin, end = max(begin, self._next), max(end, at_least)
        async for records in self._reader.records(self.topic, PARTITION, begin, end):
            for record in records:
                self.state.fold(record)
        self._next = max(self._next, end)
        return self.state
