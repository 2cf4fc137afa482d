"""Write many keys: a few writes under way at any time, each short enough that other clients are answered in between."""

import asyncio
from collections import Counter, deque
from collections.abc import Sequence
from typing import Any, Final, Self

from features.redis_wire import Call, Command, Wire

_PER_WRITE: Final = 1_000
_UNDER_WAY: Final = 4


class Writing:
    """Writes keys. Use as `async with Writing(wire) as writing`: at its end all is written."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._under_way: deque[asyncio.Task[Any]] = deque()
        self.n_set: Counter[int] = Counter()
        """Keys that were set, by label."""
        self.n_bytes: Counter[int] = Counter()
        """Bytes of their names and values, by label."""

    async def __aenter__(self) -> Self:
        """Begin."""
        return self

    async def __aexit__(self, kind: object, *_: object) -> None:
        """Wait for the last writes; after an error give them up."""
        if kind is not None:
            for task in self._under_way:
                task.cancel()
            await asyncio.gather(*self._under_way, return_exceptions=True)
            return
        while self._under_way:
            await self._under_way.popleft()

    async def put(self, commands: Sequence[Command], label: int = 0) -> None:
        """Send SETs; returns when most of those before are answered.

        Raises:
            Unavailable: Redis does not answer; perhaps some keys are written.
        """
        for a in range(0, len(commands), _PER_WRITE):
            if len(self._under_way) == _UNDER_WAY:
                await self._under_way.popleft()
            self._under_way.append(asyncio.create_task(self._write(commands[a : a + _PER_WRITE], label)))
            await asyncio.sleep(0)  # lets the write begin

    async def _write(self, commands: Sequence[Command], label: int) -> None:
        answers = [answer for of_call in await self._wire.run(calls_of(self._wire, commands)) for answer in of_call]
        done = [command for command, answer in zip(commands, answers, strict=True) if answer is not None]
        self.n_set[label] += len(done)
        self.n_bytes[label] += sum(len(_key(command)) + len(_bytes(command[2])) for command in done)


def calls_of(wire: Wire, commands: Sequence[Command]) -> list[Call]:
    """Return calls of commands whose key is their second word, in their order."""
    if wire.is_cluster:
        return [Call(_key(command), (command,)) for command in commands]
    return [Call(_key(commands[0]), tuple(commands))]


def _key(command: Command) -> bytes:
    return _bytes(command[1])


def _bytes(word: str | bytes | int) -> bytes:
    assert isinstance(word, bytes)
    return word
