"""From a chunk of transactions to its answers: decode, observe, score, decide. Publishes nothing itself."""

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from domain.decision import FLAG_BITS, Flag, Outcome, Reason, Tier, flag_names
from domain.errors import RejectedRecord
from domain.transaction import Transaction, decode_transaction
from features.batch import Batch, batch_of
from features.currency import Rates
from features.store import Observed
from monitoring.metrics import Metrics
from stream.answer_messages import AnswerMessages, Judgement, Past
from stream.answered import Answered
from stream.control import Control, with_control
from stream.dead_letter import dead_letter
from stream.first_answers import FirstAnswers, Index
from stream.judging import Judged, judge, reasons_of, releases_of
from stream.lineup import Lineup, release_of
from stream.records import Answers, Committed, Message, Record, TopicPartition
from stream.scored import OnScored, Scored
from stream.shedding import Shedding
from stream.sources import Sources
from stream.topics import OutputTopics
from stream.unapplied import Unapplied

#: More than are ever answered and not yet published; what became void in between is forgotten.
_UNPUBLISHED_CHUNKS = 8


class Store(Index, Protocol):
    """What observes transactions; see `features.store.FeatureStore`."""

    def blind(self, batch: Batch) -> NDArray[np.float32]:
        """Return vectors of the events alone."""
        ...

    async def begin(self, batch: Batch, transaction_ids: Sequence[str], append_ms: Sequence[int]) -> Callable[[], Observed]:
        """Remember each transaction; return what computes the vectors just before it. Idempotent."""
        ...


class _Chunk(NamedTuple):
    """Decoded transactions, and who answers them."""

    records: list[Record]
    transactions: list[Transaction]
    batch: Batch
    lineup: Lineup
    tier: Tier


class TransactionPipeline:
    """Answers every transaction of a chunk: a score (and an alert), or a dead letter.

    Guarantee: one lineup answers a chunk, the one in force when it began; every answer names what gave it.
    """

    def __init__(
        self, store: Store, lineup: Callable[[], Lineup], sources: Sources, rates: Rates, topics: OutputTopics, metrics: Metrics,
        *, vector_share: float, reasons_budget_ms: float, past: Past | None = None, control: Control | None = None,
        on_scored: OnScored | None = None, shedding: Shedding | None = None, say: Callable[[Reason], Reason] | None = None,
    ) -> None:  # fmt: skip
        self._shedding = shedding or Shedding(0)
        self._say = say
        self._past = past
        self._control = control or Control()
        self._on_scored = on_scored
        self._unpublished: deque[tuple[list[Message], list[Scored]]] = deque(maxlen=_UNPUBLISHED_CHUNKS)
        self._store = store
        self._lineup = lineup
        self._sources = sources
        self._rates = rates
        self._topics = topics
        self._metrics = metrics
        self._reasons_budget_ms = reasons_budget_ms
        self._unapplied = Unapplied()
        self._first = FirstAnswers(store, self._control)
        self._messages = AnswerMessages(topics, self._unapplied, past, vector_share=vector_share)

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
        is_late = self._shedding.begin(append_ms, time.time_ns() // 1_000_000)
        chunk = _Chunk(kept, transactions, batch, self._lineup(), Tier.SMALL if is_late else Tier.FULL)
        await self._first.prepare(chunk.lineup)
        observe = await self._store.begin(batch, [t.transaction_id for t in transactions], append_ms)
        self._applied(records)
        stages["observe"].observe(time.perf_counter() - now)
        return lambda: self._finish(chunk, observe, messages)

    async def prepare(self, lineup: Lineup) -> None:
        """Make ready for a lineup that answers from one of the next chunks on, so that this chunk does not wait.

        Raises:
            Unavailable: Prepare again.
        """
        await self._first.prepare(lineup)

    def _applied(self, records: Sequence[Record]) -> None:
        if self._past is not None:
            self._past.applied(records)

    def degraded(self, records: Sequence[Record]) -> list[Message]:
        """Answer records without any state and without applying them; see `stream.records.Degrade`.

        When they come again they are applied, and answered once more, as `restated`, only where the decision is another.
        """
        kept, transactions, messages = self._decode(records)
        outcomes = self._answer_blind(kept, transactions, messages) if kept else []
        self._unapplied.note(records, kept, outcomes)
        return messages

    def _answer_blind(self, kept: list[Record], transactions: list[Transaction], messages: list[Message]) -> list[Outcome]:
        """Add the answers that are given without any state, all by the champion; return their outcomes."""
        batch = batch_of(transactions, np.zeros(len(kept), np.int64), np.array([r.timestamp for r in kept], np.int64), self._rates)
        chunk = _Chunk(kept, transactions, batch, self._lineup()._replace(challenger=None), Tier.DEGRADED)
        flags = batch.flags | np.uint16(FLAG_BITS[Flag.DEGRADED])
        observed = Observed(self._store.blind(batch), np.empty((0, 0), np.int64), flags, {}, [])
        judged, observed, answers = self._judge(chunk, observed)
        self._explain(chunk, judged, observed, answers)
        self._answer(chunk, observed, answers, messages)
        return answers.outcomes

    def assigned(self, committed: Mapping[TopicPartition, Committed | None]) -> None:
        """Note what other workers answered in an outage, of the partitions assigned now."""
        self._unapplied.assigned(committed)

    def committed(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Forget the degraded answers below committed offsets."""
        self._unapplied.committed(offsets)

    def _finish(self, chunk: _Chunk, observe: Callable[[], Observed], messages: list[Message]) -> list[Message]:
        stages, now = self._metrics.stages, time.perf_counter()
        observed = observe()
        stages["fold"].observe(-now + (now := time.perf_counter()))
        judged, observed, answers = self._judge(chunk, observed)
        stages["score"].observe(-now + (now := time.perf_counter()))
        self._first.note(chunk.batch, observed, answers)
        if observed.duplicates:
            self._first.repeat(observed, answers)
        self._explain(chunk, judged, observed, answers)
        self._answer(chunk, observed, answers, messages)
        stages["decide"].observe(time.perf_counter() - now)
        return messages

    def _judge(self, chunk: _Chunk, observed: Observed) -> tuple[Judged, Observed, Answered]:
        """Score and decide; draw the control sample."""
        transactions, lineup = chunk.transactions, chunk.lineup
        judged = judge(lineup, chunk.batch.entities[0], observed.vectors, chunk.tier)
        drawn = self._control.draw([t.transaction_id for t in transactions], judged.probabilities, judged.outcomes)
        observed = observed._replace(flags=with_control(observed.flags, drawn))
        releases = releases_of(lineup, judged, chunk.batch, observed.vectors)
        answers = Answered(
            judged.probabilities.tolist(), judged.outcomes, observed.flags.tolist(), [chunk.tier] * len(transactions),
            release_of(lineup.champion), releases, {}, drawn, judged.shadows, judged.shadow_outcomes,
        )  # fmt: skip
        return judged, observed, answers

    def _explain(self, chunk: _Chunk, judged: Judged, observed: Observed, answers: Answered) -> None:
        """Find the reasons of those that become alerts."""
        alerted = [i for i, outcome in enumerate(judged.outcomes) if outcome != "approve" and i not in observed.duplicates]
        if alerted:
            # An answer without state is not recorded: asked again, in another chunk, it must have the same reasons, so none by the clock.
            budget_ms = 0.0 if chunk.tier is Tier.DEGRADED else self._reasons_budget_ms
            found = reasons_of(chunk.lineup, judged, observed.vectors, alerted, budget_ms=budget_ms)
            if self._say is not None:
                found = {row: tuple(map(self._say, reasons)) for row, reasons in found.items()}
            answers.reasons.update(found)

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
                if self._unapplied.outcome(record) is not None:  # it is in the dead-letter topic already
                    continue
                dead.append(dead_letter(record, error, topic=self._topics.dead, now_ms=time.time_ns() // 1_000_000))
                self._metrics.dead_letters["transactions", type(error).__name__].inc()
            else:
                kept.append(record)
        return kept, transactions, dead

    def _answer(self, chunk: _Chunk, observed: Observed, answers: Answered, messages: list[Message]) -> None:
        written = Judgement(chunk.records, chunk.transactions, chunk.batch, observed, answers, chunk.lineup.champion.spec)
        if observed.positions.size:
            messages += self._messages.rows(written)
        again = self._messages.answers(written, messages)
        self._count(answers, again)
        if self._on_scored is not None:
            others = again.keys() | observed.duplicates.keys()
            if len(others) < len(chunk.records):
                self._unpublished.append((messages, answers.scored(observed.vectors, chunk.batch.time_ms, others)))

    def published(self, messages: Sequence[Message]) -> None:
        """Tell of the first answers among the messages of a chunk, which were handed to the producer now."""
        for place, (waiting, first) in enumerate(self._unpublished):
            if waiting is messages and self._on_scored is not None:
                del self._unpublished[place]
                for scored in first:
                    self._on_scored(scored)
                return
