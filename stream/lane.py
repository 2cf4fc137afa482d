"""One topic's work: process a chunk, publish its answers, acknowledge it once they are confirmed."""

import asyncio
import time
from collections.abc import AsyncIterable, Awaitable, Callable
from functools import partial
from typing import Any, Final

import structlog

from domain.errors import StaleTopic, Unavailable
from stream.backoff import retrying
from stream.chunks import Chunk
from stream.ending import End, ExitCode
from stream.gate import Gate
from stream.outage import Outage
from stream.publisher import Publisher
from stream.records import Answers, Degrade, Message, OnPublished, Process, Recorder

#: Turns of the event loop in which a chunk that waits comes through Faust's stream.
_TURNS: Final = 12
#: Turns in which a chunk that has begun gets its connection and its request is written.
_TURNS_TO_SEND: Final = 4

OnDelivered = Callable[[Chunk, float], None]
"""Told of each chunk whose answers are confirmed, with the seconds that publishing took."""

log = structlog.get_logger("weir.worker")


class Lane:
    """Serves the chunks of one topic in order: one is applied, one is answered, one is published, one is awaited.

    Guarantee: a chunk is acknowledged only after the broker has confirmed every message that answers it, and chunks are
    acknowledged in their order. A failure ends the process; what was not acknowledged comes again.
    """

    def __init__(
        self, process: Process, publisher: Publisher, acknowledge: Callable[[Chunk], None], *, end: End, on_delivered: OnDelivered,
        record: Recorder | None = None, gate: Gate | None = None, outage: Outage | None = None, degrade: Degrade | None = None,
        on_published: OnPublished | None = None, has_next: Callable[[], bool] = lambda: True,
    ) -> None:  # fmt: skip
        self._has_next = has_next
        self._on_published = on_published
        self._outage = outage
        self._degrade = degrade
        self._gate = gate or Gate()
        self._record = record
        self._process = process
        self._publisher = publisher
        self._acknowledge = acknowledge
        self._end = end
        self._on_delivered = on_delivered
        self._is_applying = False
        self._applied_chunks: list[Chunk] = []
        """Applied, not published yet."""
        self._applied: asyncio.Queue[tuple[Chunk, Answers]] = asyncio.Queue(maxsize=1)
        self._answered: asyncio.Queue[tuple[Chunk, list[Message]]] = asyncio.Queue(maxsize=1)
        self._deliveries: asyncio.Queue[tuple[Chunk, Awaitable[None], float]] = asyncio.Queue()

    async def serve(self, chunks: AsyncIterable[Any]) -> None:
        """Serve what comes, until the stream ends or the process does."""
        beside = [asyncio.create_task(work()) for work in (self._answer, self._publish, self._confirm)]
        try:
            async for chunk in chunks:
                if not chunk.is_void:
                    answers = await retrying(partial(self._apply, chunk), chunk.topic)
                    if answers is not None:
                        self._applied_chunks.append(chunk)
                        await self._applied.put((chunk, answers))
        except Exception as error:
            self._fail(error)
            raise
        finally:
            for task in beside:
                task.cancel()

    async def _apply(self, chunk: Chunk) -> Answers | None:
        """Return what computes the answers, or None: the chunk became void while it waited to be tried again."""
        self._is_applying = True
        try:
            async with self._gate.passing():
                if chunk.is_void:
                    return None
                chunk.is_taken = True
                if self._is_degrading:
                    return self._degraded(chunk)
                answers = await self._process(chunk.records)
                if self._outage is not None:
                    self._outage.worked()
                return answers
        except Unavailable:
            chunk.is_taken = False  # stopping and rebalancing do not wait for the other side to come back
            chunk.refused_s = time.monotonic()
            if self._outage is not None:
                self._outage.failed()
            if self._is_degrading and not chunk.is_void:
                return self._degraded(chunk)
            raise
        finally:
            self._is_applying = False

    async def _answer(self) -> None:
        """Compute answers, one chunk behind what is being applied."""
        while True:
            chunk, answers = await self._applied.get()
            if self._is_applying or self._has_next():
                await self._let_next_begin()
            try:
                messages = answers()
            except Exception as error:
                self._fail(error)
                raise
            await self._answered.put((chunk, messages))
            await asyncio.sleep(0)  # the turn of the publishing and of the confirming task

    async def _let_next_begin(self) -> None:
        """Let the next chunk, which waits, go to the store first: the store then works while this process answers."""
        n_turns = _TURNS
        while n_turns > 0:
            await asyncio.sleep(0)
            n_turns -= 1
            if self._is_applying:
                n_turns = min(n_turns, _TURNS_TO_SEND)

    async def _publish(self) -> None:
        """Hand messages to the producer, which takes a partition's next batch only when the one before is on its way."""
        while True:
            chunk, messages = await self._answered.get()
            begin_s = time.perf_counter()
            try:
                chunk.is_taken = True
                if not await retrying(partial(self._recorded, chunk, messages), "answer journal"):
                    self._applied_chunks.remove(chunk)
                    continue
                deliveries = await self._publisher.publish(messages)
                self._applied_chunks.remove(chunk)
                if self._on_published is not None:
                    self._on_published(messages)
            except Exception as error:
                self._fail(error)
                raise
            self._deliveries.put_nowait((chunk, deliveries, begin_s))

    @property
    def _is_degrading(self) -> bool:
        return self._outage is not None and self._outage.is_on and self._degrade is not None

    def _degraded(self, chunk: Chunk) -> Answers:
        assert self._degrade is not None
        chunk.is_unapplied = chunk.is_taken = True
        return self._degrade(chunk.records)

    async def _recorded(self, chunk: Chunk, messages: list[Message]) -> bool:
        """Write the answers to the journal; False: do not publish, the records come again."""
        if self._record is None or chunk.is_unapplied:
            return True
        if chunk.is_void:
            return False
        try:
            is_recorded = await self._record(messages)
            chunk.is_taken = True
        except Unavailable:
            if self._outage is not None:
                self._outage.failed()
            if self._is_degrading:  # applied and answered in full, but not recorded
                return True
            chunk.refused_s = time.monotonic()
            for waiting in self._applied_chunks:  # this one and those behind it: as above, stopping does not wait for them
                waiting.is_taken = False
            raise
        return is_recorded

    def _fail(self, error: Exception) -> None:
        if isinstance(error, StaleTopic):
            self._end(ExitCode.STALE_TOPIC, str(error))
        else:
            log.error("processing_failed", exc_info=error)
            self._end(ExitCode.FAILED, f"processing failed: {error!r}")

    async def _confirm(self) -> None:
        while True:
            chunk, deliveries, begin_s = await self._deliveries.get()
            try:
                await deliveries
                self._acknowledge(chunk)
                self._on_delivered(chunk, time.perf_counter() - begin_s)
            except Exception as error:
                log.exception("delivery_failed", topic=chunk.topic)
                self._end(ExitCode.FAILED, f"a delivery failed: {error!r}", topic=chunk.topic)
                raise
