"""The event loops of a worker's threads."""

import asyncio


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return a new loop: uvloop's where there is one (not on Windows)."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop
