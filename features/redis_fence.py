"""A wire that sends nothing on connections nobody has looked through: after a failover the states may lack their newest records."""

from collections.abc import Callable, Sequence
from typing import Any

from domain.errors import Unavailable
from features.redis_wire import Call, Command, Wire


class Fence:
    """A `Wire` that is open for one generation of connections only: the one at which positions were last read.

    Whoever reads positions (markers, sentinel) notes the generation, reads on the wire inside the fence, and opens the fence
    for that generation. A new connection, perhaps to another server, closes it by itself.
    """

    def __init__(self, wire: Wire, functions: Sequence[Command], on_closed: Callable[[], None]) -> None:
        """Prepare, closed.

        Args:
            wire: Inside the fence.
            functions: Load the Functions that calls use.
            on_closed: Called when a call finds that the connections are new ones; more than once.
        """
        self.inside = wire
        self._functions = functions
        self._on_closed = on_closed
        self._generation = -1

    @property
    def is_cluster(self) -> bool:
        """See `Wire`."""
        return self.inside.is_cluster

    @property
    def generation(self) -> int:
        """See `Wire`."""
        return self.inside.generation

    async def begin(self) -> int:
        """Connect, load the Functions on every node, and return the generation to read positions in.

        Raises:
            Unavailable: Redis does not answer.
        """
        await self.inside.everywhere(self._functions)
        return self.inside.generation

    def open_for(self, generation: int) -> None:
        """Let calls through as long as connections are of this generation.

        Raises:
            Unavailable: They are newer already: read positions again.
        """
        if generation != self.inside.generation:
            raise Unavailable("Redis was connected anew meanwhile")
        self._generation = generation

    async def run(self, calls: Sequence[Call]) -> list[list[Any]]:
        """See `Wire`. Raises Unavailable, too, if the fence is closed."""
        self._check()
        return await self.inside.run(calls)

    async def everywhere(self, commands: Sequence[Command]) -> list[list[Any]]:
        """See `Wire`. Raises Unavailable, too, if the fence is closed."""
        self._check()
        return await self.inside.everywhere(commands)

    async def close(self) -> None:
        """See `Wire`."""
        await self.inside.close()

    def _check(self) -> None:
        if self.inside.generation != self._generation:
            self._on_closed()
            raise Unavailable("Redis was connected anew: positions are being read again")
