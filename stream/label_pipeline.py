"""From a chunk of labels to the state of their cards and merchants. Publishes nothing itself."""

import time
from collections.abc import Sequence
from typing import Protocol

from domain.decision import FLAG_BITS, Flag
from domain.errors import RejectedRecord, UnknownTransaction
from domain.label import Label, decode_label, not_later
from features.feature_row import FeatureRow, encode_row
from features.layout import FRAUD, FRAUD_UNDONE
from features.store import NOT_LATER, Credited
from monitoring.metrics import Metrics
from stream.dead_letter import dead_letter
from stream.pipeline import OutputTopics
from stream.records import Answers, Message, Record
from stream.sources import Sources


class LabelStore(Protocol):
    """What credits labels; see `features.store.FeatureStore`."""

    async def credit(
        self, transaction_ids: Sequence[str], sources: Sequence[int], label_ms: Sequence[int], is_fraud: Sequence[bool]
    ) -> list[Credited | None]:
        """Note labels and credit their change; None = unknown transaction; idempotent."""
        ...


class LabelPipeline:
    """Applies every label of a chunk, or sends it to the dead-letter topic."""

    def __init__(self, store: LabelStore, sources: Sources, spec: str, topics: OutputTopics, metrics: Metrics) -> None:
        self._store = store
        self._sources = sources
        self._spec = spec
        self._topics = topics
        self._metrics = metrics

    async def process(self, records: Sequence[Record]) -> Answers:
        """Apply the labels of a chunk; return what gives the feature rows of what changed, and the dead letters.

        Raises:
            Unavailable: Perhaps some labels are applied; process the same records again.
        """
        kept: list[tuple[Record, Label]] = []
        messages: list[Message] = []
        for record in records:
            try:
                kept.append((record, decode_label(record.value)))
            except RejectedRecord as error:
                messages.append(self._reject(record, error))
        if not kept:
            return lambda: messages
        credited = await self._store.credit(
            [label.transaction_id for _, label in kept],
            self._sources.of([record for record, _ in kept]).tolist(),
            [label.label_time_ms for _, label in kept],
            [label.is_fraud for _, label in kept],
        )
        for (record, label), found in zip(kept, credited, strict=True):
            if found is None:
                messages.append(self._reject(record, UnknownTransaction()))
            elif found.change == NOT_LATER:
                messages.append(self._reject(record, not_later(label.label_time_ms, found.entry.event_ms)))
            elif found.change:
                messages.append(self._row(record, label, found))
        self._metrics.labels.inc(len(kept))
        self._metrics.labels_applied.inc(sum(found is not None and found.change in (-1, 1) for found in credited))
        return lambda: messages

    def _row(self, record: Record, label: Label, found: Credited) -> Message:
        flags = 0 if found.is_exact else FLAG_BITS[Flag.REPLAY_APPROX]
        kind = FRAUD if found.change > 0 else FRAUD_UNDONE
        row = FeatureRow(
            label.transaction_id, kind, flags, record.partition, record.offset, found.entry.event_ms, self._spec, found.positions, b""
        )
        return Message(self._topics.features, (found.entry.entities[0] or "").encode(), encode_row(row), None)

    def _reject(self, record: Record, error: RejectedRecord) -> Message:
        self._metrics.dead_letters["labels", type(error).__name__].inc()
        return dead_letter(record, error, topic=self._topics.dead, now_ms=time.time_ns() // 1_000_000)
