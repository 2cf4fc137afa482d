"""A pipeline over a log in memory, with a tiny scorer, fed with records as Kafka would give them."""

import asyncio
import json
from collections.abc import Sequence

import msgspec
import numpy as np

from domain.decision import Alert, Reason, Score, Tier
from features.currency import Rates
from features.feature_row import FeatureRow, decode_row
from features.keys import Keys
from features.memory import MemoryLog
from features.memory_parked import MemoryParked
from features.spec import COLUMN, FeatureSettings, fingerprint
from features.store import FeatureStore
from models.rules import Rules
from monitoring.metrics import Metrics
from service.settings import ScoringSettings
from stream.label_pipeline import LabelPipeline
from stream.lineup import Lineup
from stream.pipeline import TransactionPipeline
from stream.records import Message, TopicPartition
from stream.sources import Sources
from stream.topics import OutputTopics
from tests.consumed import Record

TRANSACTIONS, LABELS = "transactions.v1", "labels.v1"
TOPICS = OutputTopics("scores", "alerts", "features", "dead")
LABEL_TOPICS = TOPICS._replace(dead="labels.dead")
UUIDS = {TRANSACTIONS: "uuid-t", LABELS: "uuid-l"}
SETTINGS = FeatureSettings()
SPEC = fingerprint(SETTINGS)
RATES = Rates("EUR")
START_MS = 1_700_000_000_000
N_PARTITIONS = 3


class TinyScorer:
    """Scores by the amount and the card's count alone, so that answers differ and can be told in advance."""

    name, spec, policy_version, rules = "tiny", SPEC, "p1", Rules()

    def __init__(self, version: str = "1") -> None:
        self.version = version

    def score(self, vectors, *, tier: Tier = Tier.FULL):
        known = np.nan_to_num(vectors[:, [COLUMN["event_log_amount"], COLUMN["card_transactions_ever"]]]).astype(np.float64)
        return known.sum(axis=1) * 0.37 % 1.0

    def decide(self, probabilities, tier: Tier):
        return ["approve" if p < 0.5 else "review" if p < 0.8 else "decline" for p in probabilities]

    def reasons(self, vectors, *, budget_ms: float):
        name = "card_transactions_ever"
        counts = vectors[:, COLUMN[name]].tolist()
        return [(Reason(code="count", text="seen", feature=name, value=count, contribution=1.0),) for count in counts]


def transaction(number: int, **changes) -> bytes:
    fields = {
        "transaction_id": f"t{number}", "card_id": f"c{number % 3}", "merchant_id": f"m{number % 2}", "amount_minor": 100 + 37 * number,
        "currency": "EUR", "event_time_ms": START_MS + 60_000 * number,
    } | changes  # fmt: skip
    return json.dumps(fields).encode()


def label(of: int, **changes) -> bytes:
    fields = {"transaction_id": f"t{of}", "is_fraud": True, "label_time_ms": START_MS + 10**9, "source": "analyst"} | changes
    return json.dumps(fields).encode()


def records_of(values: Sequence[bytes | None], *, topic: str = TRANSACTIONS, first: int = 0) -> list[Record]:
    """Spread values over the partitions in turn, appended a second after one another."""
    return [
        Record(topic, place % N_PARTITIONS, place // N_PARTITIONS, START_MS + 10**9 + 1000 * place, None, value)
        for place, value in enumerate(values, start=first)
    ]


class Run:
    """One worker's pipelines; several may share a log."""

    def __init__(self, log: MemoryLog | None = None, *, vector_share: float = 1.0, **options) -> None:
        self.log = log or MemoryLog()
        self.store = FeatureStore(self.log, Keys("weir:", SPEC), SETTINGS, RATES)
        self.sources = Sources(self.store)
        self.metrics = Metrics()
        self.scorer = TinyScorer()
        self.transactions = TransactionPipeline(
            self.store, lambda: self.lineup, self.sources, RATES, TOPICS, self.metrics, vector_share=vector_share,
            reasons_budget_ms=ScoringSettings().reasons_budget_ms, **options,
        )  # fmt: skip
        keys = Keys("weir:", SPEC)
        self.labels = LabelPipeline(self.store, self.sources, SPEC, LABEL_TOPICS, self.metrics, MemoryParked(self.log, keys))

    @property
    def scorer(self) -> TinyScorer:
        """The champion."""
        return self.lineup.champion

    @scorer.setter
    def scorer(self, champion: TinyScorer) -> None:
        self.lineup = Lineup(champion)

    def __call__(self, *chunks: Sequence[Record]) -> list[list[Message]]:
        """Return the messages of each chunk, one chunk after the other."""

        async def body() -> list[list[Message]]:
            await self.assign()
            found = []
            for chunk in chunks:
                pipeline = self.labels if chunk and chunk[0].topic == LABELS else self.transactions
                found.append((await pipeline.process(chunk))())
                self.transactions.published(found[-1])
                await self.store.note_answers()  # as before a commit
            await self.store.close()
            return found

        return asyncio.run(body())

    async def assign(self) -> None:
        partitions = [TopicPartition(topic, partition) for topic in (TRANSACTIONS, LABELS) for partition in range(N_PARTITIONS)]
        await self.sources.assign(UUIDS, partitions)


def scores(messages: Sequence[Message]) -> list[Score]:
    return [msgspec.json.decode(m.value, type=Score) for m in messages if m.topic == TOPICS.scores]


def alerts(messages: Sequence[Message]) -> list[Alert]:
    return [msgspec.json.decode(m.value, type=Alert) for m in messages if m.topic == TOPICS.alerts]


def rows(messages: Sequence[Message]) -> list[FeatureRow]:
    return [decode_row(m.value) for m in messages if m.topic == TOPICS.features]


def dead(messages: Sequence[Message]) -> list[dict[str, bytes]]:
    return [dict(m.headers) for m in messages if m.topic in (TOPICS.dead, LABEL_TOPICS.dead)]


def timeless(messages: Sequence[Message]) -> list[Message]:
    """The messages without the wall clock of their making."""
    found = []
    for message in messages:
        if message.topic in (TOPICS.scores, TOPICS.alerts):
            value = msgspec.json.encode(msgspec.json.decode(message.value, type=dict) | {"scored_at_ms": 0})
            found.append(message._replace(value=value))
        else:
            found.append(message._replace(headers=tuple(h for h in message.headers if h[0] != "time_ms")))
    return found
