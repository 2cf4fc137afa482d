"""The right to act on dead letters: one run at a time, and nothing that it did is in doubt afterwards."""

import os
import socket
import time
from collections.abc import Sequence
from typing import Final, NamedTuple, Self

import msgspec

from domain.dead_letter_action import DeadLetterAction, DeadLetterTurn
from domain.errors import ConfigError
from service.dead_letter_log import LEASE_MS, PARTITION, DeadLetterLog, Turn, action_key, turn_key
from service.placed_sending import PlacedSender
from service.times import format_time, now_ms
from stream.records import Message

#: A run whose own record is older than this says again that it is there before it acts.
_FRESH_S: Final = LEASE_MS / 1000 / 4


class Who(NamedTuple):
    """Who acts."""

    user: str
    host: str
    process: int
    run: str

    @classmethod
    def here(cls, run: str) -> Self:
        """Return the user of the operating system, this host and this process."""
        return cls(_user(), socket.gethostname(), os.getpid(), run)


class DeadLetterTurns:
    """A run's turn: taken by a record on `control.v1`, renewed by the next ones, given back by an empty one.

    The turn is lost if nothing is appended for `LEASE_MS` and somebody else takes it. Its records say what may be sent
    next and where to look for it, so that the next run can tell what a run that died had sent.
    """

    def __init__(self, log: DeadLetterLog, sender: PlacedSender, who: Who) -> None:
        self._log = log
        self._sender = sender
        self._who = who
        self._renewed_s = 0.0

    async def take(self) -> None:
        """Take the turn; the log's state is up to date then.

        Raises:
            ConfigError: Somebody else has it.
            Unavailable: Kafka does not answer.
        """
        state = await self._log.refresh()
        holder = state.turns.get(state.holder or "")
        takes_over = holder.record.run if holder is not None and self._is_dead(holder.record) else ""
        await self._append(self._record(takes_over=takes_over))
        if self._log.state.holder != self._who.run:
            await self.release()
            raise self._taken()

    async def announce(self, sending: Sequence[tuple[str, str]] = (), ends: Sequence[tuple[str, int, int]] = ()) -> None:
        """Renew the turn and say what may be sent until the next call; the log's state is up to date then.

        Args:
            sending: Origin and reason of each dead letter.
            ends: Topic, partition and a place at or before its present end.

        Raises:
            ConfigError: The turn was lost; nothing of `sending` may be sent.
            Unavailable: Kafka does not answer.
        """
        await self._append(self._record(sending=tuple(sending), ends=tuple(ends)))
        if self._log.state.holder != self._who.run:
            raise self._taken()

    async def keep(self) -> None:
        """Renew the turn if its time is a quarter over. Call it before anything that must not be done twice.

        Raises:
            ConfigError: The turn was lost.
            Unavailable: Kafka does not answer.
        """
        if not self.is_fresh():
            await self.announce()

    def is_fresh(self) -> bool:
        """Tell whether at least three quarters of the turn's time are left."""
        return time.monotonic() - self._renewed_s < _FRESH_S

    async def write(self, actions: Sequence[DeadLetterAction]) -> None:
        """Append audit lines.

        Raises:
            Unavailable: The broker did not confirm one of them.
        """
        await self._sender.send([Message(self._log.topic, action_key(a), msgspec.json.encode(a), PARTITION) for a in actions])

    async def release(self, run: str | None = None) -> None:
        """Give the turn back; with `run`: say that nothing of that run is in doubt any more."""
        await self._sender.send([Message(self._log.topic, turn_key(run or self._who.run), None, PARTITION)])

    def interrupted(self) -> list[Turn]:
        """Return the turns of runs that died, oldest first."""
        return sorted((t for run, t in self._log.state.turns.items() if run != self._who.run), key=lambda turn: turn.append_ms)

    def _record(
        self, *, takes_over: str = "", sending: tuple[tuple[str, str], ...] = (), ends: tuple[tuple[str, int, int], ...] = ()
    ) -> DeadLetterTurn:
        user, host, process, run = self._who
        return DeadLetterTurn(
            run=run, user=user, host=host, process=process, time_ms=now_ms(), takes_over=takes_over, sending=sending, ends=ends
        )

    async def _append(self, record: DeadLetterTurn) -> None:
        began_s = time.monotonic()
        message = Message(self._log.topic, turn_key(record.run), msgspec.json.encode(record), PARTITION)
        (offset,) = await self._sender.send([message])
        if offset is None:
            raise ConfigError(f"topic {self._log.topic} takes no record of {len(message.value or b'')} bytes; see: weir topics check")
        await self._log.refresh(at_least=offset + 1)
        self._renewed_s = began_s

    def _is_dead(self, record: DeadLetterTurn) -> bool:
        if record.host != self._who.host:
            return False
        try:
            os.kill(record.process, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return record.process == self._who.process

    def _taken(self) -> ConfigError:
        state = self._log.state
        if (holder := state.turns.get(state.holder or "")) is None:
            return ConfigError("another run handled dead letters meanwhile; nothing more was done, start again")
        record = holder.record
        return ConfigError(
            f"{record.user} handles dead letters now (on {record.host}, process {record.process}); "
            f"try again when that has ended; if it died, after {format_time(state.until_ms)}"
        )


def _user() -> str:
    """Return the name that the operating system knows for this process; its number if there is none (in a container)."""
    try:
        import pwd
    except ImportError:  # not on Windows
        import getpass

        return getpass.getuser()
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
