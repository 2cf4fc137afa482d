"""Quality from the archive: what came since the last look joins its day; only days with news are counted again.

On disk stand the days (`service.quality_days`), the labels and, written last, which offsets are in them. Whatever is killed
when: records are read again whose offsets were not noted, and adding them twice changes nothing.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
import polars as pl

from domain.errors import ConfigError, HistoryError
from features.archive_files import Partition, is_archive
from features.archive_news import ArchiveNews, HourFolder
from features.archive_schema import LABELS, SCORES
from features.currency import Rates
from monitoring.quality import QualityReport
from monitoring.quality_facts import DAY_MS
from monitoring.quality_report import report
from service import quality_rows
from service.quality_amounts import AmountSearch
from service.quality_days import QualityDays
from service.quality_labels import QualityLabels
from service.quality_spans import Span, Spans, add, hole_notes, holes, is_read

KEEP_DAYS: Final = 120
"""Days of the report: charge-backs need up to 45, and their curve as many days again whose labels are in."""
_FORMAT: Final = 1
#: Of Parquet files that are read at once; in memory they take about ten times as much.
_BATCH_BYTES: Final = 32 << 20
_TOPICS: Final = (SCORES, LABELS)


class _State(msgspec.Struct):
    """What was read. Of another format, archive, currency or polars (its hashes differ) it is of no use."""

    format: int
    archive: str
    rates: str
    polars: str
    spans: dict[str, Spans]
    """Topic -> partition -> what was read."""
    newest_ms: int = 0
    """Newest event or label time read."""
    days: list[int] = []
    """Midnights of the days that have answers."""
    n_labels: int = 0


class QualityLog:
    """Keeps the quality of an archive's days up to date; one process at a time keeps a folder."""

    def __init__(self, archive: Path, directory: Path, *, rates: Rates, keep_days: int = KEEP_DAYS) -> None:
        """Open, or begin, what is kept in `directory`/quality.

        Args:
            archive: Folder that `weir archive` writes; it need not be there yet.
            directory: Setting `monitoring.directory`.
            rates: Of the base currency.
            keep_days: Days of event time that are kept.

        Raises:
            ConfigError: Another process keeps that folder, or it cannot be written.
        """
        self._archive, self._rates, self._keep_days = archive, rates, keep_days
        self._folder = directory / "quality"
        self._lock = _locked(self._folder)
        self._news = ArchiveNews(archive)
        self._amounts = AmountSearch(self._news, rates)
        self._state, self._days, self._labels = self._kept() or self._begun()

    def close(self) -> None:
        """Let another process keep the folder."""
        os.close(self._lock)

    def refresh(self, now_ms: int, *, threshold: float | None = None) -> QualityReport:
        """Read what is new in the archive and return the report.

        Ages count to the archive's own newest time, at most to `now_ms`: a history that is played at full speed matures as its
        own events do.

        Args:
            now_ms: UTC, milliseconds since the epoch.
            threshold: From which the champion alerts; it gets a row of `thresholds` of its own.

        Raises:
            HistoryError: There is no archive.
            ConfigError: The folder `monitoring.directory` cannot be written.
        """
        if not is_archive(self._archive):
            raise HistoryError(f"{self._archive} is not an archive; run weir archive, and quality is measured from what it writes")
        try:
            return self._refreshed(now_ms, threshold)
        except (pl.exceptions.PolarsError, OSError, EOFError, ValueError):  # what is kept was damaged; the archive has it all
            self._news = ArchiveNews(self._archive)
            self._amounts = AmountSearch(self._news, self._rates)
            try:
                self._state, self._days, self._labels = self._begun()
                return self._refreshed(now_ms, threshold)
            except OSError as error:
                raise ConfigError(f"monitoring.directory: cannot write {error.filename or self._folder}: {error.strerror}") from error

    def _refreshed(self, now_ms: int, threshold: float | None) -> QualityReport:
        from_day = self._first_day()
        problems = self._read_news(from_day)
        problems += self._count(has_new_amounts=self._amounts.look(from_day=from_day))
        facts = [fact for _, fact in sorted(self._days.facts().items())]
        by_day, notes = hole_notes({topic: holes(self._state.spans.get(topic, {})) for topic in _TOPICS}, answers=SCORES)
        current = None if threshold is None else self._days.above(threshold)
        to_ms = min(now_ms, self._state.newest_ms) + 1
        return report(facts, to_ms=to_ms, holes=by_day, notes=[*problems, *notes], threshold=current)

    def _kept(self) -> tuple[_State, QualityDays, QualityLabels] | None:
        """Return what an earlier process left; None if it is of no use, the archive has it all."""
        try:
            found = msgspec.json.decode((self._folder / "state.json").read_bytes(), type=_State)
            days, labels = QualityDays(self._folder / "days"), QualityLabels(self._folder / "labels.arrow")
        except (OSError, msgspec.MsgspecError, pl.exceptions.PolarsError):
            return None
        is_whole = len(labels) >= found.n_labels and set(found.days) <= set(days.days())
        is_ours = msgspec.structs.replace(found, spans={}, newest_ms=0, days=[], n_labels=0) == self._fresh()
        return (found, days, labels) if is_ours and is_whole else None

    def _begun(self) -> tuple[_State, QualityDays, QualityLabels]:
        (self._folder / "state.json").unlink(missing_ok=True)
        (self._folder / "labels.arrow").unlink(missing_ok=True)
        shutil.rmtree(self._folder / "days", ignore_errors=True)
        return self._fresh(), QualityDays(self._folder / "days"), QualityLabels(self._folder / "labels.arrow")

    def _fresh(self) -> _State:
        return _State(_FORMAT, str(self._archive.resolve()), self._rates.digest(), pl.__version__, {})

    def _count(self, *, has_new_amounts: bool) -> list[str]:
        """Count the days with news, looking up the amounts of their frauds; return what could not be read."""
        days = set(self._days.uncounted())
        if has_new_amounts:
            days |= {day_ms for day_ms, facts in self._days.facts().items() if (facts.amount_minor < 0).any()}
        if not days:
            return []
        verdicts = self._labels.verdicts()
        problems: list[str] = []
        wanted = pl.concat([self._days.unpriced(day_ms, verdicts) for day_ms in days])
        if not wanted.is_empty():
            found, problems = self._amounts.amounts(wanted)
            self._days.add_amounts(found)
        for day_ms in self._days.uncounted():
            self._days.count(day_ms, verdicts)
        return problems

    def _read_news(self, from_day: str) -> list[str]:
        """Add what is new; return what could not be read."""
        problems: list[str] = []
        has_news = False
        for topic in _TOPICS:
            for hours in _batches(self._news.changed(topic, from_day=from_day)):
                is_new, found = self._read(topic, hours)
                has_news |= is_new
                problems += found
        if has_news:
            oldest_ms = (self._state.newest_ms // DAY_MS - self._keep_days + 1) * DAY_MS
            self._days.drop_before(oldest_ms)
            self._labels.drop_before(oldest_ms)
            self._state.days, self._state.n_labels = self._days.days(), len(self._labels)
            draft = self._folder / "state.draft"
            draft.write_bytes(msgspec.json.encode(self._state) + b"\n")
            draft.replace(self._folder / "state.json")
        return problems

    def _first_day(self) -> str:
        """Return the first day of the archive that can hold a kept event, YYYY-MM-DD."""
        newest = max(self._news.newest_day(topic) for topic in _TOPICS)
        if not newest:
            return ""
        last = datetime.fromisoformat(newest).replace(tzinfo=UTC).timestamp()
        return datetime.fromtimestamp(max(0.0, last - self._keep_days * DAY_MS / 1000), UTC).strftime("%Y-%m-%d")

    def _read(self, topic: str, hours: Sequence[HourFolder]) -> tuple[bool, list[str]]:
        """Add the unread files of some hours; tell whether there were any, and what could not be read."""
        spans = self._state.spans.setdefault(topic, {})
        wanted = [
            file for hour in hours for file in hour.files if not is_read(spans.get(_key(file.partition), ()), file.first, file.last + 1)
        ]
        found = quality_rows.read(topic, [file for file in wanted if file.kind == "records"])
        self._add(topic, found.rows)
        ends = _ends(found.rows, quality_rows.TIME[topic])
        for file in [*found.files, *(file for file in wanted if file.kind == "expired")]:
            own = spans.setdefault(_key(file.partition), [])
            add(own, Span(file.first, file.last + 1, *ends.get(str(file.path), (None, None))))
        readable = set(found.files)
        unread = {file.path.parent for file in wanted if file.kind == "records" and file not in readable}
        for hour in hours:
            if Path(hour.path) not in unread:
                self._news.remember(hour)
        return bool(found.files), found.problems

    def _add(self, topic: str, rows: pl.DataFrame) -> None:
        if rows.is_empty():
            return
        if topic == SCORES:
            self._days.add_answers(quality_rows.answers(rows))
        else:
            labels = quality_rows.labels(rows)
            new = self._labels.new(labels)
            for day_ms in self._days.days_with(new["id"].unique().to_numpy()):
                self._days.forget(day_ms)
            self._labels.add(new)
            rows = labels.rename({"label_ms": quality_rows.TIME[LABELS]})
        newest = rows[quality_rows.TIME[topic]].max()
        assert isinstance(newest, int)
        self._state.newest_ms = max(self._state.newest_ms, newest)


def _batches(hours: Sequence[HourFolder]) -> Iterator[list[HourFolder]]:
    """Yield as many hours at a time as memory holds easily: opening a file costs more than reading it, a small one at least."""
    batch: list[HourFolder] = []
    n_bytes = 0
    for hour in hours:
        n_bytes += hour.n_bytes
        if batch and n_bytes > _BATCH_BYTES:
            yield batch
            batch, n_bytes = [], hour.n_bytes
        batch.append(hour)
    if batch:
        yield batch


def _ends(rows: pl.DataFrame, time: str) -> dict[str, tuple[int, int]]:
    """Return file -> time of its first and last record by offset."""
    found = rows.group_by(quality_rows.FILE).agg(
        pl.col(time).sort_by("offset").first().alias("a"), pl.col(time).sort_by("offset").last().alias("b")
    )
    return {file: (first, last) for file, first, last in found.iter_rows()}


def _key(partition: Partition) -> str:
    return f"{partition.uuid8}-{partition.number}"


def _locked(folder: Path) -> int:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise ConfigError(f"monitoring.directory: cannot write {folder}: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise ConfigError(f"another weir web keeps {folder}; stop it, or set another monitoring.directory") from error
    return lock
