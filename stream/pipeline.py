"""From a chunk of transactions to its answers: decode, observe, score, decide. Publishes nothing itself."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from domain.decision import FLAG_BITS, Alert, Outcome, Reason, Score, Tier, flag_names
from domain.errors import RejectedRecord
from domain.transaction import Transaction, decode_transaction
from features.batch import Batch, batch_of
from features.currency import Rates
from features.feature_row import FeatureRow, encode_row
from features.layout import TRANSACTION
from features.store import Observed
from monitoring.metrics import Metrics
from stream.dead_letter import dead_letter
from stream.records import Answers, Message, Record
from stream.sources import Sources

_SHARE_STEPS = 1 << 32
_encode = msgspec.json.Encoder().encode


class Store(Protocol):
    """What observes transactions; see `features.store.FeatureStore`."""

    async def begin(self, batch: Batch, transaction_ids: Sequence[str], append_ms: Sequence[int]) -> Callable[[], Observed]:
        """Remember each transaction; return what computes the vectors just before it. Idempotent."""
        ...


class Scorer(Protocol):
    """What scores vectors; see `models.scorer.Scorer`."""

    @property
    def name(self) -> str: ...  # noqa: D102 - of the model

    @property
    def version(self) -> str: ...  # noqa: D102 - of the model

    @property
    def spec(self) -> str:
        """Feature fingerprint."""
        ...

    @property
    def policy_version(self) -> str:
        """Version of the policy that decides."""
        ...

    def score(self, vectors: NDArray[np.float32], *, tier: Tier = Tier.FULL) -> NDArray[np.float64]:
        """Return calibrated probabilities, (n,)."""
        ...

    def decide(self, probabilities: NDArray[np.float64], tier: Tier) -> list[Outcome]:
        """Return the outcome of each."""
        ...

    def reasons(self, vectors: NDArray[np.float32], *, budget_ms: float) -> list[tuple[Reason, ...]]:
        """Return the reasons of alerts."""
        ...


class OutputTopics(NamedTuple):
    """Full names of the topics that answers go to."""

    scores: str
    alerts: str
    features: str
    dead: str


class TransactionPipeline:
    """Answers every transaction of a chunk: a score (and an alert), or a dead letter."""

    def __init__(
        self, store: Store, scorer: Callable[[], Scorer], sources: Sources, rates: Rates, topics: OutputTopics, metrics: Metrics,
        *, vector_share: float = 1.0, reasons_budget_ms: float = 20.0,
    ) -> None:  # fmt: skip
        self._store = store
        self._scorer = scorer
        self._sources = sources
        self._rates = rates
        self._topics = topics
        self._metrics = metrics
        self._logged_below = int(vector_share * _SHARE_STEPS)
        self._reasons_budget_ms = reasons_budget_ms

    async def process(self, records: Sequence[Record]) -> Answers:
        """Remember the transactions of a chunk; return what computes its answers. The same records give the same answers.

        Raises:
            Unavailable: Nothing is answered yet; process the same records again, before anything later.
        """
        stages, began = self._metrics.stages, time.perf_counter()
        kept, transactions, messages = self._decode(records)
        if not kept:
            return lambda: messages
        append_ms = [r.timestamp for r in kept]
        batch = batch_of(transactions, self._sources.of(kept), np.array(append_ms, np.int64), self._rates)
        stages["decode"].observe((now := time.perf_counter()) - began)
        observe = await self._store.begin(batch, [t.transaction_id for t in transactions], append_ms)
        stages["observe"].observe(time.perf_counter() - now)
        return lambda: self._finish(kept, transactions, batch, observe, messages)

    def _finish(
        self, kept: Sequence[Record], transactions: Sequence[Transaction], batch: Batch, observe: Callable[[], Observed],
        messages: list[Message],
    ) -> list[Message]:  # fmt: skip
        stages, now = self._metrics.stages, time.perf_counter()
        scorer = self._scorer()
        observed = observe()
        stages["fold"].observe(-now + (now := time.perf_counter()))
        probabilities = scorer.score(observed.vectors)
        outcomes = scorer.decide(probabilities, Tier.FULL)
        stages["score"].observe(-now + (now := time.perf_counter()))
        alerted = [i for i, outcome in enumerate(outcomes) if outcome != "approve"]
        reasons = scorer.reasons(observed.vectors[alerted], budget_ms=self._reasons_budget_ms) if alerted else []
        self._answer(
            kept,
            transactions,
            batch,
            observed,
            probabilities.tolist(),
            outcomes,
            dict(zip(alerted, reasons, strict=True)),
            scorer,
            messages,
        )
        stages["decide"].observe(time.perf_counter() - now)
        self._count(outcomes, observed.flags)
        return messages

    def _count(self, outcomes: Sequence[Outcome], flags: NDArray[np.uint16]) -> None:
        metrics = self._metrics
        metrics.transactions.inc(len(outcomes))
        for outcome, n in Counter(outcomes).items():
            metrics.decisions[outcome, Tier.FULL].inc(n)
        if flags.any():
            for flag, bit in FLAG_BITS.items():
                metrics.flags[flag].inc(int(np.count_nonzero(flags & bit)))

    def _decode(self, records: Sequence[Record]) -> tuple[list[Record], list[Transaction], list[Message]]:
        kept: list[Record] = []
        transactions: list[Transaction] = []
        dead: list[Message] = []
        for record in records:
            try:
                transactions.append(decode_transaction(record.value))
            except RejectedRecord as error:
                dead.append(dead_letter(record, error, topic=self._topics.dead, now_ms=time.time_ns() // 1_000_000))
                self._metrics.dead_letters["transactions", type(error).__name__].inc()
            else:
                kept.append(record)
        return kept, transactions, dead

    def _answer(
        self, records: Sequence[Record], transactions: Sequence[Transaction], batch: Batch, observed: Observed,
        probabilities: Sequence[float], outcomes: Sequence[Outcome], reasons: dict[int, tuple[Reason, ...]], scorer: Scorer,
        messages: list[Message],
    ) -> None:  # fmt: skip
        topics, now_ms = self._topics, time.time_ns() // 1_000_000
        model, spec, policy = f"{scorer.name}@{scorer.version}", scorer.spec, scorer.policy_version
        positions, flags, times = observed.positions.tolist(), observed.flags.tolist(), batch.time_ms.tolist()
        vectors = observed.vectors.astype("<f4", copy=False).tobytes()
        width = observed.vectors.shape[1] * 4
        is_logged = (batch.source % _SHARE_STEPS * 2_654_435_761 % _SHARE_STEPS < self._logged_below).tolist()
        for i, (record, transaction) in enumerate(zip(records, transactions, strict=True)):
            key, partition = transaction.card_id.encode(), record.partition
            score = Score(
                transaction_id=transaction.transaction_id, card_id=transaction.card_id, event_time_ms=times[i], scored_at_ms=now_ms,
                probability=probabilities[i], decision=outcomes[i], tier=Tier.FULL, flags=flag_names(flags[i]) if flags[i] else (),
                model=model, variant="champion", policy=policy, spec=spec, source=(partition, record.offset),
            )  # fmt: skip
            messages.append(Message(topics.scores, key, _encode(score), partition))
            if i in reasons:
                alert = Alert(
                    **msgspec.structs.asdict(score), amount_minor=transaction.amount_minor, currency=transaction.currency,
                    merchant_id=transaction.merchant_id, reasons=reasons[i], extra=transaction.extra,
                )  # fmt: skip
                messages.append(Message(topics.alerts, key, _encode(alert), partition))
            vector = vectors[i * width : (i + 1) * width] if is_logged[i] else b""
            row = FeatureRow(
                transaction.transaction_id, TRANSACTION, flags[i], partition, record.offset, times[i], spec, tuple(positions[i]), vector
            )
            messages.append(Message(topics.features, key, encode_row(row), partition))
