"""The event loops of a worker's threads."""

import asyncio
from collections.abc import Callable


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return a new loop: uvloop's where there is one (not on Windows), which needs half of the time for small messages."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory()
