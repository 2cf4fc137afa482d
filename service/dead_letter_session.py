"""What the commands about dead letters work with: connected readers, and the state of `control.v1`."""

import asyncio
import secrets
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from typing import Self

from domain.dead_letter_action import Action
from service.dead_letter_handling import DeadLetterHandling, OnSteps
from service.dead_letter_log import DeadLetterLog, Handled
from service.dead_letter_turn import Who
from service.dead_letter_verdict import Rules
from service.dead_letters import DeadLetter, Place, Selection, Stretch, read, require_all, stretches
from service.partition_reading import PartitionReader
from stream.connection import KafkaConnection


class Session:
    """A selection of dead letters, up to the ends found when it was first asked for. Use as `async with Session(...) as session`.

    Attributes:
        parts: What is read. A later session that gets them does what this one told.
    """

    def __init__(
        self, connection: KafkaConnection, selection: Selection, *, limit: int | None = None, rules: Rules | None = None,
        parts: list[Stretch] | None = None,
    ) -> None:  # fmt: skip
        """Prepare.

        Args:
            connection: Where.
            selection: Which letters.
            limit: The first so many of them.
            rules: Of replays.
            parts: Of an earlier session with the same selection.
        """
        self.parts = parts or []
        self._connection = connection
        self._selection = selection
        self._limit = limit
        self._rules = rules or Rules()
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Connect, and read what was done so far.

        Raises:
            Unavailable: Kafka does not answer.
            ConfigError: A topic does not exist or cannot be read, or there is no letter at a place of the selection.
        """
        try:
            self._reader = await self._open.enter_async_context(PartitionReader(self._connection))
            log_reader = await self._open.enter_async_context(PartitionReader(self._connection))
            self._log = DeadLetterLog(self._connection, log_reader)
            await self._log.refresh()
            if not self.parts:
                self.parts = await stretches(self._reader, self._connection, self._selection)
                require_all(self._selection.places, [Place(*part[:3]) for part in self.parts])
        except BaseException:
            await self._open.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Disconnect."""
        await self._open.aclose()

    async def letters(self, *, is_all: bool) -> AsyncGenerator[list[tuple[DeadLetter, Handled | None]]]:
        """Yield the selected letters and what was done about them, some at a time; those handled only if `is_all`."""
        handled, n_left = self._log.state.handled, self._limit
        async with aclosing(read(self._reader, self.parts, self._selection)) as found:
            async for letters in found:
                kept = [(letter, action) for letter in letters if (action := handled.get(letter.origin)) is None or is_all]
                if n_left is not None:
                    kept = kept[:n_left]
                    n_left -= len(kept)
                if kept:
                    yield kept
                if n_left == 0:
                    return

    async def survey(self, action: Action, *, on_steps: OnSteps, stop: asyncio.Event) -> None:
        """Tell `on_steps` what would become of each selected letter; do nothing."""
        async with aclosing(self._handling().plan(self.parts, self._selection, action=action, limit=self._limit)) as planned:
            async for steps in planned:
                on_steps(steps)
                if stop.is_set():
                    return

    async def replay(self, *, on_steps: OnSteps, stop: asyncio.Event) -> None:
        """Send the selected letters' records back; see `DeadLetterHandling.replay`."""
        who = Who.here(secrets.token_hex(8))
        await self._handling().replay(self.parts, self._selection, who, limit=self._limit, on_steps=on_steps, stop=stop)

    async def discard(self, reason: str, *, on_steps: OnSteps, stop: asyncio.Event) -> None:
        """Mark the selected letters as handled; see `DeadLetterHandling.discard`."""
        who = Who.here(secrets.token_hex(8))
        await self._handling().discard(self.parts, self._selection, who, reason=reason, limit=self._limit, on_steps=on_steps, stop=stop)

    def _handling(self) -> DeadLetterHandling:
        return DeadLetterHandling(self._connection, self._reader, self._log, rules=self._rules)
