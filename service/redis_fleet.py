"""The fleet in Redis: what each worker counts and says, for those who watch.

Keys, all below the installation's prefix; none is shared by two writers but the two sorted sets of names:
    drift:<model>:<worker>:m:<minute>   packed counters of a minute of event time; 3 h
    drift:<model>:<worker>:h:<hour>     the same of an hour; 3 d
    drift:<model>:<worker>              sorted set: minute -> number of the flush that changed it last; 3 d
    drift:<model>:<worker>:hours        the same for hours; 3 d
    drift                               sorted set: "<model> <worker>" -> when it was last written to, ms; 3 d
    fleet                               sorted set: worker -> last seen, ms; 3 d
    fleet:<worker>                      what it says of itself, JSON; 60 s: then it is gone
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from features.redis_wire import Call, Command, Wire
from monitoring.fleet import WorkerState

_MINUTES_S: Final = 3 * 3_600
_HOURS_S: Final = 3 * 86_400
_STATE_S: Final = 60
#: Names of hours that a reader can still ask for; their keys end by themselves.
_MOST_HOURS: Final = 2_000
#: Most keys read or written at once: one write of this many counters is far below a connection's time-out.
_BATCH: Final = 200

_decode_state = msgspec.json.Decoder(WorkerState).decode


class Counted(NamedTuple):
    """Something that counts, or counted within three days."""

    model: str
    """`name@version`."""
    worker: str


class FleetStorage:
    """Writes what one worker counts and says; reads what all do.

    Contents are cumulative, so that writing again is safe: whatever raises `Unavailable` is to be repeated, in any order.
    """

    def __init__(self, wire: Wire, prefix: str) -> None:
        """Prepare.

        Args:
            wire: Connections; without functions or fences.
            prefix: Of all keys, `redis.prefix`.
        """
        self._wire = wire
        self._drift = f"{prefix}drift"
        self._fleet = f"{prefix}fleet"
        self._n_flushes = 0

    async def put_minutes(self, worker: str, model: str, minutes: Mapping[int, bytes], *, now_ms: int, gone: Iterable[int] = ()) -> None:
        """Write packed counters of minutes of event time (event_time_ms // 60000), and forget those of `gone`.

        Raises:
            Unavailable: Redis does not answer; perhaps something was written.
        """
        index = self._index(model, worker)
        await self._put(index, f"{index}:m:", minutes, keep_s=_MINUTES_S)
        await self._name(model, worker, now_ms)
        await self._forget(index, f"{index}:m:", list(gone))

    async def put_hours(self, worker: str, model: str, hours: Mapping[int, bytes], *, now_ms: int, gone: Iterable[int] = ()) -> None:
        """Write packed counters of hours of event time (event_time_ms // 3600000), and forget those of `gone`.

        Raises:
            Unavailable: Redis does not answer; perhaps something was written.
        """
        index = self._index(model, worker)
        await self._put(f"{index}:hours", f"{index}:h:", hours, keep_s=_HOURS_S)
        await self._name(model, worker, now_ms)
        await self._forget(f"{index}:hours", f"{index}:h:", list(gone))

    async def put_state(self, state: WorkerState) -> None:
        """Write what a worker says of itself; it holds for 60 s.

        Raises:
            Unavailable: Redis does not answer.
        """
        key = f"{self._fleet}:{state.worker}"
        await self._wire.run(
            [
                Call(key.encode(), (("SET", key, msgspec.json.encode(state), "EX", _STATE_S),)),
                Call(self._fleet.encode(), (
                    ("ZADD", self._fleet, state.at_ms, state.worker),
                    ("ZREMRANGEBYSCORE", self._fleet, "-inf", state.at_ms - _HOURS_S * 1000),
                    ("EXPIRE", self._fleet, _HOURS_S),
                )),
            ]
        )  # fmt: skip

    async def remove_state(self, worker: str) -> None:
        """Forget what a worker said: it ends on purpose. What it counted stays.

        Raises:
            Unavailable: Redis does not answer; it is forgotten after 60 s then.
        """
        key = f"{self._fleet}:{worker}"
        await self._wire.run([Call(key.encode(), (("UNLINK", key),)), Call(self._fleet.encode(), (("ZREM", self._fleet, worker),))])

    async def workers(self) -> list[WorkerState]:
        """Return the workers that were heard of in the last 60 s (of Redis' clock), by their start.

        A state that cannot be read, such as that of a newer version, is left out.

        Raises:
            Unavailable: Redis does not answer.
        """
        names = [name.decode() for name in await self._range(self._fleet, "-inf")]
        found = []
        for content in (await self._get([f"{self._fleet}:{name}" for name in names])).values():
            try:
                found.append(_decode_state(content))
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
        return sorted(found, key=lambda state: (state.started_ms, state.worker))

    async def counted(self) -> list[Counted]:
        """Return every model and worker whose counters may still be here, those of workers that have ended among them.

        Raises:
            Unavailable: Redis does not answer.
        """
        return [Counted(*name.decode().split(" ", 1)) for name in await self._range(self._drift, "-inf")]

    async def changed(self, model: str, worker: str, since: int) -> tuple[int, dict[int, bytes]]:
        """Return the minutes that changed after `since`, minute -> packed counters, and what to give as `since` next time.

        Args:
            model: `name@version`.
            worker: Its id.
            since: As the last call returned it; 0: all.

        Raises:
            Unavailable: Redis does not answer.
        """
        index = self._index(model, worker)
        return await self._changed(index, f"{index}:m:", since)

    async def hours(self, model: str, worker: str, since: int) -> tuple[int, dict[int, bytes]]:
        """Return the hours that changed after `since`; see `changed`."""
        index = self._index(model, worker)
        return await self._changed(f"{index}:hours", f"{index}:h:", since)

    def _index(self, model: str, worker: str) -> str:
        return f"{self._drift}:{model}:{worker}"

    async def _put(self, index: str, prefix: str, contents: Mapping[int, bytes], *, keep_s: int) -> None:
        """Write the contents, then their names: whoever finds a name finds at least that content."""
        if not contents:
            return
        keys = {f"{prefix}{span}": content for span, content in contents.items()}
        await self._run([Call(key.encode(), (("SET", key, content, "EX", keep_s),)) for key, content in keys.items()])
        self._n_flushes += 1
        changes: Command = ("ZADD", index, *(part for span in contents for part in (self._n_flushes, span)))
        commands = (
            changes, ("ZREMRANGEBYRANK", index, 0, -1 - _MOST_HOURS), ("EXPIRE", index, _HOURS_S),
        )  # fmt: skip
        await self._wire.run([Call(index.encode(), commands)])

    async def _forget(self, index: str, prefix: str, spans: Sequence[int]) -> None:
        """Remove names, then contents: the other way round a reader would look for what is not there."""
        if not spans:
            return
        await self._wire.run([Call(index.encode(), (("ZREM", index, *spans),))])
        await self._run([Call(key, (("UNLINK", key),)) for key in (f"{prefix}{span}".encode() for span in spans)])

    async def _name(self, model: str, worker: str, now_ms: int) -> None:
        commands = (
            ("ZADD", self._drift, now_ms, f"{model} {worker}"),
            ("ZREMRANGEBYSCORE", self._drift, "-inf", now_ms - _HOURS_S * 1000),
            ("EXPIRE", self._drift, _HOURS_S),
        )
        await self._wire.run([Call(self._drift.encode(), commands)])

    async def _changed(self, index: str, prefix: str, since: int) -> tuple[int, dict[int, bytes]]:
        found = await self._range(index, f"({since}", "WITHSCORES")
        # A list of pairs or a flat one: as the protocol's version has it.
        pairs = found if found and isinstance(found[0], list) else list(zip(found[::2], found[1::2], strict=True))
        contents = await self._get([f"{prefix}{int(span)}" for span, _ in pairs])
        newest = max((int(float(number)) for _, number in pairs), default=since)
        return newest, {int(key.removeprefix(prefix)): content for key, content in contents.items()}

    async def _range(self, key: str, start: str, *options: str) -> list[Any]:
        [[found]] = await self._wire.run([Call(key.encode(), (("ZRANGE", key, start, "+inf", "BYSCORE", *options),))])
        return list(found)

    async def _get(self, keys: list[str]) -> dict[str, bytes]:
        """Return what there is of the keys, key -> content."""
        answers = await self._run([Call(key.encode(), (("GET", key),)) for key in keys])
        return {key: content for key, [content] in zip(keys, answers, strict=True) if content is not None}

    async def _run(self, calls: list[Call]) -> list[list[Any]]:
        found: list[list[Any]] = []
        for first in range(0, len(calls), _BATCH):
            found += await self._wire.run(calls[first : first + _BATCH])
        return found
