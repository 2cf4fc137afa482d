"""Kafka to Parquet: reads the topics, cuts files at hours and limits, merges and removes old ones."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import polars as pl
import structlog

from domain.errors import ConfigError, StaleTopic, Unavailable
from features.archive_files import Partition
from features.archive_schema import SCHEMAS, UNDECODABLE
from service.archive_buffer import Buffer, Limits, Piece
from service.archive_compaction import IsOver, compact_topic
from service.archive_counts import Counts
from service.archive_file import HOUR_MS, hour_folder, hour_of, write_empty, write_file
from service.archive_folder import held
from service.archive_retention import remove_old_days
from service.archive_rows import rows_of
from service.archive_source import ArchiveSource
from service.times import now_ms
from stream.connection import KafkaConnection
from stream.topic_admin import check_start
from stream.topics import ALERTS, FEATURE_ROWS, LABELS, SCORES, TRANSACTIONS

TOPICS: Final = (TRANSACTIONS, LABELS, SCORES, ALERTS, FEATURE_ROWS)
#: Longest time in which a record is not known to be of this incarnation of its topic.
_CONFIRM_EVERY_S: Final = 2.0
_MAINTAIN_EVERY_S: Final = 60.0
_TELL_EVERY_S: Final = 60.0
_RETRY_S: Final = 1.0

_log = structlog.get_logger()


class Archiver:
    """Archives until it is told to stop. Every record is in exactly one file that counts, whenever the process ends."""

    def __init__(
        self, connection: KafkaConnection, directory: Path, *, limits: Limits = Limits(), keep_days: int | None = None,  # noqa: B008 - immutable
        until_end: bool = False, on_progress: Callable[[Counts], None] = lambda _: None,
    ) -> None:  # fmt: skip
        """Prepare.

        Args:
            connection: Where to read.
            directory: Where to write.
            limits: When files are closed.
            keep_days: Whole UTC days before today that are kept; None: all.
            until_end: End with what was in Kafka at the beginning; else wait for more.
            on_progress: Called several times a second, from the event loop.
        """
        self._connection = connection
        self._directory = directory
        self._limits = limits
        self._keep_days = keep_days
        self._until_end = until_end
        self._on_progress = on_progress
        self.counts = Counts(tuple(topic.name for topic in TOPICS))
        self._stop = asyncio.Event()
        self._is_reachable = True
        self._is_waiting = self._has_begun = False
        self._confirmed_s = self._maintained_s = 0.0
        self._told_s = time.monotonic()
        self._n_told = 0
        self._maintenance: asyncio.Task[None] | None = None

    @property
    def is_following(self) -> bool:
        """Whether Kafka is being read."""
        return self._has_begun and self._is_reachable and not self._is_waiting

    async def run(self, stop: asyncio.Event) -> Counts:
        """Archive until `stop` is set, or until the end; return what was done.

        Raises:
            ConfigError: The folder or the topics cannot be used, or another archiver is at work.
            Unavailable: Kafka does not answer at the beginning, or not during a run until the end; else it is waited for.
        """
        self._stop = stop
        await asyncio.to_thread(check_start, self._connection, TOPICS)
        with held(self._directory, self._connection.prefix):
            while not await self._session():
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), _RETRY_S)
        return self.counts

    async def _session(self) -> bool:
        """Read until the end; return False if the topics are others by now, so that reading must begin anew."""
        try:
            async with ArchiveSource(self._connection, self._directory, [topic.name for topic in TOPICS], self._limits) as source:
                self._is_waiting, self._has_begun = False, True
                return await self._follow(source)
        except (StaleTopic, Unavailable) as error:  # what was read and not written is read again
            if self._until_end or not self._has_begun:
                raise
            if not self._is_waiting:
                _log.warning("archive_waits", reason=str(error))
            self._is_waiting = True
            return self._stop.is_set()

    async def _follow(self, source: ArchiveSource) -> bool:
        self._maintained_s = 0.0
        try:
            has_grown = False
            while not self._stop.is_set() and not has_grown and not (self._until_end and await source.is_at_end()):
                has_grown = await self._step(source)
            return await self._finish(source) and not has_grown
        except StaleTopic as error:
            _log.warning("archive_topic_changed", detail=str(error))
            for topic, n_dropped in (await source.sort_out()).items():
                self.counts.topics[topic].lost += n_dropped
                _log.warning("archive_records_lost", topic=topic, records=n_dropped, reason="read just before the topic was deleted")
            await self._write_all(source)
            return False
        finally:
            await self._join_maintenance()

    async def _step(self, source: ArchiveSource) -> bool:
        """Read and write what is due; return whether a topic has other partitions by now."""
        if self._is_reachable or self._memory_bytes(source) < self._limits.memory_bytes:
            self.counts.n_read += await source.read()
        else:
            await asyncio.sleep(_RETRY_S)
        due = self._due(source)
        now_s = time.monotonic()
        if due or source.lost or now_s - self._confirmed_s >= _CONFIRM_EVERY_S:
            self._confirmed_s = now_s
            if await self._confirm(source):
                await self._write(source, due)
        self.counts.lag = source.lag()
        self._on_progress(self.counts)
        self._tell(now_s)
        if now_s - self._maintained_s < _MAINTAIN_EVERY_S:
            return False
        self._maintained_s = now_s
        self._start_maintenance(source)
        try:
            return self._is_reachable and await source.has_new_partitions()
        except Unavailable:
            return False

    async def _finish(self, source: ArchiveSource) -> bool:
        """Write all that was read; what cannot be confirmed now is read again by the next start."""
        try:
            await source.confirm()
        except Unavailable:
            if self._until_end:
                raise
            _log.warning("archive_left_in_kafka", reason="kafka does not answer", records=self.counts.n_read - self.counts.n_records)
            return True
        await self._write_all(source)
        if self._until_end:
            await self._join_maintenance()
            self._start_maintenance(source)
        self._on_progress(self.counts)
        return True

    async def _confirm(self, source: ArchiveSource) -> bool:
        try:
            await source.confirm()
        except Unavailable as error:
            if self._is_reachable:
                _log.warning("archive_waits", reason=str(error))
            self._is_reachable = False
            return False
        self._is_reachable = True
        self.counts.confirmed_ms = now_ms()
        return True

    def _due(self, source: ArchiveSource) -> dict[Buffer, int]:
        """Return buffer -> number of its pieces that are to become files; the largest too while memory is short."""
        now = now_ms()
        found = {buffer: n for buffer in source.buffers.values() if (n := buffer.due(now))}
        excess = self._memory_bytes(source) - self._limits.memory_bytes
        if excess > 0:
            excess += self._limits.memory_bytes // 2
            for buffer in sorted(source.buffers.values(), key=lambda buffer: -buffer.memory_bytes):
                if excess <= 0:
                    break
                found[buffer] = len(buffer.pieces)
                excess -= buffer.memory_bytes
        return found

    @staticmethod
    def _memory_bytes(source: ArchiveSource) -> int:
        return sum(buffer.memory_bytes for buffer in source.buffers.values())

    async def _write_all(self, source: ArchiveSource) -> None:
        await self._write(source, {buffer: len(buffer.pieces) for buffer in source.buffers.values()})

    async def _write(self, source: ArchiveSource, due: dict[Buffer, int]) -> None:
        """Write confirmed pieces; each leaves its buffer when it is safe on disk."""
        try:
            for lost in source.lost:
                await asyncio.to_thread(self._write_lost, lost.partition, lost.first, lost.last)
            source.lost.clear()
            for buffer, n_pieces in due.items():
                for _ in range(n_pieces):
                    piece = buffer.pieces[0]
                    await asyncio.to_thread(self._write_piece, buffer.partition, source.uuids[buffer.partition.topic], piece)
                    buffer.pieces.popleft()
                    self._on_progress(self.counts)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise ConfigError(f"the archive {self._directory} cannot be written: {error}; make room or give another --directory") from error

    def _write_piece(self, partition: Partition, uuid: str, piece: Piece) -> None:
        rows = rows_of(partition.topic, uuid, piece.records)
        write_file(rows, hour_folder(self._directory, partition.topic, piece.hour_ms), partition, piece.first, piece.end - 1)
        counts = self.counts.topics[partition.topic]
        counts.files += 1
        counts.records += rows.height
        counts.undecodable += rows.height - rows[UNDECODABLE].null_count()
        self.counts.written_ms = now_ms()

    def _write_lost(self, partition: Partition, first: int, last: int) -> None:
        write_empty(hour_folder(self._directory, partition.topic, now_ms()), partition, first, last, "lost")
        self.counts.topics[partition.topic].lost += last - first + 1
        _log.warning(
            "archive_records_lost", topic=partition.topic, partition=partition.number, first_offset=first, last_offset=last,
            reason="kafka removed them before they were archived; raise the topic's retention, or archive more often",
        )  # fmt: skip

    def _tell(self, now_s: float) -> None:
        if now_s - self._told_s >= _TELL_EVERY_S:
            if self.counts.n_records > self._n_told:
                _log.info("archive_progress", records=self.counts.n_records, lag=self.counts.lag)
            self._told_s, self._n_told = now_s, self.counts.n_records

    def _start_maintenance(self, source: ArchiveSource) -> None:
        if self._maintenance is not None and self._maintenance.done():
            self._maintenance.result()
            self._maintenance = None
        if self._maintenance is None:
            waiting = {buffer.partition for buffer in source.buffers.values() if buffer.pieces}
            is_behind = source.lag() > 0
            over_by = now_ms() - HOUR_MS - self._limits.grace_ms
            newest_over = hour_of(over_by)

            def is_over(partition: Partition, hour: tuple[str, str]) -> bool:
                return hour <= newest_over and not is_behind and partition not in waiting

            live = frozenset(uuid[:8] for uuid in source.uuids.values())
            self._maintenance = asyncio.create_task(asyncio.to_thread(self._maintain, is_over, live))

    async def _join_maintenance(self) -> None:
        if self._maintenance is not None:
            await self._maintenance
            self._maintenance = None

    def _maintain(self, is_over: IsOver, live: frozenset[str]) -> None:
        """Merge and remove; what fails is told and tried again a minute later, for the records are safe as they are."""
        for topic in SCHEMAS:
            try:
                for _ in compact_topic(self._directory, topic, is_over, until=self._stop.is_set):
                    self.counts.n_compacted += 1
                if self._keep_days is not None:
                    removed = remove_old_days(self._directory, topic, keep_days=self._keep_days, live=live, now_ms=now_ms())
                    self.counts.removed_days.update(removed)
            except (OSError, pl.exceptions.PolarsError) as error:
                _log.warning("archive_maintenance_failed", topic=topic, error=str(error))
