"""One topic's work: process a chunk, publish its answers, acknowledge it once they are confirmed."""

import asyncio
import time
from collections.abc import AsyncIterable, Awaitable, Callable
from typing import Any

import structlog

from domain.errors import StaleTopic, Unavailable
from stream.backoff import retrying
from stream.chunks import Chunk
from stream.ending import End, ExitCode
from stream.publisher import Publisher
from stream.records import Message, Process

OnDelivered = Callable[[Chunk, float], None]
"""Told of each chunk whose answers are confirmed, with the seconds that publishing took."""

log = structlog.get_logger("weir.worker")


class Lane:
    """Serves the chunks of one topic in order. The deliveries of a chunk are awaited beside the next chunk.

    Guarantee: a chunk is acknowledged only after the broker has confirmed every message that answers it, and chunks are
    acknowledged in their order. A failure ends the process; what was not acknowledged comes again.
    """

    def __init__(
        self, process: Process, publisher: Publisher, acknowledge: Callable[[Chunk], None], *, end: End, on_delivered: OnDelivered
    ) -> None:
        self._process = process
        self._publisher = publisher
        self._acknowledge = acknowledge
        self._end = end
        self._on_delivered = on_delivered
        self._deliveries: asyncio.Queue[tuple[Chunk, Awaitable[None], float]] = asyncio.Queue()

    async def serve(self, chunks: AsyncIterable[Any]) -> None:
        """Serve what comes, until the stream ends or the process does."""
        confirming = asyncio.create_task(self._confirm())
        try:
            async for chunk in chunks:
                if not chunk.is_void:
                    await self._answer(chunk)
        except StaleTopic as error:
            self._end(ExitCode.STALE_TOPIC, str(error))
        except Exception as error:
            log.exception("processing_failed")
            self._end(ExitCode.FAILED, f"processing failed: {error!r}")
            raise
        finally:
            confirming.cancel()

    async def _answer(self, chunk: Chunk) -> None:
        messages = await retrying(lambda: self._attempt(chunk), chunk.topic)
        if messages is None:
            return
        begin_s = time.perf_counter()
        deliveries = await self._publisher.publish(messages)
        self._deliveries.put_nowait((chunk, deliveries, begin_s))
        await asyncio.sleep(0)  # the producer's and the confirming task's turn

    async def _attempt(self, chunk: Chunk) -> list[Message] | None:
        """Return the answers, or None: the chunk became void while it waited to be tried again."""
        if chunk.is_void:
            return None
        chunk.is_taken = True
        try:
            return await self._process(chunk.records)
        except Unavailable:
            chunk.is_taken = False  # stopping and rebalancing do not wait for the other side to come back
            raise

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
