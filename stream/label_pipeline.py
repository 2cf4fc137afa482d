"""From a chunk of labels to the state of their cards and merchants. Publishes nothing itself."""

import time
from collections.abc import Sequence
from typing import Protocol

from domain.decision import FLAG_BITS, Flag
from domain.errors import RejectedRecord, UnknownTransaction
from domain.label import Label, decode_label, not_later
from features.feature_row import FeatureRow, encode_row
from features.layout import FRAUD, FRAUD_UNDONE
from features.log import NOT_LATER
from features.parked import APPLY, WAIT, Parked, ParkedLabel
from features.store import Credited
from monitoring.metrics import Metrics
from stream.dead_letter import dead_letter
from stream.records import Answers, Message, Record
from stream.sources import Sources
from stream.topics import OutputTopics


class LabelStore(Protocol):
    """What credits labels; see `features.store.FeatureStore`."""

    async def credit(
        self, transaction_ids: Sequence[str], sources: Sequence[int], label_ms: Sequence[int], is_fraud: Sequence[bool]
    ) -> list[Credited | None]:
        """Note labels and credit their change; None = unknown transaction; idempotent."""
        ...


class LabelAnswers:
    """What is published of a label, whether it was applied at once or waited before; counts it."""

    def __init__(self, spec: str, topics: OutputTopics, metrics: Metrics) -> None:
        self._spec = spec
        self._topics = topics
        self._metrics = metrics

    def credited(self, record: Record, label: Label, found: Credited | None) -> list[Message]:
        """Return the feature row of a label that changed something, nothing for one that did not, or a dead letter."""
        if found is None:
            return [self.rejected(record, UnknownTransaction())]
        if found.change == NOT_LATER:
            return [self.rejected(record, not_later(label.label_time_ms, found.entry.event_ms))]
        if not found.change:
            return []
        self._metrics.labels_applied.inc()
        self._metrics.label_delay.observe((label.label_time_ms - found.entry.event_ms) / 1000)
        flags = 0 if found.is_exact else FLAG_BITS[Flag.REPLAY_APPROX]
        kind = FRAUD if found.change > 0 else FRAUD_UNDONE
        row = FeatureRow(
            label.transaction_id, kind, flags, record.partition, record.offset, found.entry.event_ms, self._spec, found.positions, b""
        )
        return [Message(self._topics.features, (found.entry.entities[0] or "").encode(), encode_row(row), None)]

    def rejected(self, record: Record, error: RejectedRecord) -> Message:
        """Return the dead letter of a label."""
        self._metrics.dead_letters["labels", type(error).__name__].inc()
        return dead_letter(record, error, topic=self._topics.dead, now_ms=time.time_ns() // 1_000_000)


class LabelPipeline:
    """Applies every label of a chunk, lets it wait for its transaction, or sends it to the dead-letter topic."""

    def __init__(self, store: LabelStore, sources: Sources, spec: str, topics: OutputTopics, metrics: Metrics, parked: Parked) -> None:
        """Prepare.

        Args:
            store: Credits labels.
            sources: Ids of the partitions of labels.
            spec: Feature fingerprint.
            topics: Where answers go.
            metrics: Counts labels.
            parked: Keeps labels that wait for their transaction.
        """
        self._store = store
        self._sources = sources
        self._answers = LabelAnswers(spec, topics, metrics)
        self._metrics = metrics
        self._parked = parked

    async def process(self, records: Sequence[Record]) -> Answers:
        """Apply the labels of a chunk; return what gives the feature rows of what changed, and the dead letters.

        Labels whose transaction is not known yet are parked for good before this returns.

        Raises:
            Unavailable: Perhaps some labels are applied or parked; process the same records again, before anything later.
        """
        kept: list[tuple[Record, Label]] = []
        messages: list[Message] = []
        for record in records:
            try:
                kept.append((record, decode_label(record.value)))
            except RejectedRecord as error:
                messages.append(self._answers.rejected(record, error))
        if kept:
            messages += await self._apply(kept)
            self._metrics.labels.inc(len(kept))
        return lambda: messages

    async def _apply(self, kept: Sequence[tuple[Record, Label]]) -> list[Message]:
        """Credit what can be credited. Which labels wait is decided before, so that it is the same when they come again."""
        sources: list[int] = self._sources.of([record for record, _ in kept]).tolist()
        fates = await self._parked.divert([label.transaction_id for _, label in kept], sources)
        await self._parked.put([_parked(*kept[i], sources[i]) for i, fate in enumerate(fates) if fate == WAIT])
        rows = [i for i, fate in enumerate(fates) if fate == APPLY]
        if not rows:
            return []
        labels = [kept[i][1] for i in rows]
        found = await self._store.credit(
            [label.transaction_id for label in labels],
            [sources[i] for i in rows],
            [label.label_time_ms for label in labels],
            [label.is_fraud for label in labels],
        )
        return [message for i, each in zip(rows, found, strict=True) for message in self._answers.credited(*kept[i], each)]


def _parked(record: Record, label: Label, source: int) -> ParkedLabel:
    return ParkedLabel(
        source, label.transaction_id, record.topic, record.partition, record.offset, record.timestamp, record.key, record.value,
        tuple(record.headers),
    )  # fmt: skip
