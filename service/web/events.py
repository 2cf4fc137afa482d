"""Server-sent events: one encoding, any number of browsers, bounded memory for each.

`live` events are states: a slow browser gets the newest one only. `alert` and `incident` events are facts: each browser gets
every one, in order, with an id. A browser that falls too far behind is disconnected; it comes back by itself with the id of
the last fact it saw (`Last-Event-ID`) and is given what followed. What cannot be given any more is announced by `reset`:
load the views afresh.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Final, Literal
from uuid import uuid4

Fact = Literal["alert", "incident"]

MOST_KEPT: Final = 500
"""Facts that are kept for browsers that come back."""
MOST_WAITING: Final = 500
"""Facts that may wait for one browser; beyond it is disconnected."""
MOST_BROWSERS: Final = 200
_HEARTBEAT_S: Final = 15.0
_OPENING: Final = b"retry: 1000\n: weir\n\n"
_HEARTBEAT: Final = b": still here\n\n"
_RESET: Final = b"event: reset\ndata: {}\n\n"


class TooManyBrowsers(Exception):
    """No further stream is opened now."""


class _Browser:
    """What waits for one browser."""

    def __init__(self, facts: list[bytes], live: bytes | None) -> None:
        self.facts: deque[bytes] = deque(facts)
        self.live = live
        self.is_closed = False
        self.wake = asyncio.Event()
        self.wake.set()

    def take(self) -> bytes:
        """Return all that waits."""
        found = b"".join(self.facts) + (self.live or b"")
        self.facts.clear()
        self.live = None
        return found


class Events:
    """Gives every browser what is published; belongs to one event loop."""

    def __init__(self, *, most_kept: int = MOST_KEPT, most_waiting: int = MOST_WAITING, heartbeat_s: float = _HEARTBEAT_S) -> None:
        self._run = uuid4().hex[:8]
        self._n_facts = 0
        self._kept: deque[bytes] = deque(maxlen=most_kept)
        self._most_waiting = most_waiting
        self._heartbeat_s = heartbeat_s
        self._live: bytes | None = None
        self._browsers: set[_Browser] = set()
        self._is_closed = False

    @property
    def n_browsers(self) -> int:
        """How many streams are open."""
        return len(self._browsers)

    @property
    def last_id(self) -> str:
        """Id of the newest fact."""
        return f"{self._run}-{self._n_facts}"

    def live(self, body: bytes) -> None:
        """Publish the state of now (JSON); it replaces one that is still waiting."""
        self._live = b"event: live\ndata: " + body + b"\n\n"
        for browser in self._browsers:
            browser.live = self._live
            browser.wake.set()

    def fact(self, kind: Fact, body: bytes) -> None:
        """Publish a fact (JSON); browsers that have too many waiting are disconnected."""
        self._n_facts += 1
        event = b"id: %b\nevent: %b\ndata: %b\n\n" % (self.last_id.encode(), kind.encode(), body)
        self._kept.append(event)
        for browser in self._browsers:
            if len(browser.facts) >= self._most_waiting:
                browser.is_closed = True
            else:
                browser.facts.append(event)
            browser.wake.set()

    def close(self) -> None:
        """End every stream, and every one that is opened later."""
        self._is_closed = True
        for browser in self._browsers:
            browser.is_closed = True
            browser.wake.set()

    def open(self, last_id: str | None) -> AsyncIterator[bytes]:
        """Return the stream of one browser.

        Args:
            last_id: Id of the last fact it saw; None: it begins.

        Raises:
            TooManyBrowsers: `MOST_BROWSERS` streams are open.
        """
        if len(self._browsers) >= MOST_BROWSERS:
            raise TooManyBrowsers
        return self._stream(_Browser(self._missed(last_id), self._live))

    def _missed(self, last_id: str | None) -> list[bytes]:
        """Return the facts after `last_id`, or `reset` if they are no longer known."""
        if last_id is None:
            return []
        run, _, number = last_id.partition("-")
        n_missed = self._n_facts - int(number) if run == self._run and number.isascii() and number.isdecimal() else -1
        if not 0 <= n_missed <= min(len(self._kept), self._most_waiting):
            return [_RESET]
        return list(self._kept)[len(self._kept) - n_missed :]

    async def _stream(self, browser: _Browser) -> AsyncIterator[bytes]:
        self._browsers.add(browser)
        try:
            yield _OPENING
            while not (browser.is_closed or self._is_closed):
                try:
                    await asyncio.wait_for(browser.wake.wait(), self._heartbeat_s)
                except TimeoutError:
                    yield _HEARTBEAT
                    continue
                browser.wake.clear()
                if not browser.is_closed and (waiting := browser.take()):
                    yield waiting
        finally:
            self._browsers.discard(browser)
