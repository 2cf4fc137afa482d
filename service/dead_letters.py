"""Dead letters: where they lie, what they say, and which of them are asked for."""

from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import Final, NamedTuple

from domain.errors import ConfigError
from service.partition_reading import PartitionReader
from stream.connection import KafkaConnection
from stream.records import Record
from stream.topics import LABELS_DEAD, TRANSACTIONS_DEAD

KINDS: Final = {"transactions": TRANSACTIONS_DEAD, "labels": LABELS_DEAD}
"""Topics of dead letters, by what they hold."""


class Place(NamedTuple):
    """Where a dead letter lies."""

    topic: str
    """Full name of the dead-letter topic."""
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}:{self.partition}:{self.offset}"


class DeadLetter(NamedTuple):
    """A dead letter: what its headers say, and the record."""

    place: Place
    append_ms: int
    """When it was appended to the dead-letter topic: UTC, milliseconds since the epoch."""
    error: str
    """Class of the error, `?` if the header is missing."""
    reason: str
    field: str | None
    """The offending field, if one offended."""
    topic: str
    """Full name of the topic that the record came from, as the header says."""
    partition: int | None
    offset: int | None
    record_append_ms: int | None
    """When the record was appended to that topic."""
    attempts: int
    """How often the record has been tried by now, at least 1."""
    replay_of: str | None
    """Origin of the dead letter whose replay this record was."""
    key: bytes | None
    value: bytes | None

    @property
    def origin(self) -> str:
        """Names this dead letter for ever, also when its topic is made anew."""
        return f"{self.place}@{self.append_ms}"


class Selection(NamedTuple):
    """Which dead letters: all conditions must hold; None and empty ones hold for every letter."""

    kinds: tuple[str, ...] = tuple(KINDS)
    places: tuple[Place, ...] = ()
    """If any: exactly these (the other conditions hold all the same)."""
    error: str | None = None
    reason: str | None = None
    """Part of the sentence, in lower or upper case."""
    field: str | None = None
    since_ms: int | None = None
    """Appended to the dead-letter topic in `[since_ms, until_ms)`."""
    until_ms: int | None = None
    contains: bytes | None = None
    """Part of the key or the value."""

    @property
    def is_everything(self) -> bool:
        """True if nothing narrows the selection."""
        return self == Selection()

    def has(self, letter: DeadLetter) -> bool:
        """Tell whether the conditions on a letter's content hold."""
        return (
            (self.error is None or letter.error == self.error)
            and (self.field is None or letter.field == self.field)
            and (self.reason is None or self.reason.casefold() in letter.reason.casefold())
            and (self.since_ms is None or letter.append_ms >= self.since_ms)
            and (self.until_ms is None or letter.append_ms < self.until_ms)
            and (self.contains is None or self.contains in (letter.value or b"") or self.contains in (letter.key or b""))
        )


def parse_place(text: str, connection: KafkaConnection) -> Place:
    """Return the place that `text` names: topic:partition:offset, the topic in full, without prefix, or as its kind.

    >>> str(parse_place("labels:0:7", KafkaConnection(bootstrap="", prefix="x.")))
    'x.labels.dead.v1:0:7'

    Raises:
        ConfigError: It names no place of a dead-letter topic.
    """
    name, _, rest = text.rpartition(":")
    name, _, partition = name.rpartition(":")
    for kind, topic in KINDS.items():
        if name in {kind, topic.name, connection.topic(topic)} and _is_number(partition) and _is_number(rest):
            return Place(connection.topic(topic), int(partition), int(rest))
    topics = ", ".join(connection.topic(topic) for topic in KINDS.values())
    raise ConfigError(f"{text[:100]!a} is not the place of a dead letter; write topic:partition:offset, the topic one of {topics}")


def letter_of(record: Record) -> DeadLetter:
    """Return the dead letter that lies in `record`; what its headers do not say, or say wrongly, is unknown."""
    found = {name: value.decode("utf-8", "backslashreplace") for name, value in record.headers}
    return DeadLetter(
        Place(record.topic, record.partition, record.offset), record.timestamp,
        found.get("error", "?"), found.get("reason", ""), found.get("field"),
        found.get("topic", "?"), _number(found.get("partition")), _number(found.get("offset")), _number(found.get("append_ms")),
        max(1, _number(found.get("attempts")) or 1), found.get("replay_of"), record.key, record.value,
    )  # fmt: skip


Stretch = tuple[str, int, int, int]
"""Topic, partition, first offset, end."""


async def stretches(reader: PartitionReader, connection: KafkaConnection, selection: Selection) -> list[Stretch]:
    """Return what must be read for `selection`, up to the ends of this moment.

    Raises:
        ConfigError: A topic does not exist.
        Unavailable: Kafka does not answer.
    """
    found = []
    for kind in selection.kinds:
        topic = connection.topic(KINDS[kind])
        for partition in await reader.partitions(topic):
            begin, end = await reader.bounds(topic, partition)
            if selection.places:
                offsets = sorted({p.offset for p in selection.places if p[:2] == (topic, partition) and begin <= p.offset < end})
                found += [(topic, partition, offset, offset + 1) for offset in offsets]
                continue
            if selection.since_ms is not None:
                begin = await _offset_at(reader, topic, partition, selection.since_ms, end)
            if selection.until_ms is not None:
                end = await _offset_at(reader, topic, partition, selection.until_ms, end)
            found.append((topic, partition, begin, end))
    return found


async def read(reader: PartitionReader, parts: Iterable[Stretch], selection: Selection) -> AsyncGenerator[list[DeadLetter]]:
    """Yield the selected dead letters, some at a time, in the order of their places.

    Raises:
        Unavailable: Kafka does not answer.
    """
    for part in parts:
        async for records in reader.records(*part):
            letters = [letter_of(record) for record in records]
            if kept := [letter for letter in letters if selection.has(letter)]:
                yield kept


def require_all(places: Sequence[Place], found: Iterable[Place]) -> None:
    """Return if every one of `places` was found.

    Raises:
        ConfigError: One was not.
    """
    if missing := [str(place) for place in places if place not in set(found)]:
        raise ConfigError(
            f"no dead letter at {', '.join(missing[:5])}{' and elsewhere' if len(missing) > 5 else ''}: "
            "not written yet, or deleted when its retention ended; see: weir dlq list --all"
        )


async def _offset_at(reader: PartitionReader, topic: str, partition: int, time_ms: int, end: int) -> int:
    found = await reader.offset_at(topic, partition, time_ms)
    return end if found is None else min(found, end)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 19


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and _is_number(text) else None
