"""A gate that many pass at the same time, or that one keeps shut."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Gate:
    """Lets work through, and waits for it to be over before something that must not meet it. Used by one event loop."""

    def __init__(self) -> None:
        self._n_inside = 0
        self._is_empty = asyncio.Event()
        self._is_empty.set()
        self._shut = asyncio.Lock()

    @asynccontextmanager
    async def passing(self) -> AsyncIterator[None]:
        """Do something that must not meet what is done while the gate is shut."""
        async with self._shut:  # waits while it is shut
            self._n_inside += 1
            self._is_empty.clear()
        try:
            yield
        finally:
            self._n_inside -= 1
            if self._n_inside == 0:
                self._is_empty.set()

    @asynccontextmanager
    async def shut(self) -> AsyncIterator[None]:
        """Wait until nobody is inside, and let nobody in meanwhile."""
        async with self._shut:
            await self._is_empty.wait()
            yield
