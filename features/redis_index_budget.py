"""The counts of the decision index in Redis, so that all workers keep one budget, and `weir doctor` can tell it."""

import asyncio
import time
from typing import Final

import structlog

from domain.errors import Unavailable
from features.index_budget import IndexBudget
from features.redis_wire import Call, Command, Wire

_EVERY_S: Final = 10.0

log = structlog.get_logger("weir.index_budget")


class RedisIndexBudget:
    """Adds up what workers write to the index in one hash."""

    def __init__(self, wire: Wire, key: bytes, budget: IndexBudget) -> None:
        """Prepare.

        Args:
            wire: Connections.
            key: Of the hash.
            budget: Of this worker.
        """
        self._wire = wire
        self._key = key
        self._budget = budget

    async def sync(self, now_ms: int) -> None:
        """Add what this worker wrote and learn what all wrote.

        Raises:
            Unavailable: Redis does not answer. What was not added is added next time; perhaps a second time, which only
                makes the index smaller.
        """
        changes = self._budget.changes()
        commands: list[Command] = [("HINCRBY", self._key, field, size) for field, size in changes.items()]
        if outdated := self._budget.outdated(now_ms):
            commands.append(("HDEL", self._key, *outdated))
        commands.append(("HGETALL", self._key))
        try:
            fields = (await self._wire.run([Call(self._key, tuple(commands))]))[0][-1]
        except Unavailable:
            self._budget.back(changes)
            raise
        self._budget.learn(decode_counts(fields))

    async def run(self) -> None:
        """Sync every 10 s until cancelled; Redis being away only delays it."""
        while True:
            try:
                await self.sync(time.time_ns() // 1_000_000)
            except Unavailable as error:
                log.warning("unavailable", what="the index's budget", reason=str(error))
            await asyncio.sleep(_EVERY_S)


def decode_counts(fields: object) -> dict[str, int]:
    """Return the hash as Redis gives it: a mapping, or a list of fields and values in turn."""
    pairs = fields.items() if isinstance(fields, dict) else zip(*[iter(fields)] * 2, strict=True)  # type: ignore[call-overload]  # a list
    return {field.decode(): int(size) for field, size in pairs}
