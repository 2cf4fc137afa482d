"""Explain one transaction: find its records wherever they are kept, and say what they mean.

The decision index knows where it stands, so that archive and topics are read at that place; without the index the newest
records of the topics are searched, then the archive, newest hours first.
"""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from domain.card_mask import mask_card_numbers
from domain.errors import ConfigError, HistoryError, Unavailable
from features.archive_files import is_archive
from monitoring.explanation import ExplainedLabel, Explanation, Source
from monitoring.figures import count, plural
from service.explained_answer import explanation_of
from service.explained_archive import find_in_archive
from service.explained_index import Indexed, find_in_index
from service.explained_topics import MOST_SEARCHED, TopicSearch
from service.partition_reading import PartitionReader
from service.settings import Settings
from service.transaction_records import Place, TransactionRecords
from service.wiring import kafka_connection
from stream.topics import TRANSACTIONS

OnProgress = Callable[[str, float], None]
"""Told what is being searched, and which share of it is done, in [0, 1]."""
_CANNOT: Final = (ConfigError, Unavailable)


class Found(NamedTuple):
    """What a search came to."""

    explanation: Explanation | None
    """None: nobody knows the transaction."""
    sentence: str
    """Where it was found, or where it was looked for."""


async def explain(settings: Settings, transaction_id: str) -> Explanation | None:
    """Return the explanation of a transaction; None: it is not known anywhere.

    Raises:
        HistoryError: Two files of the archive contradict each other.
    """
    return (await search(settings, transaction_id)).explanation


async def search(settings: Settings, transaction_id: str, *, on_progress: OnProgress = lambda *_: None) -> Found:
    """Look for a transaction in the decision index, the archive and the topics, and explain it.

    What does not answer is said, not raised. A cancelled search stops within some tenths of a second.

    Raises:
        HistoryError: Two files of the archive contradict each other.
    """
    looking = _Search(settings, transaction_id, on_progress)
    records = await looking.run()
    shown = mask_card_numbers(transaction_id)
    if records is None:
        places = "; ".join(looking.places) or "nowhere: neither Redis nor Kafka nor an archive is there"
        return Found(None, f"no transaction {shown} is known; looked in {places}. A refused record is a dead letter: weir dlq list")
    found = await asyncio.to_thread(explanation_of, settings, transaction_id, records, looking.indexed, looking.missing)
    return Found(found, f"{shown} was found in the {records.found_in}")


class _Search:
    """One search.

    Attributes:
        indexed: What the decision index knows.
        places: Where was looked, in words.
        missing: What could not be looked into, a sentence each.
    """

    def __init__(self, settings: Settings, transaction_id: str, on_progress: OnProgress) -> None:
        self._settings = settings
        self._id = transaction_id
        self._on_progress = on_progress
        self._archive = Path(settings.archive.directory)
        self.indexed: Indexed | None = None
        self.places: list[str] = []
        self.missing: list[str] = []

    async def run(self) -> TransactionRecords | None:
        """Return the records, None if there are none."""
        self._on_progress("decision index", 0.0)
        await self._look_into_index()
        place = None if self.indexed is None else self.indexed.place
        records = None if place is None else await self._look_into_archive(place)
        records = await self._look_into_topics(place, records)
        if place is None:
            known = None if records is None or records.source is None else Place("", records.source.partition, records.source.offset)
            archived = await self._look_into_archive(known)
            if archived is not None and records is not None:
                archived.complete(records)
            records = archived or records
            if archived is not None and known is None:  # it stands in Kafka too, perhaps with what the archive lacks
                records = await self._look_into_topics(None, records)
        return self._from_index() if records is None and self.indexed is not None else records

    async def _look_into_index(self) -> None:
        self.places.append(f"the decision index (keeps {plural(self._settings.features.index_days, 'day')})")
        try:
            self.indexed = await find_in_index(self._settings, self._id)
        except _CANNOT as error:
            self.places[-1] = f"not in the decision index ({error})"
            self.missing.append(f"The decision index was not read: {error}.")

    async def _look_into_archive(self, place: Place | None) -> TransactionRecords | None:
        if not is_archive(self._archive):
            self.places.append(f"no archive ({self._archive} is none; weir archive writes one)")
            return None
        self.places.append(f"the archive {self._archive}")
        stop, window_ms = threading.Event(), self._settings.features.duplicate_window_s * 1000

        def on_piece(n_done: int, n_files: int) -> None:
            if stop.is_set():
                raise HistoryError("the search was ended")
            self._on_progress("archive", n_done / n_files)

        try:
            found, looked = await asyncio.to_thread(
                find_in_archive, self._archive, self._id, place=place, duplicate_window_ms=window_ms, on_piece=on_piece
            )
        finally:
            stop.set()
        self.places[-1] += f" ({plural(looked.n_read, 'file')} searched)"
        self.missing += [f"{sentence}." for sentence in looked.unreadable]
        return found if found.transaction is not None else None

    async def _look_into_topics(self, place: Place | None, records: TransactionRecords | None) -> TransactionRecords | None:
        """Return `records` completed by what Kafka has; None if there are none either way."""
        if records is not None and not self._lacks(records):
            return records
        try:
            if not self._settings.kafka.bootstrap:
                raise ConfigError("no Kafka is set and no embedded one runs")
            connection = kafka_connection(self._settings)
            async with PartitionReader(connection) as reader:
                topics = TopicSearch(reader, connection, self._id, lambda n, of: self._on_progress("topics", n / of))
                return await self._complete(topics, place, records)
        except _CANNOT as error:
            self.places.append(f"not on Kafka ({error})")
            self.missing.append(f"The topics were not read: {error}.")
            return records

    async def _complete(self, topics: TopicSearch, place: Place | None, records: TransactionRecords | None) -> TransactionRecords | None:
        if records is None and place is not None:
            self.places.append(f"{TRANSACTIONS.name} at its place")
            records = await topics.transaction_at(place)
        elif records is None:
            self.places.append(f"the newest {count(MOST_SEARCHED)} records of {TRANSACTIONS.name}")
            records = await topics.newest()
        source, append_ms = self._source(place, records)
        labels = [] if self.indexed is None else await topics.labels(self.indexed)
        if source is None or append_ms is None:
            return _with_labels(records, labels)
        if records is None or not records.is_answered:
            answers = await topics.answers(source, append_ms)
            if records is not None:
                records.complete(answers)
            elif answers.scores or answers.vectors:
                answers.source, records = source, answers
        return _with_labels(records, labels)

    def _lacks(self, records: TransactionRecords) -> bool:
        """Tell whether Kafka may know more: the archive ends where the current hour begins."""
        known = {(label.at_ms, label.is_fraud) for label in records.labels}
        noted = set() if self.indexed is None else {(label.label_ms, label.is_fraud) for label, _ in self.indexed.labels}
        return not records.is_answered or not noted <= known

    def _source(self, place: Place | None, records: TransactionRecords | None) -> tuple[Source | None, int | None]:
        if records is not None and records.source is not None:
            return records.source, records.source.append_ms
        if place is None or self.indexed is None:
            return None, None
        append_ms = self.indexed.entry.append_ms
        return Source(topic=TRANSACTIONS.name, partition=place.partition, offset=place.offset, append_ms=append_ms), append_ms

    def _from_index(self) -> TransactionRecords:
        """Return what the index alone knows."""
        assert self.indexed is not None
        labels = [ExplainedLabel(at_ms=one.label_ms, is_fraud=one.is_fraud, source="") for one, _ in self.indexed.labels]
        source, _ = self._source(self.indexed.place, None)
        return TransactionRecords("index", source=source, labels=labels)


def _with_labels(records: TransactionRecords | None, labels: list[ExplainedLabel]) -> TransactionRecords | None:
    if records is not None:
        records.complete(TransactionRecords("topic", labels=labels))
    return records
