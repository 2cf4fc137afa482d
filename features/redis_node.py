"""The connections to one Redis server: commands out in one write, answers fed to hiredis as they arrive."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from itertools import repeat
from time import monotonic
from typing import Any, Final, NamedTuple, cast

import hiredis
from redis import exceptions as redis_errors

from domain.errors import Unavailable

Command = tuple[str | bytes | int, ...]
Packed = bytes
"""A command as the server reads it; see `pack_append`."""
#: After an overdue answer: the loop was perhaps busy, and what is overdue lies in the socket.
_GRACE_S: Final = 0.005
_NOT_ENOUGH: Final = object()
#: First words of answers that mean: not now.
_NOT_NOW: Final = frozenset(
    {"OOM", "MISCONF", "NOREPLICAS", "BUSY", "TRYAGAIN", "CLUSTERDOWN", "MOVED", "ASK", "NOAUTH", "WRONGPASS", "NOPERM"}
)
#: The same, of a server whose data are or were replaced under the connection.
_REPLACED: Final = frozenset({"READONLY", "LOADING", "MASTERDOWN", "UNBLOCKED"})


class ReplyError(redis_errors.ResponseError):
    """An error that the server answered.

    Attributes:
        code: First word of the answer: `OOM`, `MOVED`, `ERR` ...
    """

    def __init__(self, answer: str) -> None:
        super().__init__(answer)
        self.code = answer.partition(" ")[0]

    @property
    def is_transient(self) -> bool:
        """Whether the same command can succeed later."""
        return self.code in _NOT_NOW or self.code in _REPLACED


class _Awaited(NamedTuple):
    answers: "asyncio.Future[list[Any]]"
    n: int
    patience_s: float


class Line(asyncio.Protocol):
    """One connection. Requests may overlap: Redis answers in order, so each gets its own answers, also after one was cancelled."""

    def __init__(self, link: Any, on_lost: Callable[["Line", str], None]) -> None:
        """Take over a link on which nothing is on its way, and read its answers beside redis-py: five times cheaper.

        The link's time-out is kept: the connection is given up when an answer is due and nothing arrives for so long.

        Args:
            link: Connection of redis-py, connected and authenticated.
            on_lost: Called once, when the connection is of no use any more, however that came.
        """
        self._link = link
        self._transport = link._writer.transport  # noqa: SLF001 - no other way to it
        self._timeout_s: float | None = link.socket_timeout
        self._on_lost = on_lost
        self._reader = hiredis.Reader(replyError=ReplyError, notEnoughData=_NOT_ENOUGH)
        self._awaited: deque[_Awaited] = deque()
        self._found: list[Any] = []
        self._heard_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._is_overdue = False
        self._is_lost = False
        self._transport.set_protocol(self)

    @property
    def n_awaited(self) -> int:
        """Requests not yet answered."""
        return len(self._awaited)

    def send(self, packed: bytes, n: int, patience_s: float = 0.0) -> "asyncio.Future[list[Any]]":
        """Write `n` commands at once; their answers come in order, an error as a `ReplyError` in its place.

        Args:
            packed: The commands as the server reads them.
            n: Their number, at least 1.
            patience_s: Time beyond the time-out in which the server may be silent.

        Returns:
            Raises `Unavailable` when the connection is lost before the last answer.
        """
        loop = asyncio.get_running_loop()
        answers: asyncio.Future[list[Any]] = loop.create_future()
        if self._is_lost:
            answers.set_exception(Unavailable("the connection to Redis was lost"))
            return answers
        if not self._awaited:
            self._heard_s = monotonic()
        self._awaited.append(_Awaited(answers, n, patience_s))
        self._transport.write(packed)
        if self._timer is None and self._timeout_s is not None:
            self._timer = loop.call_later(self._timeout_s + patience_s, self._look_at_clock)
        return answers

    def lose(self, why: str) -> None:
        """Give the connection up: what is awaited fails with `why`."""
        if self._is_lost:
            return
        self._is_lost = True
        self._transport.abort()
        self._link._writer = self._link._reader = None  # noqa: SLF001 - else it complains that nobody closed it
        if self._timer is not None:
            self._timer.cancel()
        for awaited in self._awaited:
            if not awaited.answers.done():
                awaited.answers.set_exception(Unavailable(f"Redis does not answer (redis.url): {why}"))
        self._awaited.clear()
        self._on_lost(self, why)

    def data_received(self, data: bytes) -> None:
        """Hand out every answer that is complete."""
        self._heard_s = monotonic()
        self._is_overdue = False
        try:
            self._reader.feed(data)
            next_answer = self._reader.gets
            while (answer := next_answer()) is not _NOT_ENOUGH:
                if type(answer) is not hiredis.PushNotification:  # told by the server, not asked for
                    self._take(answer)
        except hiredis.ProtocolError as error:
            self.lose(str(error))

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the other side closed."""
        self.lose(str(exc or "connection closed by the server"))

    def _take(self, answer: Any) -> None:
        if not self._awaited:
            self.lose("an answer to nothing")
            return
        self._found.append(answer)
        if len(self._found) == self._awaited[0].n:
            awaited = self._awaited.popleft()
            if not awaited.answers.done():  # its caller was cancelled meanwhile
                awaited.answers.set_result(self._found)
            self._found = []

    def _look_at_clock(self) -> None:
        self._timer = None
        if not self._awaited or self._timeout_s is None:
            return
        left_s = self._heard_s + self._timeout_s + self._awaited[0].patience_s - monotonic()
        if left_s <= 0 and self._is_overdue:
            self.lose(f"no answer in {self._timeout_s * 1000:.0f} ms")
            return
        self._is_overdue = left_s <= 0
        self._timer = asyncio.get_running_loop().call_later(max(left_s, _GRACE_S), self._look_at_clock)


class Node:
    """A few connections to one server, all of one age: when one is lost, all are given up, and opened anew together.

    So whoever finds them open talks to the process that has answered before.
    """

    def __init__(self, make_link: Callable[[], Any], n_lines: int, on_open: Callable[[], None]) -> None:
        """Prepare; nothing is connected yet.

        Args:
            make_link: Makes a connection of redis-py, which knows address, password and encryption.
            n_lines: Number of connections.
            on_open: Called after each new connection, before any command on it.
        """
        self._make_link = make_link
        self._n_lines = n_lines
        self._on_open = on_open
        self._lines: list[Line] = []
        self._opening = asyncio.Lock()

    @property
    def is_open(self) -> bool:
        """Whether commands can be sent now."""
        return bool(self._lines)

    async def open(self) -> None:
        """Connect, unless it is connected.

        Raises:
            Unavailable: The server cannot be reached.
        """
        async with self._opening:
            if self._lines:
                return
            links: list[Any] = []
            try:
                while len(links) < self._n_lines:
                    links.append(await _connected(self._make_link()))
            except BaseException as error:
                for link in links:
                    await link.disconnect(nowait=True)
                if isinstance(error, (redis_errors.RedisError, OSError)):
                    raise Unavailable(f"Redis does not answer (redis.url): {error}") from error
                raise
            self._lines = [Line(link, self._lose) for link in links]
            for _ in self._lines:
                self._on_open()

    def send(self, commands: Sequence[Command | Packed]) -> "asyncio.Future[list[Any]]":
        """Write commands (not `WAIT`) at once on the connection with least to do; see `Line.send`.

        Raises:
            Unavailable: It is not open.
        """
        self._require_open()
        return min(self._lines, key=_n_awaited).send(pack(commands), len(commands))

    async def send_to_all(self, commands: Sequence[Command]) -> list[Any]:
        """Write commands on every connection and return the answers of one; of numbers the least of all.

        `WAIT` needs it: a server waits for what the asking connection wrote.

        Raises:
            Unavailable: It is not open, or one connection is lost.
        """
        self._require_open()
        packed, patience_s = pack(commands), _patience_s(commands)
        sent = [line.send(packed, len(commands), patience_s) for line in self._lines]
        found = await asyncio.gather(*sent)
        return [_least(answers) for answers in zip(*found, strict=True)]

    def close(self, why: str = "closed") -> None:
        """Give all connections up."""
        lines, self._lines = self._lines, []
        for line in lines:
            line.lose(why)

    def _require_open(self) -> None:
        if not self._lines:
            raise Unavailable("the connection to Redis was lost")

    def _lose(self, line: Line, why: str) -> None:
        if line in self._lines:
            self.close(why)


async def _connected(link: Any) -> Any:
    """Return a link when it is connected and nothing is on its way to it: an answer must not be taken for another's."""
    try:
        await link.connect()
        if not await link.can_read():
            return link
    except BaseException:
        await link.disconnect(nowait=True)
        raise
    await link.disconnect(nowait=True)
    raise redis_errors.ConnectionError("bytes on a new connection that nobody asked for")


def pack(commands: Sequence[Command | Packed]) -> bytes:
    """Return commands as the server reads them. By hiredis: redis-py's own packing takes longer than a chunk's calculation."""
    return b"".join([c if type(c) is bytes else hiredis.pack_command(c) for c in commands])  # type: ignore[arg-type]  # its stub says one argument


def pack_append(key: bytes, value: bytes) -> Packed:
    """Return `APPEND`, packed: a third of hiredis' time, which counts where each transaction needs four."""
    return b"*3\r\n$6\r\nAPPEND\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(key), key, len(value), value)


def pack_expire(key: bytes, ttl_s: int) -> Packed:
    """Return `EXPIRE`, packed; see `pack_append`."""
    return b"*3\r\n$6\r\nEXPIRE\r\n$%d\r\n%b\r\n$%d\r\n%d\r\n" % (len(key), key, len(str(ttl_s)), ttl_s)


def first_error(commands: Sequence[Command | Packed], answers: Sequence[Any]) -> ReplyError | None:
    """Return the first error among answers: one in the place of an answer, or inside that of an EXEC a transient one."""
    types = list(map(type, answers))
    if ReplyError in types:
        found: ReplyError = answers[types.index(ReplyError)]
        return found
    for i, kind in enumerate(types):
        if kind is list and commands[i][0] == "EXEC" and ReplyError in map(type, answers[i]):
            for each in answers[i]:
                if isinstance(each, ReplyError) and each.is_transient:
                    return each
    return None


def is_replaced(error: ReplyError) -> bool:
    """Tell whether the server's data are or were replaced under the connection, so that it proves nothing any more."""
    return error.code in _REPLACED


def _n_awaited(line: Line) -> int:
    return line.n_awaited


def _patience_s(commands: Sequence[Command]) -> float:
    return sum([int(command[2]) / 1000 for command in commands if command[0] == "WAIT"])


def _least(answers: tuple[Any, ...]) -> Any:
    return min(answers) if all(map(isinstance, answers, repeat(int))) else cast("Any", answers[0])
