"""Labels that wait for their transaction: what is kept of each, and the store that keeps them.

A parked label is credited later than labels behind it in its partition, so its record cannot carry its own offset: an
entity that knows a later one would take it for seen. It carries a number instead, of a source of its own (`SOURCE_NAME`
and its partition), that it gets when its transaction is found. Numbers grow, and none is appended before all smaller ones.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

import msgspec

from domain.errors import MalformedRecord

#: Under this name the sources of parked labels are registered, where a topic's have its UUID.
SOURCE_NAME: Final = "parked"
_VERSION: Final = 1

APPLY, WAIT, SETTLED = range(3)
"""What becomes of a label from the topic: its own record is credited; it waits; a parked copy of it was or is credited or given up."""
CARRY, ELSEWHERE, GIVEN_UP, UNKNOWN = range(4)
"""What becomes of a numbered label: this number carries it; another did; it was given up; its transaction is gone."""


class ParkedLabel(NamedTuple):
    """A label that waits, with all that its dead letter would need; reads as a consumed record."""

    source: int
    """Of its record in the topic: registered source id << 48 | offset."""
    transaction_id: str
    topic: str
    partition: int
    offset: int
    timestamp: int
    """Append time: UTC, milliseconds since the epoch."""
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


class Numbered(NamedTuple):
    """A parked label whose transaction was found."""

    number: int
    """Offset of its record in the source of parked labels."""
    label: ParkedLabel


class Parked(Protocol):
    """Keeps parked labels. All methods raise Unavailable if it does not answer; repeating a call is safe.

    Several workers may use the same partition at the same time.
    """

    async def divert(self, transaction_ids: Sequence[str], sources: Sequence[int]) -> list[int]:
        """Decide about labels from the topic, once and for all: APPLY, WAIT or SETTLED each.

        A label whose transaction is not in the decision index waits, also when it comes again after that has arrived.
        """
        ...

    async def put(self, labels: Sequence[ParkedLabel]) -> None:
        """Keep labels that wait until they are removed."""
        ...

    async def count(self, partition: int) -> int:
        """Return the number of labels kept of a partition."""
        ...

    async def waiting(self, partition: int, *, before_ms: int | None, start: int, most: int) -> list[ParkedLabel]:
        """Return labels without a number, oldest append time first.

        Args:
            partition: Of the labels' topic.
            before_ms: Only those appended before; None = all.
            start: Place of the first.
            most: Number of them.
        """
        ...

    async def known(self, labels: Sequence[ParkedLabel]) -> list[bool]:
        """Tell whose transaction is in the decision index."""
        ...

    async def number(self, partition: int, labels: Sequence[ParkedLabel], *, most: int) -> list[Numbered]:
        """Give numbers to labels; return the `most` least numbered ones of the partition, those of earlier calls included."""
        ...

    async def carry(self, numbered: Sequence[Numbered]) -> list[int]:
        """Decide about numbered labels, once and for all: CARRY, ELSEWHERE, GIVEN_UP or UNKNOWN each."""
        ...

    async def give_up(self, labels: Sequence[ParkedLabel]) -> list[bool]:
        """Give labels up for good, unless their transaction is in the index or a number carries them; tell which are given up."""
        ...

    async def remove(self, partition: int, labels: Sequence[ParkedLabel]) -> None:
        """Forget labels that are dealt with."""
        ...


class _Stored(msgspec.Struct, array_like=True):
    version: int
    source: int
    transaction_id: str
    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(_Stored)


def encode_parked(label: ParkedLabel) -> bytes:
    """Return the bytes of a parked label.

    >>> label = ParkedLabel(7, "t1", "labels.v1", 0, 7, 5, None, b"{}")
    >>> decode_parked(encode_parked(label)) == label
    True
    """
    return _ENCODER.encode((_VERSION, *label))


def decode_parked(data: bytes) -> ParkedLabel:
    """Return the parked label that `data` holds.

    Raises:
        MalformedRecord: It is not one of this version.
    """
    try:
        found = _DECODER.decode(data)
    except msgspec.DecodeError as error:
        raise MalformedRecord(f"not a parked label: {error}") from error
    if found.version != _VERSION:
        raise MalformedRecord(f"a parked label of version {found.version}; this weir knows version {_VERSION}")
    return ParkedLabel(*msgspec.structs.astuple(found)[1:])
