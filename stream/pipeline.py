"""From a chunk of transactions to its answers: decode, observe, score, decide. Publishes nothing itself."""

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from domain.decision import FLAG_BITS, Alert, Flag, Outcome, Reason, Score, Tier, flag_names
from domain.errors import RejectedRecord
from domain.transaction import Transaction, decode_transaction
from features.batch import Batch, batch_of
from features.currency import Rates
from features.feature_row import FeatureRow, encode_row
from features.index import ANSWER, OUTCOME_CODES, TIER_CODES, FirstAnswer, decode_answer, split_answers
from features.layout import TRANSACTION
from features.store import Observed
from monitoring.metrics import Metrics
from stream.answered import Answered
from stream.control import CONTROL, Control, with_control
from stream.dead_letter import dead_letter
from stream.journal_ring import Answer
from stream.records import Answers, Committed, Message, Record, TopicPartition
from stream.scored import OnScored, Scored
from stream.sources import Sources

_SHARE_STEPS = 1 << 32
_encode = msgspec.json.Encoder().encode


#: Chunks whose answers are known here before the decision index tells them.
_RECENT_CHUNKS = 64
#: More than are ever answered and not yet published; what became void in between is forgotten.
_UNPUBLISHED_CHUNKS = 8


class Store(Protocol):
    """What observes transactions; see `features.store.FeatureStore`."""

    async def release(self, name: str) -> int:
        """Return the number of a release."""
        ...

    def blind(self, batch: Batch) -> NDArray[np.float32]:
        """Return vectors of the events alone."""
        ...

    def answered(self, claims: Sequence[bytes], sources: NDArray[np.int64], answers: Sequence[bytes]) -> None:
        """Note first answers."""
        ...

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


class Past(Protocol):
    """What was answered before; see `stream.positions.Positions`."""

    def is_answered(self, record: Record) -> bool:
        """Tell whether a record comes again only for the states' sake."""
        ...

    def recorded(self, record: Record) -> Answer | None:
        """Return the recorded answer of a record, None if there is none."""
        ...

    def applied(self, records: Sequence[Record]) -> None:
        """Note records as applied."""
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
        *, vector_share: float, reasons_budget_ms: float, past: Past | None = None, control: Control | None = None,
        on_scored: OnScored | None = None,
    ) -> None:  # fmt: skip
        self._past = past
        self._control = control or Control()
        self._on_scored = on_scored
        self._unpublished: deque[tuple[list[Message], Scored]] = deque(maxlen=_UNPUBLISHED_CHUNKS)
        self._store = store
        self._scorer = scorer
        self._sources = sources
        self._rates = rates
        self._topics = topics
        self._metrics = metrics
        self._logged_below = int(vector_share * _SHARE_STEPS)
        self._reasons_budget_ms = reasons_budget_ms
        self._releases: dict[str, int] = {}
        self._unapplied: dict[TopicPartition, dict[int, str]] = {}
        self._answered_elsewhere: dict[TopicPartition, int] = {}
        self._recent: deque[tuple[NDArray[np.int64], list[bytes]]] = deque(maxlen=_RECENT_CHUNKS)

    async def process(self, records: Sequence[Record]) -> Answers:
        """Remember the transactions of a chunk; return what computes its answers. The same records give the same answers.

        Raises:
            Unavailable: Nothing is answered yet; process the same records again, before anything later.
        """
        stages, began = self._metrics.stages, time.perf_counter()
        kept, transactions, messages = self._decode(records)
        if not kept:
            self._applied(records)
            return lambda: messages
        append_ms = [r.timestamp for r in kept]
        batch = batch_of(transactions, self._sources.of(kept), np.array(append_ms, np.int64), self._rates)
        stages["decode"].observe((now := time.perf_counter()) - began)
        scorer = self._scorer()
        release = _release(scorer)
        if release not in self._releases:
            self._releases[release] = await self._store.release(release)
        observe = await self._store.begin(batch, [t.transaction_id for t in transactions], append_ms)
        self._applied(records)
        stages["observe"].observe(time.perf_counter() - now)
        return lambda: self._finish(kept, transactions, batch, observe, scorer, messages)

    def _applied(self, records: Sequence[Record]) -> None:
        if self._past is not None:
            self._past.applied(records)

    def degraded(self, records: Sequence[Record]) -> list[Message]:
        """Answer records without any state and without applying them; see `stream.records.Degrade`.

        When they come again they are applied, and answered once more, as `restated`, only where the decision is another.
        """
        kept, transactions, messages = self._decode(records)
        outcomes = self._answer_blind(kept, transactions, messages) if kept else []
        for record in records:
            self._unapplied.setdefault(TopicPartition(record.topic, record.partition), {}).setdefault(record.offset, "")
        for record, outcome in zip(kept, outcomes, strict=True):
            self._unapplied[TopicPartition(record.topic, record.partition)][record.offset] = outcome
        return messages

    def _answer_blind(self, kept: Sequence[Record], transactions: Sequence[Transaction], messages: list[Message]) -> list[Outcome]:
        """Add the answers that are given without any state; return their outcomes."""
        scorer = self._scorer()
        batch = batch_of(transactions, np.zeros(len(kept), np.int64), np.array([r.timestamp for r in kept], np.int64), self._rates)
        vectors = self._store.blind(batch)
        scored = scorer.score(vectors, tier=Tier.DEGRADED)
        outcomes = scorer.decide(scored, Tier.DEGRADED)
        drawn = self._control.draw([t.transaction_id for t in transactions], scored, outcomes)
        flags = with_control(batch.flags | np.uint16(FLAG_BITS[Flag.DEGRADED]), drawn)
        answers = Answered(scored.tolist(), outcomes, flags.tolist(), [Tier.DEGRADED] * len(kept), {}, {}, drawn)
        alerted = [i for i, outcome in enumerate(outcomes) if outcome != "approve"]
        if alerted:
            answers.reasons.update(zip(alerted, scorer.reasons(vectors[alerted], budget_ms=self._reasons_budget_ms), strict=True))
        self._answer(kept, transactions, batch, Observed(vectors, np.empty((0, 0), np.int64), flags, {}, []), answers, scorer, messages)
        return outcomes

    def committed(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Forget the degraded answers below committed offsets."""
        for tp in self._unapplied.keys() & offsets.keys():
            self._unapplied[tp] = {offset: outcome for offset, outcome in self._unapplied[tp].items() if offset >= offsets[tp]}

    def _finish(
        self, kept: Sequence[Record], transactions: Sequence[Transaction], batch: Batch, observe: Callable[[], Observed],
        scorer: Scorer, messages: list[Message],
    ) -> list[Message]:  # fmt: skip
        stages, now = self._metrics.stages, time.perf_counter()
        observed = observe()
        stages["fold"].observe(-now + (now := time.perf_counter()))
        scored = scorer.score(observed.vectors)
        outcomes = scorer.decide(scored, Tier.FULL)
        drawn = self._control.draw([t.transaction_id for t in transactions], scored, outcomes)
        observed = observed._replace(flags=with_control(observed.flags, drawn))
        answers = Answered(scored.tolist(), outcomes, observed.flags.tolist(), [Tier.FULL] * len(outcomes), {}, {}, drawn)
        stages["score"].observe(-now + (now := time.perf_counter()))
        self._note(batch, observed, answers, self._releases[_release(scorer)])
        if observed.duplicates:
            self._repeat(observed, answers)
        alerted = [i for i, outcome in enumerate(outcomes) if outcome != "approve" and i not in observed.duplicates]
        if alerted:
            reasons = scorer.reasons(observed.vectors[alerted], budget_ms=self._reasons_budget_ms)
            answers.reasons.update(zip(alerted, reasons, strict=True))
        self._answer(kept, transactions, batch, observed, answers, scorer, messages)
        stages["decide"].observe(time.perf_counter() - now)
        return messages

    def _note(self, batch: Batch, observed: Observed, answers: Answered, release: int) -> None:
        """Remember the first answers, here and in the decision index, for duplicates that come later."""
        table = np.zeros(len(answers.outcomes), ANSWER)
        table["tier"] = TIER_CODES[Tier.FULL]
        table["outcome"] = [OUTCOME_CODES[outcome] for outcome in answers.outcomes]
        table["flags"], table["release"], table["probability"] = observed.flags, release, answers.probabilities
        sources, claims, content = batch.source, observed.claims, split_answers(table)
        if observed.duplicates:
            first = [i for i in range(len(claims)) if i not in observed.duplicates]
            sources, claims, content = sources[first], [claims[i] for i in first], [content[i] for i in first]
        self._store.answered(claims, sources, content)
        self._recent.append((sources, content))

    def _repeat(self, observed: Observed, answers: Answered) -> None:
        """Give duplicates the first answer, without another alert; where it is lost, they keep one without state."""
        for row, duplicate in observed.duplicates.items():
            first = duplicate.first.answer or self._recent_answer(duplicate.first.source)
            if first is None:
                answers.flags[row] |= FLAG_BITS[Flag.REPLAY_APPROX]
                continue
            answers.probabilities[row], answers.outcomes[row], answers.tiers[row] = first.probability, first.outcome, first.tier
            answers.flags[row] = first.flags | FLAG_BITS[Flag.DUPLICATE]
            self._control.draw_again(answers.drawn, row, first)
            if duplicate.release:
                answers.releases[row] = duplicate.release

    def _recent_answer(self, source: int) -> FirstAnswer | None:
        for sources, content in reversed(self._recent):
            found = np.flatnonzero(sources == source)
            if len(found):
                return decode_answer(content[found[0]])
        return None

    def _count(self, answers: Answered, again: Mapping[int, str]) -> None:
        """Count the answers of a chunk but for those rows that got no new one."""
        metrics, given = self._metrics, list(zip(answers.outcomes, answers.tiers, answers.flags, strict=True))
        metrics.transactions.inc(len(given))
        for how, n in Counter(again.values()).items():
            metrics.again[how].inc(n)
        if again:
            given = [each for i, each in enumerate(given) if again.get(i, "restated") == "restated"]
        for (outcome, tier, found), n in Counter(given).items():
            metrics.decisions[outcome, tier].inc(n)
            for flag in flag_names(found) if found else ():
                metrics.flags[Flag(flag)].inc(n)

    def _decode(self, records: Sequence[Record]) -> tuple[list[Record], list[Transaction], list[Message]]:
        kept: list[Record] = []
        transactions: list[Transaction] = []
        dead: list[Message] = []
        for record in records:
            try:
                transactions.append(decode_transaction(record.value))
            except RejectedRecord as error:
                if self._degraded_outcome(record) is not None:  # it is in the dead-letter topic already
                    continue
                dead.append(dead_letter(record, error, topic=self._topics.dead, now_ms=time.time_ns() // 1_000_000))
                self._metrics.dead_letters["transactions", type(error).__name__].inc()
            else:
                kept.append(record)
        return kept, transactions, dead

    def assigned(self, committed: Mapping[TopicPartition, Committed | None]) -> None:
        """Note what other workers answered in an outage, of the partitions assigned now."""
        found = {tp: each for tp, each in committed.items() if each is not None}
        self._unapplied = {tp: outcomes for tp, outcomes in self._unapplied.items() if tp in committed}
        self._answered_elsewhere = {tp: each.answered for tp, each in found.items() if each.answered > each.offset}

    def _degraded_outcome(self, record: Record) -> str | None:
        """Return how a record was answered in an outage ("": it was rejected, "?": not known here); None: it was not."""
        place = TopicPartition(record.topic, record.partition)
        found = self._unapplied.get(place, {}).get(record.offset)
        return "?" if found is None and record.offset < self._answered_elsewhere.get(place, 0) else found

    def _answer(
        self, records: Sequence[Record], transactions: Sequence[Transaction], batch: Batch, observed: Observed, answers: Answered,
        scorer: Scorer, messages: list[Message],
    ) -> None:  # fmt: skip
        topics, now_ms = self._topics, time.time_ns() // 1_000_000
        spec, reasons, releases, drawn, past = scorer.spec, answers.reasons, answers.releases, answers.drawn, self._past
        model, policy = _model_and_policy(_release(scorer))
        is_applied = observed.positions.size > 0
        positions, times = observed.positions.tolist(), batch.time_ms.tolist()
        vectors = observed.vectors.astype("<f4", copy=False).tobytes()
        width = observed.vectors.shape[1] * 4
        is_logged = (batch.source % _SHARE_STEPS * 2_654_435_761 % _SHARE_STEPS < self._logged_below).tolist()
        again: dict[int, str] = {}
        columns = zip(records, transactions, answers.probabilities, answers.outcomes, answers.flags, answers.tiers, strict=True)
        for i, (record, transaction, probability, outcome, flags, tier) in enumerate(columns):
            key, partition, offset = transaction.card_id.encode(), record.partition, record.offset
            by = (model, policy) if i not in releases else _model_and_policy(releases[i])
            if is_applied:
                vector = vectors[i * width : (i + 1) * width] if is_logged[i] and positions[i][0] >= 0 else b""
                place = tuple(positions[i])
                noted = flags & ~CONTROL  # a row says what was applied, whatever is drawn
                row = FeatureRow(transaction.transaction_id, TRANSACTION, noted, partition, offset, times[i], spec, place, vector)
                messages.append(Message(topics.features, key, encode_row(row), partition))
            if past is not None and is_applied:
                if past.is_answered(record):
                    again[i] = "applied"
                    continue
                if (recorded := past.recorded(record)) is not None:
                    again[i] = "repeated"
                    messages.append(Message(topics.scores, key, recorded.score, partition, (), offset))
                    if recorded.alert:
                        messages.append(Message(topics.alerts, key, recorded.alert, partition, (), offset))
                    continue
            degraded = self._degraded_outcome(record) if self._unapplied or self._answered_elsewhere else None
            if degraded is not None:
                if degraded == outcome or not is_applied:
                    again[i] = "applied" if is_applied else "pending"
                    continue
                again[i] = "restated"
                flags = answers.flags[i] = flags | FLAG_BITS[Flag.RESTATED]  # noqa: PLW2901 - of this answer alone
            score = Score(
                transaction_id=transaction.transaction_id, card_id=transaction.card_id, event_time_ms=times[i], scored_at_ms=now_ms,
                probability=probability, decision=outcome, tier=tier, flags=flag_names(flags) if flags else (),
                model=by[0], variant="champion", policy=by[1], spec=spec, source=(partition, offset),
                control=True if i in drawn else None, control_p=drawn.get(i),
            )  # fmt: skip
            messages.append(Message(topics.scores, key, _encode(score), partition, (), offset))
            if i in reasons:
                alert = Alert(
                    **msgspec.structs.asdict(score), amount_minor=transaction.amount_minor, currency=transaction.currency,
                    merchant_id=transaction.merchant_id, reasons=reasons[i], extra=transaction.extra,
                )  # fmt: skip
                messages.append(Message(topics.alerts, key, _encode(alert), partition, (), offset))
        self._count(answers, again)
        if self._on_scored is not None:
            others = again.keys() | observed.duplicates.keys()
            if len(others) < len(records):
                self._unpublished.append((messages, answers.scored(observed.vectors, batch.time_ms, model, others)))

    def published(self, messages: Sequence[Message]) -> None:
        """Tell of the first answers among the messages of a chunk, which were handed to the producer now."""
        for place, (waiting, first) in enumerate(self._unpublished):
            if waiting is messages and self._on_scored is not None:
                del self._unpublished[place]
                self._on_scored(first)
                return


def _release(scorer: Scorer) -> str:
    """Return what answers are given by: model and policy."""
    return f"{scorer.name}@{scorer.version} {scorer.policy_version}"


def _model_and_policy(release: str) -> tuple[str, str]:
    model, _, policy = release.rpartition(" ")
    return model, policy
