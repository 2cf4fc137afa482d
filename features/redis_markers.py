"""Position markers: up to which offset the states of each node hold a partition, written beside those states.

Kafka's committed offsets outlive a Redis that lost its newest writes; a marker is lost with them, and tells where to begin
again. In a cluster every bucket has its own, so that each node's is on the node whose states it speaks of.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from domain.errors import Unavailable
from features.keys import N_BUCKETS, Keys
from features.redis_wire import Call, Wire

_POSITION: Final = struct.Struct("<qq")
#: KEYS: markers. ARGV: 1 = also backwards, then the new position of each. A position that is there and further on stays.
_WRITE: Final = """
for i = 1, #KEYS do
  local new, old = ARGV[i + 1], redis.pcall('GET', KEYS[i])
  local stays = false
  if ARGV[1] ~= '1' and type(old) == 'string' and #old == 16 then
    local offset, time = struct.unpack('<i8i8', old)
    local new_offset, new_time = struct.unpack('<i8i8', new)
    stays = offset > new_offset or (offset == new_offset and time >= new_time)
  end
  if not stays then redis.call('SET', KEYS[i], new) end
end
return #KEYS
"""


class Position(NamedTuple):
    """How far a partition is applied."""

    next_offset: int
    """Everything below is in the states."""
    append_ms: int
    """Append time of the last applied record, or of the moment at which nothing was left to apply."""


class RedisMarkers:
    """The markers of one consumer group, and the sentinel that tells whether Redis was emptied."""

    def __init__(self, wire: Wire, keys: Keys, group: str, *, wait_replicas: int = 0, wait_timeout_ms: int = 100) -> None:
        """Prepare.

        Args:
            wire: The connections that appends use too: waiting for replicas speaks of what was sent on a connection.
            keys: Names of markers and sentinel.
            group: Consumer group.
            wait_replicas: Replicas of each node that must have everything before a write returns.
            wait_timeout_ms: Longest wait for them.
        """
        self._wire = wire
        self._keys = keys
        self._group = group
        self._wait_replicas = wait_replicas
        self._wait_timeout_ms = wait_timeout_ms

    async def write(self, positions: Mapping[int, tuple[int, int]], *, may_go_back: bool = False) -> None:
        """Write source -> position on every node. A marker never goes back, so an owner that lost the partition moves nothing.

        On return all that was sent before on the wire's connections, states included, is on `wait_replicas` replicas.

        Args:
            positions: Source id -> `Position` or (next offset, append ms).
            may_go_back: Write what is given, whatever is there.

        Raises:
            Unavailable: A node does not answer or has too few replicas: commit nothing, write again.
        """
        if positions:
            buckets = self._names(positions)
            arguments: tuple[int | bytes, ...] = (int(may_go_back), *(_POSITION.pack(*position) for position in positions.values()))
            await self._wire.run([Call(names[0], (("EVAL", _WRITE, len(names), *names, *arguments),)) for names in buckets])
        await self._wait()

    async def read(self, sources: Iterable[int]) -> dict[int, Position | None]:
        """Return how far each source is applied on all nodes: the least of its markers.

        None: a node has no marker of it. It was never written, or that node was emptied.

        Raises:
            Unavailable: Redis does not answer.
        """
        wanted = list(sources)
        if not wanted:
            return {}
        calls = [Call(names[0], (("MGET", *names),)) for names in self._names(wanted)]
        buckets = [answers[0] for answers in await self._wire.run(calls)]
        return {source: _least(found) for source, *found in zip(wanted, *buckets, strict=True)}

    async def is_emptied(self) -> bool:
        """Tell whether the sentinel is absent on a node: Redis lost everything, or `set_alive` was never called.

        Raises:
            Unavailable: Redis does not answer.
        """
        answers = await self._wire.run([Call(name, (("EXISTS", name),)) for name in self._sentinels()])
        return not all(found[0] for found in answers)

    async def set_alive(self) -> None:
        """Leave the sentinel, at the first start and after a rebuild.

        Raises:
            Unavailable: Redis does not answer; do it again.
        """
        await self._wire.run([Call(name, (("SET", name, 1, "NX"),)) for name in self._sentinels()])

    async def _wait(self) -> None:
        if not self._wait_replicas:
            return
        answers = await self._wire.everywhere([("WAIT", self._wait_replicas, self._wait_timeout_ms)])
        n_replicas = min((found[0] for found in answers), default=0)
        if n_replicas < self._wait_replicas:
            raise Unavailable(
                f"{n_replicas} Redis replicas have the newest state, redis.wait_replicas asks for {self._wait_replicas}: "
                "bring the replicas back or lower it"
            )

    def _names(self, sources: Iterable[int]) -> list[list[bytes]]:
        """Return the markers of all sources, per bucket."""
        n_buckets = N_BUCKETS if self._wire.is_cluster else 1
        return [[self._keys.marker(self._group, bucket, source) for source in sources] for bucket in range(n_buckets)]

    def _sentinels(self) -> list[bytes]:
        if not self._wire.is_cluster:
            return [self._keys.alive]
        return [b"%b:{%d}" % (self._keys.alive, bucket) for bucket in range(N_BUCKETS)]


def _least(found: Sequence[Any]) -> Position | None:
    if any(content is None or len(content) != _POSITION.size for content in found):
        return None
    return min(Position(*_POSITION.unpack(content)) for content in found)
