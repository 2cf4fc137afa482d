"""Produce JSON lines to `transactions.v1` as they are, keyed by card_id where it can be read."""

import asyncio
import os
import select
from collections.abc import AsyncIterator, Callable
from typing import Final

import msgspec

from service.commit_watch import stopped_within
from service.producing import Beat, Sent
from service.sending import Sender
from stream.connection import KafkaConnection
from stream.topics import TRANSACTIONS

_READ_BYTES: Final = 1 << 18
_LOOK_UP_S: Final = 0.2


class _CardId(msgspec.Struct):
    card_id: str


_CARD_ID: Final = msgspec.json.Decoder(_CardId)


def key_of(line: bytes) -> bytes | None:
    """Return the card_id of `line`, None where it cannot be read (then the record goes to any partition).

    >>> key_of(b'{"card_id": "c1"}'), key_of(b"noise")
    (b'c1', None)
    """
    try:
        return _CARD_ID.decode(line).card_id.encode() or None
    except (msgspec.MsgspecError, UnicodeError):
        return None


async def produce_lines(
    connection: KafkaConnection,
    descriptor: int,
    *,
    rate: float | None,
    stop: asyncio.Event,
    on_progress: Callable[[Sent], None] = lambda _: None,
) -> Sent:
    """Send every line of the open file `descriptor`, as it arrives, until its end; blank lines are no records.

    Args:
        connection: Where to send.
        descriptor: Open for reading: a file, a pipe or a terminal.
        rate: Lines per second; None = as they come.
        stop: Ends it early and cleanly.
        on_progress: Called after each piece was queued.

    Raises:
        Unavailable: Kafka does not answer or did not confirm a record.
        ConfigError: The topic does not exist.
    """
    topic = connection.topic(TRANSACTIONS)
    sent, beat = Sent(), Beat(rate)
    async with Sender(connection) as sender:
        await sender.require(topic)
        async for piece in _pieces(descriptor, stop):
            at = 0
            while at < len(piece) and not await stopped_within(stop, beat.pause_s()):
                lines = piece[at : at + beat.allow(len(piece) - at)]
                await sender.send(topic, [key_of(line) for line in lines], lines)
                at += len(lines)
                sent = sent._replace(n_transactions=sent.n_transactions + len(lines))
                on_progress(sent)
        await sender.flush()
    return sent


async def _pieces(descriptor: int, stop: asyncio.Event) -> AsyncIterator[list[bytes]]:
    """Yield the lines that are there, again and again, until the end of the file or `stop`."""
    rest = b""
    while not stop.is_set():
        read = await asyncio.to_thread(_read, descriptor)
        if read is None:
            continue
        *lines, rest = (rest + read).split(b"\n") if read else [rest, b""]
        if found := [line for line in lines if line.strip()]:
            yield found
        if not read:
            return


def _read(descriptor: int) -> bytes | None:
    """Return what can be read now, b"" at the end of the file, None if nothing came for a while."""
    if not select.select([descriptor], [], [], _LOOK_UP_S)[0]:
        return None
    return os.read(descriptor, _READ_BYTES)
