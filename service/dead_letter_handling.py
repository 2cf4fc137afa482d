"""Replay or discard dead letters, each with an audit line, none of them twice as far as that can be known."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Final

from domain.dead_letter_action import Action, DeadLetterAction
from service.dead_letter_log import LEASE_MS, DeadLetterLog, Turn
from service.dead_letter_turn import DeadLetterTurns, Who
from service.dead_letter_verdict import Rules, Step, home, refusal, replayed_message
from service.dead_letters import DeadLetter, Selection, Stretch, read
from service.partition_reading import PartitionReader
from service.placed_sending import PlacedSender
from service.times import now_ms
from stream.connection import KafkaConnection
from stream.dead_letter import replayed

#: Letters and bytes sent between two announcements.
_BATCH: Final = 250
_BATCH_BYTES: Final = 4 * 1024 * 1024
#: Of a reason, in an announcement; it must fit into a record.
_LONGEST_REASON: Final = 300
_TOO_LARGE: Final = "its topic takes no record so large (two headers are added); raise the topic's max.message.bytes"

OnSteps = Callable[[Sequence[Step]], None]


class DeadLetterHandling:
    """Walks through selected dead letters and acts on them; for one run."""

    def __init__(self, connection: KafkaConnection, reader: PartitionReader, log: DeadLetterLog, *, rules: Rules) -> None:
        """Prepare.

        Args:
            connection: Where.
            reader: Connected; of no one else meanwhile.
            log: With a connected reader of its own.
            rules: What a replay may do.
        """
        self._connection = connection
        self._reader = reader
        self._log = log
        self._rules = rules
        self._n_partitions: dict[str, int] = {}

    async def plan(
        self, parts: Sequence[Stretch], selection: Selection, *, action: Action, limit: int | None = None
    ) -> AsyncGenerator[list[Step]]:
        """Yield what would become of the selected letters by the log's state, some at a time, in the order of their places.

        Letters that are handled already are left out, unless `selection` names places.

        Args:
            parts: From `service.dead_letters.stretches`.
            selection: Which letters.
            action: What is to be done.
            limit: Stop after so many that are not refused.
        """
        n_left = limit
        async with aclosing(read(self._reader, parts, selection)) as found:
            async for letters in found:
                steps = []
                for letter in letters:
                    step = await self._step(letter, action, is_named=bool(selection.places))
                    if step is None:
                        continue
                    if step.refusal is None and n_left is not None:
                        if n_left == 0:
                            break
                        n_left -= 1
                    steps.append(step)
                if steps:
                    yield steps
                if n_left == 0:
                    return

    async def replay(
        self, parts: Sequence[Stretch], selection: Selection, who: Who, *, limit: int | None, on_steps: OnSteps, stop: asyncio.Event
    ) -> None:
        """Send the selected letters' records back to their topics.

        Each batch is announced before it is sent, and each letter of it gets its audit line after; what a run that died in
        between had sent is found by its announcement and gets its line first.

        Args:
            parts: From `service.dead_letters.stretches`.
            selection: Which letters.
            who: Who does it.
            limit: Stop after so many.
            on_steps: Told of letters that are done or refused.
            stop: Ends it after the batch at hand.

        Raises:
            ConfigError: Somebody else acts on dead letters, or a topic is missing.
            Unavailable: Kafka does not answer; start again, what was sent is recognised.
        """
        async with PlacedSender(self._connection) as sender:
            turns = DeadLetterTurns(self._log, sender, who)
            await turns.take()
            await self._recover(turns)
            async with aclosing(self.plan(parts, selection, action="replayed", limit=limit)) as planned:
                async for steps in planned:
                    on_steps([step for step in steps if step.refusal is not None])
                    for batch in _batches([step for step in steps if step.refusal is None]):
                        on_steps(await self._send(batch, turns, sender, who))
                        if stop.is_set():
                            break
                    if stop.is_set():
                        break
            await turns.release()

    async def discard(
        self, parts: Sequence[Stretch], selection: Selection, who: Who, *, reason: str, limit: int | None, on_steps: OnSteps,
        stop: asyncio.Event,
    ) -> None:  # fmt: skip
        """Mark the selected letters as handled; arguments and errors as of `replay`."""
        async with PlacedSender(self._connection) as sender:
            turns = DeadLetterTurns(self._log, sender, who)
            await turns.take()
            await self._recover(turns)
            async with aclosing(self.plan(parts, selection, action="discarded", limit=limit)) as planned:
                async for steps in planned:
                    await turns.keep()
                    done = [step for step in steps if step.refusal is None]
                    await turns.write([_action(step.letter, who, "discarded", reason) for step in done])
                    on_steps(steps)
                    if stop.is_set():
                        break
            await turns.release()

    async def _step(self, letter: DeadLetter, action: Action, *, is_named: bool) -> Step | None:
        handled = self._log.state.handled.get(letter.origin)
        if handled is not None and not is_named:
            return None
        if action == "discarded":
            return Step(letter, None if handled is None or handled.action == "replayed" else f"already {handled}")
        if (why := refusal(letter, handled, self._rules)) is not None:
            return Step(letter, why)
        topic = home(letter, self._connection)
        if topic not in self._n_partitions:
            self._n_partitions[topic] = len(await self._reader.partitions(topic))
        return Step(letter, None, replayed_message(letter, topic, self._n_partitions[topic]))

    async def _send(self, batch: Sequence[Step], turns: DeadLetterTurns, sender: PlacedSender, who: Who) -> list[Step]:
        """Announce, send, write the audit lines; return what became of each letter."""
        places = sorted({(m.topic, m.partition) for _, _, m, _ in batch if m is not None and m.partition is not None})
        ends = [(topic, partition, (await self._reader.bounds(topic, partition))[1]) for topic, partition in places]
        before = [self._log.state.handled.get(step.letter.origin) for step in batch]
        sending = [(step.letter.origin, step.letter.reason[:_LONGEST_REASON]) for step in batch]
        await turns.announce(sending, ends)
        while not turns.is_fresh():  # this process stood still since: somebody else may have had a turn
            await turns.announce(sending, ends)
        after = [self._log.state.handled.get(step.letter.origin) for step in batch]
        late = [step._replace(refusal=f"already {now}") for step, then, now in zip(batch, before, after, strict=True) if now != then]
        batch = [step for step, then, now in zip(batch, before, after, strict=True) if now == then]
        offsets = await sender.send([step.message for step in batch if step.message is not None])
        done = [step._replace(offset=offset) for step, offset in zip(batch, offsets, strict=True)]
        await turns.write([_action(s.letter, who, "replayed", s.letter.reason, to=s) for s in done if s.offset is not None])
        return late + [s if s.offset is not None else s._replace(refusal=_TOO_LARGE) for s in done]

    async def _recover(self, turns: DeadLetterTurns) -> None:
        """Write the audit lines that runs which died had no time for."""
        for turn in turns.interrupted():
            for topic, partition, begin in turn.record.ends:
                await self._recover_from(turn, topic, partition, begin, turns)
            await turns.release(turn.record.run)

    async def _recover_from(self, turn: Turn, topic: str, partition: int, begin: int, turns: DeadLetterTurns) -> None:
        reasons = dict(turn.record.sending)
        oldest, end = await self._reader.bounds(topic, partition)
        after = await self._reader.offset_at(topic, partition, turn.append_ms + LEASE_MS)
        end = end if after is None else min(end, after)
        async for records in self._reader.records(topic, partition, max(begin, oldest), end):
            await turns.keep()
            lines = []
            for record in records:
                tried, origin = replayed(record.headers)
                known = self._log.state.handled.get(origin or "")
                place = (record.topic, record.partition, record.offset)
                if origin in reasons and (known is None or known.to != place):
                    lines.append(_recovered(turn, origin, reasons[origin], attempt=tried + 1, to=place))
            if lines:
                await turns.write(lines)
                await self._log.refresh()


def _batches(steps: Sequence[Step]) -> list[list[Step]]:
    """Return `steps` cut into batches of at most _BATCH letters, and of at most _BATCH_BYTES unless a letter is larger."""
    batches: list[list[Step]] = []
    n_bytes = 0
    for step in steps:
        size = len(step.letter.value or b"")
        if not batches or len(batches[-1]) == _BATCH or n_bytes + size > _BATCH_BYTES:
            batches.append([])
            n_bytes = 0
        batches[-1].append(step)
        n_bytes += size
    return batches


def _action(letter: DeadLetter, who: Who, action: Action, reason: str, *, to: Step | None = None) -> DeadLetterAction:
    place, message = letter.place, None if to is None else to.message
    return DeadLetterAction(
        action=action, topic=place.topic, partition=place.partition, offset=place.offset, append_ms=letter.append_ms,
        user=who.user, host=who.host, time_ms=now_ms(), run=who.run, reason=reason,
        attempt=None if to is None else letter.attempts + 1,
        to_topic=None if message is None else message.topic,
        to_partition=None if message is None else message.partition,
        to_offset=None if to is None else to.offset,
    )  # fmt: skip


def _recovered(turn: Turn, origin: str, reason: str, *, attempt: int, to: tuple[str, int, int]) -> DeadLetterAction:
    place, _, append_ms = origin.rpartition("@")
    topic, partition, offset = place.rsplit(":", 2)
    record = turn.record
    return DeadLetterAction(
        action="replayed", topic=topic, partition=int(partition), offset=int(offset), append_ms=int(append_ms),
        user=record.user, host=record.host, time_ms=record.time_ms, run=record.run, reason=reason,
        attempt=attempt, to_topic=to[0], to_partition=to[1], to_offset=to[2], is_recovered=True,
    )  # fmt: skip
