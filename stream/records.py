"""What goes in and out of a pipeline: a consumed record, a message to publish, and the function between them."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

Headers = tuple[tuple[str, bytes], ...]


class TopicPartition(NamedTuple):
    """A partition of a topic; equal to the tuple (topic, partition)."""

    topic: str
    """Full name, with the installation's prefix."""
    partition: int


class Record(Protocol):
    """A consumed record; aiokafka's ConsumerRecord is one."""

    @property
    def topic(self) -> str: ...  # noqa: D102 - the names are Kafka's own
    @property
    def partition(self) -> int: ...  # noqa: D102 - see above
    @property
    def offset(self) -> int: ...  # noqa: D102 - see above
    @property
    def timestamp(self) -> int:
        """Append time of the broker: UTC, milliseconds since the epoch."""
        ...

    @property
    def key(self) -> bytes | None: ...  # noqa: D102 - see above
    @property
    def value(self) -> bytes | None: ...  # noqa: D102 - see above
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...  # noqa: D102 - see above


class Message(NamedTuple):
    """A record to publish."""

    topic: str
    """Full name, with the installation's prefix."""
    key: bytes | None
    value: bytes | None
    partition: int | None
    """None: chosen by the hash of the key, as Kafka's clients do."""
    headers: Headers = ()
    offset: int | None = None
    """Of the transaction that it answers, if the answer is journaled: a score or an alert, of the same partition."""


Answers = Callable[[], list[Message]]
"""Computes the messages that answer a chunk; waits for nothing."""

Process = Callable[[Sequence[Record]], Awaitable[Answers]]
"""A pipeline: the records of a chunk, in partition order each, to what computes their answers.

Awaiting it applies the chunk, and it is not called for a chunk before that has ended for the one before; the answers are
computed while the next chunk is being applied, so that this process and the other side work at the same time. It may
raise `Unavailable` (the same chunk is given again later); anything else ends the worker. No record of the chunk is
acknowledged before the broker has confirmed every message returned.
"""

Degrade = Callable[[Sequence[Record]], Answers]
"""Answers records without applying them; they come again once they can be applied."""


class Committed(NamedTuple):
    """What a consumer group has committed of a partition."""

    offset: int
    """The next to read."""
    answered: int
    """Everything below was answered, from `offset` on in an outage: without being applied."""


OnAssigned = Callable[[Mapping[str, str], Mapping[TopicPartition, Committed | None]], Awaitable[Mapping[TopicPartition, int]]]
"""Told of an assignment, or of a seek, before its first chunk: topic -> UUID, and what is committed (None: nothing) of each
partition now assigned. Returns where to start, if not at the committed offset. May raise `Unavailable`."""

Recorder = Callable[[Sequence[Message]], Awaitable[bool]]
"""Records answers before they are published. False: they are not ours any more and must not be published. May raise
`Unavailable`."""

OnPublished = Callable[[Sequence[Message]], None]
"""Told of what a pipeline returned for a chunk, the very same object, when it has been handed to the producer."""

OnCommitted = Callable[[Mapping[TopicPartition, int]], None]
"""Told of the offsets (the next to read) that the broker has accepted."""

BeforeCommit = Callable[[Mapping[TopicPartition, int]], Awaitable[bool]]
"""Asked before each commit of offsets (the next to read); False: not now, ask again later."""
