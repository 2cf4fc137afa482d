"""Follows the registry while the worker serves: who answers changes between two chunks, with no restart."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from domain.errors import WeirError
from domain.model_event import ModelEvent
from models.registry import Registry
from service.lineup_loading import LineupLoader, Loaded, Refusal
from service.model_words import changes, refused
from service.times import now_ms
from stream.lineup import Lineup, model_of

#: What could not be followed is tried again, also if the registry says nothing new: a disk or a copy may need time.
_AGAIN_S: Final = 30.0
#: Chunks of the lineup before are on their way; nothing that they need is freed before.
_RETIRE_S: Final = 10.0

Adopt = Callable[[Lineup], Awaitable[None]]
"""Makes ready for a lineup; a WeirError puts the swap off until the next look."""

Tell = Callable[[ModelEvent], Awaitable[None]]
"""Publishes an event; raises WeirError if it could not."""

log = structlog.get_logger("weir.models")


class ModelWatch:
    """Holds the lineup in force, polls the registry and swaps. Belongs to one event loop.

    Guarantee: a chunk asks once who answers it, and `lineup` changes by one assignment, so no chunk is answered by two
    lineups. Loading and verifying happen in a thread; what fails changes nothing but the log, a metric and an event.

    Attributes:
        lineup: In force for the next chunk.
        n_swaps: Changes of the lineup so far.
        n_refused: Models and policies that the registry named and that were refused.
    """

    def __init__(self, registry: Registry, loader: LineupLoader, loaded: Loaded, *, worker: str, poll_s: float) -> None:
        """Prepare.

        Args:
            registry: Polled.
            loader: Of this registry.
            loaded: What it loaded first.
            worker: Id of this process, for events.
            poll_s: Time between two looks, in s.
        """
        self.lineup = loaded.lineup
        self.n_swaps = 0
        self.n_refused = 0
        self._registry = registry
        self._loader = loader
        self._worker = worker
        self._poll_s = poll_s
        self._known: dict[Refusal, None] = {}
        self._untold: list[ModelEvent] = []
        self._stamp: tuple[int, ...] = ()
        self._looked_s = 0.0
        self._swapped_s: float | None = None
        self._first = loaded.refusals
        self._trouble = ""

    async def run(self, adopt: Adopt, tell: Tell) -> None:
        """Follow the registry until cancelled."""
        self._note(self._first)
        while True:
            try:
                await self._follow(adopt)
                await self._retire()
            except (OSError, WeirError) as error:
                self._say(str(error))
            else:
                self._say("")
            await self._tell(tell)
            await asyncio.sleep(self._poll_s)

    async def _follow(self, adopt: Adopt) -> None:
        stamp = await asyncio.to_thread(self._registry.stamp)
        is_due = bool(self._known) and time.monotonic() - self._looked_s > _AGAIN_S
        if stamp == self._stamp and not is_due:
            return
        self._looked_s = time.monotonic()
        before = self.lineup
        loaded = await asyncio.to_thread(self._loader.follow, before)
        self._note(loaded.refusals)
        if loaded.lineup != before:
            events = await asyncio.to_thread(self._registry.history)
            await adopt(loaded.lineup)
            self.lineup = loaded.lineup
            self.n_swaps += 1
            for event in changes(before, loaded.lineup, events, worker=self._worker, at_ms=now_ms()):
                log.info(event.event, model=event.model, policy=event.policy, sentence=event.sentence)
                self._untold.append(event)
            self._swapped_s = time.monotonic()
        self._stamp = stamp

    def _say(self, trouble: str) -> None:
        """Log what stands in the way when it changes, not at every look."""
        if trouble and trouble != self._trouble:
            log.warning("registry_not_followed", reason=trouble)
        elif self._trouble and not trouble:
            log.info("registry_followed_again")
        self._trouble = trouble

    def _note(self, refusals: list[Refusal]) -> None:
        """Tell of refusals, each once as long as it lasts."""
        for refusal in refusals:
            if refusal not in self._known:
                self.n_refused += 1
                log.error("bundle_refused", what=refusal.what, reason=refusal.reason)
                self._untold.append(refused(refusal.what, refusal.reason, self.lineup, worker=self._worker, at_ms=now_ms()))
        self._known = dict.fromkeys(refusals)

    async def _retire(self) -> None:
        """Free in a thread what has not answered for a while."""
        if self._swapped_s is not None and time.monotonic() - self._swapped_s > _RETIRE_S:
            self._swapped_s = None
            await asyncio.to_thread(self._loader.forget, self.lineup)

    async def _tell(self, tell: Tell) -> None:
        while self._untold:
            try:
                await tell(self._untold[0])
            except WeirError as error:
                log.warning("event_not_told", reason=str(error))
                return
            self._untold.pop(0)

    @property
    def model(self) -> str:
        """`name@version` of the champion."""
        return model_of(self.lineup.champion)
