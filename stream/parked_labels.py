"""Tries parked labels again: credits those whose transaction has come, gives up those whose transaction cannot come any more."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Protocol

import structlog

from domain.errors import RejectedRecord, Unavailable, UnknownTransaction
from domain.label import Label, decode_label
from features.layout import OFFSET_BITS
from features.parked import CARRY, ELSEWHERE, SOURCE_NAME, UNKNOWN, Numbered, Parked, ParkedLabel
from features.store import Credited
from monitoring.metrics import Metrics
from stream.gate import Gate
from stream.label_pipeline import LabelAnswers
from stream.records import Message, TopicPartition
from stream.sources import SourceRegistry
from stream.topics import OutputTopics

_EVERY_S: Final = 1.0
_MOST_PER_ROUND: Final = 256

Publish = Callable[[Sequence[Message]], Awaitable[Awaitable[None]]]
"""Hands messages to the producer and returns an awaitable of their deliveries; `stream.publisher.Publisher.publish` is one."""
Horizon = Callable[[], Awaitable[int | None]]
"""Returns the least append time (ms) that every partition of transactions has passed; None while one is unknown."""
Replicated = Callable[[], Awaitable[None]]
"""Returns when all that was written so far is on the replicas it has to be on."""

log = structlog.get_logger("weir.parked_labels")


async def _at_once() -> None:
    """Wait for no replica."""


class NumberedLabelStore(Protocol):
    """What credits labels under other sources than their own; see `features.store.FeatureStore`."""

    async def credit(
        self,
        transaction_ids: Sequence[str],
        sources: Sequence[int],
        label_ms: Sequence[int],
        is_fraud: Sequence[bool],
        record_sources: Sequence[int] | None = None,
    ) -> list[Credited | None]:
        """Note labels under `sources`, append their records under `record_sources`; None = unknown transaction; idempotent."""
        ...


class ParkedLabels:
    """Sweeps the parked labels of the partitions that this worker owns.

    Guarantee: a label is forgotten only after it was credited or given up and what is published of it is delivered. Several
    workers may sweep a partition, and a sweep may end anywhere: each label counts once, as at its first time.
    """

    def __init__(
        self,
        parked: Parked,
        store: NumberedLabelStore,
        registry: SourceRegistry,
        spec: str,
        topics: OutputTopics,
        metrics: Metrics,
        horizon_ms: Horizon,
        *,
        labels_topic: str,
        replicated: Replicated = _at_once,
        gate: Gate | None = None,
        most_per_round: int = _MOST_PER_ROUND,
    ) -> None:
        """Prepare.

        Args:
            parked: Keeps the labels.
            store: Credits them.
            registry: Registers the source of a partition's parked labels.
            spec: Feature fingerprint.
            topics: Where answers go.
            metrics: Shows how many wait.
            horizon_ms: Transactions appended before it are in the decision index.
            labels_topic: Full name of the topic of labels.
            replicated: Waited for before numbers are used and before labels are forgotten.
            gate: Passed while a round goes on.
            most_per_round: Labels of a partition that one round looks at.
        """
        self._parked = parked
        self._store = store
        self._registry = registry
        self._answers = LabelAnswers(spec, topics, metrics)
        self._metrics = metrics
        self._horizon_ms = horizon_ms
        self._labels_topic = labels_topic
        self._replicated = replicated
        self._gate = gate or Gate()
        self._most = most_per_round
        self._source_ids: dict[int, int] = {}
        self._place: dict[int, int] = {}
        """Partition -> place among the waiting at which the next round goes on."""

    async def assign(self, topics: Mapping[str, str], partitions: Sequence[TopicPartition]) -> None:
        """Sweep the partitions of labels assigned now, and no other; an `OnAssigned`.

        Raises:
            Unavailable: Redis does not answer; assign again.
        """
        del topics  # parked labels outlive their topic: a topic made anew goes on with the same source
        mine = [p.partition for p in partitions if p.topic == self._labels_topic]
        self._source_ids = await self._registry.source_ids(SOURCE_NAME, mine) if mine else {}

    async def run(self, publish: Publish) -> None:
        """Sweep once a second until cancelled, at once again where more is to be done; Redis being away only delays it.

        Raises:
            DeliveryFailed: The broker did not confirm a message; nothing of the round is forgotten.
        """
        while True:
            n_done = 0
            try:
                async with self._gate.passing():
                    n_done = await self.sweep(publish)
            except Unavailable as error:
                log.warning("unavailable", what="parked labels", reason=str(error))
            if n_done < self._most:
                await asyncio.sleep(_EVERY_S)

    async def sweep(self, publish: Publish) -> int:
        """Do one round; return the number of labels dealt with.

        Raises:
            Unavailable: What was not forgotten is done again by the next round.
        """
        horizon_ms = await self._horizon_ms()  # before any look at the index: what came between is found there
        n_done, counts = 0, {}
        for partition, source_id in list(self._source_ids.items()):
            counts[partition] = n_parked = await self._parked.count(partition)
            if n_parked:
                n_dealt = await self._sweep(partition, source_id, horizon_ms, publish)
                counts[partition] -= n_dealt
                n_done += n_dealt
        self._metrics.set_parked(counts)
        return n_done

    async def _sweep(self, partition: int, source_id: int, horizon_ms: int | None, publish: Publish) -> int:
        due, rest = await self._look(partition, horizon_ms)
        known = await self._parked.known([*due, *rest])
        found = [label for label, is_known in zip([*due, *rest], known, strict=True) if is_known]
        numbered = await self._parked.number(partition, found, most=self._most)
        if numbered:  # a fate lies on another node: it must not name a number that a failover forgets, or nothing carries the label
            await self._replicated()
        messages, done = await self._carry(source_id << OFFSET_BITS, numbered)
        hopeless = [label for label, is_known in zip(due, known, strict=False) if not is_known]
        given_up = [label for label, is_gone in zip(hopeless, await self._parked.give_up(hopeless), strict=True) if is_gone]
        messages += [self._answers.rejected(label, UnknownTransaction()) for label in given_up]
        done += given_up
        if messages:
            await (await publish(messages))
        if done:
            await self._replicated()
            await self._parked.remove(partition, done)
        self._place[partition] = max(0, self._place[partition] - len(done))  # the others have moved up
        return len(done)

    async def _look(self, partition: int, horizon_ms: int | None) -> tuple[list[ParkedLabel], list[ParkedLabel]]:
        """Return labels whose transaction cannot come any more, and some of the others, in turn."""
        due = [] if horizon_ms is None else await self._parked.waiting(partition, before_ms=horizon_ms, start=0, most=self._most)
        n_more = self._most - len(due)
        start = max(self._place.get(partition, 0), len(due))
        rest = await self._parked.waiting(partition, before_ms=None, start=start, most=n_more) if n_more else []
        self._place[partition] = start + len(rest) if len(rest) == n_more else 0
        seen = {label.source for label in due}
        return due, [label for label in rest if label.source not in seen]

    async def _carry(self, source: int, numbered: Sequence[Numbered]) -> tuple[list[Message], list[ParkedLabel]]:
        """Credit numbered labels in the order of their numbers; return what to publish, and which are dealt with."""
        messages: list[Message] = []
        done: list[ParkedLabel] = []
        carried: list[tuple[int, ParkedLabel, Label]] = []
        for (number, label), fate in zip(numbered, await self._parked.carry(numbered), strict=True):
            if fate == UNKNOWN and not all(await self._parked.give_up([label])):
                break  # it has come back this moment: nothing with a greater number may go before it
            done.append(label)
            if fate == CARRY:
                try:
                    carried.append((number, label, decode_label(label.value)))
                except RejectedRecord as error:
                    messages.append(self._answers.rejected(label, error))
            elif fate != ELSEWHERE:
                messages.append(self._answers.rejected(label, UnknownTransaction()))
        if carried:
            found = await self._store.credit(
                [label.transaction_id for _, _, label in carried],
                [parked.source for _, parked, _ in carried],
                [label.label_time_ms for _, _, label in carried],
                [label.is_fraud for _, _, label in carried],
                [source | number for number, _, _ in carried],
            )
            for (_, parked, said), each in zip(carried, found, strict=True):
                messages += self._answers.credited(parked, said, each)
        return messages, done
