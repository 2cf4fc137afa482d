"""The records of one transaction that Kafka still has: read at its place, else searched in the newest records. Always bounded."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

import msgspec

from domain.decision import flag_names
from domain.errors import RejectedRecord
from features.feature_row import decode_row
from features.layout import TRANSACTION
from monitoring.explanation import ExplainedLabel, Source
from service.explained_index import Indexed
from service.partition_reading import PartitionReader
from service.transaction_records import Fields, Place, TransactionRecords, Vector
from stream.connection import KafkaConnection
from stream.records import Record
from stream.topics import ALERTS, FEATURE_ROWS, LABELS, SCORES, TRANSACTIONS, Topic

#: Most records that are read of all partitions of `transactions.v1` to find an id whose place is not known.
MOST_SEARCHED: Final = 100_000
#: Most records that are read of one partition behind the append time of a transaction to find an answer to it.
MOST_AFTER: Final = 50_000
#: An answer's records are sent together; brokers' clocks differ by less than this.
_TOGETHER_MS: Final = 10_000

OnPiece = Callable[[int, int], None]
"""Told how many records were read, and of how many, before each piece of some tenths of a second."""


class TopicSearch:
    """Looks for the records of one transaction on the topics."""

    def __init__(self, reader: PartitionReader, connection: KafkaConnection, transaction_id: str, on_piece: OnPiece) -> None:
        """Prepare.

        Args:
            reader: Connected.
            connection: Names the topics.
            transaction_id: Whose records.
            on_piece: Told of the progress.
        """
        self._reader = reader
        self._connection = connection
        self._id = transaction_id
        self._needle = msgspec.json.encode(transaction_id)[1:-1]
        self._on_piece = on_piece

    async def transaction_at(self, place: Place) -> TransactionRecords | None:
        """Return the transaction, if its record at `place` is still there and is of this id.

        Raises:
            ConfigError: The topic does not exist.
            Unavailable: Kafka does not answer.
        """
        records = [record async for record in self._one(TRANSACTIONS, place)]
        return self._transaction(records)

    async def newest(self) -> TransactionRecords | None:
        """Return the first transaction with the id among the newest MOST_SEARCHED records.

        Raises:
            ConfigError: The topic does not exist.
            Unavailable: Kafka does not answer.
        """
        topic = self._connection.topic(TRANSACTIONS)
        partitions = await self._reader.partitions(topic)
        most, found = MOST_SEARCHED // len(partitions), list[Record]()
        for partition in partitions:
            begin, end = await self._reader.bounds(topic, partition)
            async for record in self._matching(topic, partition, max(begin, end - most), end):
                if _decoded(record).get("transaction_id") == self._id:
                    found.append(record)
                    break
        return self._transaction(sorted(found, key=lambda record: record.timestamp))

    async def answers(self, source: Source, from_ms: int) -> TransactionRecords:
        """Return scores, alert and vector of the transaction at `source`, as far as they stand near behind `from_ms`.

        Args:
            source: Of the transaction.
            from_ms: Its append time, or a time before it.

        Raises:
            ConfigError: A topic does not exist.
            Unavailable: Kafka does not answer.
        """
        found, here = TransactionRecords("topic"), [source.partition, source.offset]
        async for record in self._behind(SCORES, source.partition, from_ms):
            score = _decoded(record)
            if score.get("source") == here:
                found.scores.append(score)
                from_ms = max(from_ms, record.timestamp - _TOGETHER_MS) if len(found.scores) == 1 else from_ms
                if found.is_settled:
                    break
        if found.is_alert or not found.scores:
            async for record in self._behind(ALERTS, source.partition, from_ms):
                alert = _decoded(record)
                if alert.get("source") == here:
                    found.alert = alert
                    break
        async for record in self._behind(FEATURE_ROWS, source.partition, from_ms):
            vector = _vector(record, (source.partition, source.offset))
            if vector is not None:
                found.vectors.append(vector)
                break
        return found

    async def labels(self, indexed: Indexed) -> list[ExplainedLabel]:
        """Return the labels that the index notes, with who said so where Kafka still has their records.

        Raises:
            ConfigError: The topic does not exist.
            Unavailable: Kafka does not answer.
        """
        found = []
        for label, place in indexed.labels:
            records = [] if place is None else [record async for record in self._one(LABELS, place)]
            fields = next((_decoded(record) for record in records), {})
            who = fields.get("source") if fields.get("transaction_id") == self._id else None
            found.append(ExplainedLabel(at_ms=label.label_ms, is_fraud=label.is_fraud, source=str(who or "")))
        return found

    def _transaction(self, records: Sequence[Record]) -> TransactionRecords | None:
        for record in records:
            fields = _decoded(record)
            if fields.get("transaction_id") == self._id:
                source = Source(topic=TRANSACTIONS.name, partition=record.partition, offset=record.offset, append_ms=record.timestamp)
                return TransactionRecords("topic", transaction=fields, source=source)
        return None

    async def _one(self, topic: Topic, place: Place) -> AsyncIterator[Record]:
        """Yield the record at a place, if it is still there."""
        name = self._connection.topic(topic)
        if place.partition not in await self._reader.partitions(name):
            return
        begin, end = await self._reader.bounds(name, place.partition)
        if begin <= place.offset < end:
            async for records in self._reader.records(name, place.partition, place.offset, place.offset + 1):
                for record in records:
                    yield record

    async def _behind(self, topic: Topic, partition: int, from_ms: int) -> AsyncIterator[Record]:
        """Yield the records with the id among the first MOST_AFTER that were appended from `from_ms` on."""
        name = self._connection.topic(topic)
        if partition not in await self._reader.partitions(name):
            return
        begin = await self._reader.offset_at(name, partition, from_ms)
        if begin is None:
            return
        _, end = await self._reader.bounds(name, partition)
        async for record in self._matching(name, partition, begin, min(end, begin + MOST_AFTER)):
            yield record

    async def _matching(self, name: str, partition: int, begin: int, end: int) -> AsyncIterator[Record]:
        """Yield the records of a stretch whose value holds the id's bytes, or an escape that may hide them."""
        async for records in self._reader.records(name, partition, begin, end):
            self._on_piece(records[-1].offset + 1 - begin, end - begin)
            for record in records:
                if record.value is not None and (self._needle in record.value or (b"\\" in record.value and record.value[:1] == b"{")):
                    yield record


def _decoded(record: Record) -> Fields:
    """Return the JSON object of a record; empty if it holds none."""
    try:
        found = msgspec.json.decode(record.value or b"")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _vector(record: Record, here: tuple[int, int]) -> Vector | None:
    """Return the vector of a feature row, if it is the row of the transaction at `here` and holds one."""
    try:
        row = decode_row(record.value or b"")
    except RejectedRecord:
        return None
    if row.kind != TRANSACTION or (row.partition, row.offset) != here or not row.vector:
        return None
    return Vector(flag_names(row.flags), row.spec, row.vector)
