"""How the worker talks to Redis: one interface for a single server and for a cluster."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import Any, Final, NamedTuple, Protocol

from redis.asyncio import Redis

from domain.errors import Unavailable
from features.redis_node import Command, Node, Packed, ReplyError, first_error, is_replaced

__all__ = ["Call", "Command", "OnCall", "OnConnection", "ReplyError", "SingleWire", "Wire"]

#: As many as ask at the same time: transactions, labels, commits.
N_LINES: Final = 3

OnCall = Callable[[float | None], None]
OnConnection = Callable[[], None]


class Call(NamedTuple):
    """Commands that belong together."""

    key: bytes
    """A key of the call: decides the node."""
    commands: tuple[Command | Packed, ...]
    """Sent in one write on one connection of that node, in order (may be MULTI ... EXEC)."""


class Wire(Protocol):
    """Connections to Redis.

    Nothing is ever sent on a connection that is younger than the call: who compares `generation` right before `run` with
    the one at which it last looked at Redis' state (markers, sentinel) knows that its commands go to the very process it
    looked at. So the call that finds a connection lost opens it anew, sends nothing and raises `Unavailable`; the next
    one works. Only the very first call opens and sends.

    Repeating a call must be safe: after `Unavailable` it is unknown whether it took effect.
    """

    @property
    def is_cluster(self) -> bool:
        """Whether keys are spread over nodes, so that commands must keep to keys of one hash tag."""

    @property
    def generation(self) -> int:
        """Number of connections ever made, to any node; grows before any command on a new one."""

    async def run(self, calls: Sequence[Call]) -> list[list[Any]]:
        """Send calls, one write per node, all nodes in parallel; return the answers of each call's commands.

        An error inside EXEC's answer is an element that is an Exception instance.

        Raises:
            Unavailable: The other side does not answer: connection, time-out, LOADING, OOM, READONLY, CLUSTERDOWN ...
            ReplyError: A command is refused for good; others of the same run may have taken effect.
        """

    async def everywhere(self, commands: Sequence[Command]) -> list[list[Any]]:
        """Send commands to every master; return the answers of each.

        `WAIT` covers all that any `run` before it wrote: it is sent on each connection, its least answer returned.

        Raises:
            Unavailable: As in `run`.
            ReplyError: As in `run`.
        """

    async def close(self) -> None:
        """Close all connections."""


class SingleWire:
    """A `Wire` to one server."""

    is_cluster: bool = False

    def __init__(
        self,
        client: Redis,
        *,
        on_call: OnCall = lambda _: None,
        on_connection: OnConnection = lambda: None,
        n_lines: int = N_LINES,
    ) -> None:
        """Prepare; nothing is connected yet.

        Args:
            client: Knows how to connect and its time-outs; its own connections are not used.
            on_call: Told the seconds of each round trip, None for one that was not answered.
            on_connection: Called after each new connection, before any command on it; `generation` has grown already.
            n_lines: Number of connections.
        """
        self._on_call = on_call
        self._on_connection = on_connection
        self._generation = 0
        self._node = Node(client.connection_pool.make_connection, n_lines, self._count)

    @property
    def generation(self) -> int:
        """See `Wire`."""
        return self._generation

    async def open(self) -> None:
        """Connect, unless it is connected: after an outage this spares a call that raises.

        Raises:
            Unavailable: The server cannot be reached.
        """
        await self._node.open()

    async def run(self, calls: Sequence[Call]) -> list[list[Any]]:
        """See `Wire`."""
        if not calls:
            return []
        commands = [command for call in calls for command in call.commands]
        answers = await self._ask(commands, self._node.send)
        found, a = [], 0
        for call in calls:
            b = a + len(call.commands)
            found.append(answers[a:b])
            a = b
        return found

    async def everywhere(self, commands: Sequence[Command]) -> list[list[Any]]:
        """See `Wire`."""
        is_wait = any(command[0] == "WAIT" for command in commands)
        return [await self._ask(commands, self._node.send_to_all if is_wait else self._node.send)]

    async def close(self) -> None:
        """See `Wire`."""
        self._node.close()

    async def _ask(self, commands: Sequence[Any], send: Callable[[Sequence[Any]], Awaitable[list[Any]]]) -> list[Any]:
        with timed(self._on_call):
            if not self._node.is_open:
                await self._connect()
            answers = await send(commands)
            raise_error(self._node, first_error(commands, answers))
            return answers

    async def _connect(self) -> None:
        generation = self._generation
        await self._node.open()
        if generation not in (0, self._generation):
            raise Unavailable("the connection to Redis was lost and is open again; nothing was sent")

    def _count(self) -> None:
        self._generation += 1
        self._on_connection()


@contextmanager
def timed(on_call: OnCall) -> Iterator[None]:
    """Tell `on_call` what a round trip took, or that it was not answered."""
    began_s = perf_counter()
    try:
        yield
    except Unavailable:
        on_call(None)
        raise
    on_call(perf_counter() - began_s)


def raise_error(node: Node, error: ReplyError | None) -> None:
    """Raise what an answer of a node means, if it is an error; a node whose data were replaced loses its connections."""
    if error is None:
        return
    if is_replaced(error):
        node.close(str(error))
    if error.is_transient:
        raise Unavailable(f"Redis does not answer (redis.url): {error}") from error
    raise error
