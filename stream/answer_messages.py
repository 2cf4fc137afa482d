"""From the answers of a chunk to messages: feature rows, scores and alerts; nothing is answered twice without need."""

import time
from collections.abc import Sequence
from functools import partial
from typing import Final, NamedTuple, Protocol

import msgspec

from domain.decision import FLAG_BITS, Alert, Flag, Score, Variant, flag_names
from domain.transaction import Transaction
from features.batch import Batch
from features.feature_row import FeatureRow, encode_row
from features.layout import TRANSACTION
from features.store import Observed
from stream.answered import Answered
from stream.control import CONTROL
from stream.journal_ring import Answer
from stream.lineup import Release
from stream.records import Message, Record
from stream.topics import OutputTopics
from stream.unapplied import Unapplied

_SHARE_STEPS: Final = 1 << 32
_DUPLICATE: Final = FLAG_BITS[Flag.DUPLICATE]
_encode = msgspec.json.Encoder().encode
#: Takes the fields as one tuple: half the time of `Message(...)`, two or three times a transaction.
_message = partial(tuple.__new__, Message)


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


class Judgement(NamedTuple):
    """A chunk and what it is answered, row by row."""

    records: Sequence[Record]
    transactions: Sequence[Transaction]
    batch: Batch
    observed: Observed
    """Without positions: nothing was applied."""
    answers: Answered
    spec: str
    """Feature fingerprint."""


class AnswerMessages:
    """Writes the messages that answer a chunk."""

    def __init__(self, topics: OutputTopics, unapplied: Unapplied, past: Past | None, *, vector_share: float) -> None:
        """Prepare.

        Args:
            topics: Where messages go.
            unapplied: Answers of an outage.
            past: Answers of the time before.
            vector_share: Share of transactions whose vector is logged, in [0, 1].
        """
        self._topics = topics
        self._unapplied = unapplied
        self._past = past
        self._logged_below = int(vector_share * _SHARE_STEPS)

    def rows(self, chunk: Judgement) -> list[Message]:
        """Return the feature rows of an applied chunk: what was applied, and the vector of a share of it."""
        batch, observed, topic, spec = chunk.batch, chunk.observed, self._topics.features, chunk.spec
        times, vectors, width = batch.time_ms.tolist(), observed.vectors.astype("<f4", copy=False).tobytes(), observed.vectors.shape[1] * 4
        is_logged = (batch.source % _SHARE_STEPS * 2_654_435_761 % _SHARE_STEPS < self._logged_below) & (observed.positions[:, 0] >= 0)
        columns = zip(
            chunk.records, chunk.transactions, chunk.answers.flags, map(tuple, observed.positions.tolist()), is_logged.tolist(), times,
            strict=True,
        )  # fmt: skip
        messages = []
        for i, (record, transaction, flags, position, has_vector, time_ms) in enumerate(columns):
            vector = vectors[i * width : (i + 1) * width] if has_vector else b""
            noted = flags & ~CONTROL  # a row says what was applied, whatever is drawn
            partition = record.partition
            row = FeatureRow(transaction.transaction_id, TRANSACTION, noted, partition, record.offset, time_ms, spec, position, vector)
            messages.append(_message((topic, transaction.card_id.encode(), encode_row(row), partition, (), None)))
        return messages

    def answers(self, chunk: Judgement, messages: list[Message]) -> dict[int, str]:
        """Append scores and alerts; return row -> what became of it (one of AGAIN), of the rows that were answered before."""
        again, repeated = self._again(chunk)
        answers, now_ms, topics, spec = chunk.answers, time.time_ns() // 1_000_000, self._topics, chunk.spec
        releases, drawn, reasons, shadows = answers.releases, answers.drawn, answers.reasons, answers.shadows
        champion = _by(answers.release)
        columns = zip(
            chunk.records, chunk.transactions, chunk.batch.time_ms.tolist(), answers.probabilities, answers.outcomes, answers.flags,
            answers.tiers, strict=True,
        )  # fmt: skip
        for i, (record, transaction, time_ms, probability, outcome, flags, tier) in enumerate(columns):
            key, partition, offset = transaction.card_id.encode(), record.partition, record.offset
            if again and again.get(i, "restated") != "restated":
                if i in repeated:
                    messages += self._recorded(repeated[i], key, partition, offset)
                continue
            model, policy, variant, rule = champion if i not in releases else _by(releases[i])
            score = Score(
                transaction_id=transaction.transaction_id, card_id=transaction.card_id, event_time_ms=time_ms, scored_at_ms=now_ms,
                probability=probability, decision=outcome, tier=tier, flags=flag_names(flags) if flags else (),
                model=model, variant=variant, policy=policy, spec=spec, source=(partition, offset),
                shadow=None if shadows is None or flags & _DUPLICATE else shadows[i], rule=rule,
                control=True if i in drawn else None, control_p=drawn.get(i),
            )  # fmt: skip
            messages.append(_message((topics.scores, key, _encode(score), partition, (), offset)))
            if i in reasons:
                alert = Alert(
                    **msgspec.structs.asdict(score), amount_minor=transaction.amount_minor, currency=transaction.currency,
                    merchant_id=transaction.merchant_id, reasons=reasons[i], extra=transaction.extra,
                )  # fmt: skip
                messages.append(Message(topics.alerts, key, _encode(alert), partition, (), offset))
        return again

    def _again(self, chunk: Judgement) -> tuple[dict[int, str], dict[int, Answer]]:
        """Return what becomes of rows that were answered before, and the recorded answers; flag those that are restated."""
        again, repeated = dict[int, str](), dict[int, Answer]()
        is_applied = chunk.observed.positions.size > 0
        past, unapplied = self._past if is_applied else None, self._unapplied or None
        if past is None and unapplied is None:
            return again, repeated
        for i, record in enumerate(chunk.records):
            if past is not None:
                if past.is_answered(record):
                    again[i] = "applied"
                    continue
                if (recorded := past.recorded(record)) is not None:
                    again[i], repeated[i] = "repeated", recorded
                    continue
            if unapplied is not None and (degraded := unapplied.outcome(record)) is not None:
                if not is_applied:
                    again[i] = "pending"
                elif degraded == chunk.answers.outcomes[i]:
                    again[i] = "applied"
                else:
                    again[i] = "restated"
                    chunk.answers.flags[i] |= FLAG_BITS[Flag.RESTATED]
        return again, repeated

    def _recorded(self, answer: Answer, key: bytes, partition: int, offset: int) -> list[Message]:
        score = Message(self._topics.scores, key, answer.score, partition, (), offset)
        return [score, Message(self._topics.alerts, key, answer.alert, partition, (), offset)] if answer.alert else [score]


def _by(release: Release) -> tuple[str, str, Variant, str | None]:
    return release.model, release.policy, release.variant, release.rule or None
