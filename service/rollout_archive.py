"""What came to the archive for a trial since the last look."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from features.archive_files import Partition
from features.archive_news import ArchiveNews, HourFolder
from features.archive_schema import LABELS, SCORES
from service import quality_rows
from service.quality_spans import Span, Spans, add, is_read
from service.rollout_pending import SCORE_COLUMNS, PendingDays

#: Clocks of the registry and of the broker may differ.
_SKEW: Final = timedelta(hours=1)


class TrialArchive:
    """Reads the scores and labels that an archive has of a trial, each file once.

    Args:
        archive: Its folder.
        started_ms: Wall clock of the trial's beginning: what was archived on days before is not read.
    """

    def __init__(self, archive: Path, started_ms: int) -> None:
        self._news = ArchiveNews(archive)
        self._from_day = (datetime.fromtimestamp(started_ms / 1000, UTC) - _SKEW).strftime("%Y-%m-%d")
        self._spans: dict[str, Spans] = {SCORES: {}, LABELS: {}}

    def read_into(self, pending: PendingDays) -> list[str]:
        """Add what is new; return what could not be read, a sentence each.

        Scores first: labels that came while they were read are only more than needed.
        """
        problems: list[str] = []
        for topic in (SCORES, LABELS):
            for hour in self._news.changed(topic, from_day=self._from_day):
                problems += self._read(topic, hour, pending)
        return problems

    def _read(self, topic: str, hour: HourFolder, pending: PendingDays) -> list[str]:
        spans = self._spans[topic]
        wanted = [
            file
            for file in hour.files
            if file.kind == "records" and not is_read(spans.get(_key(file.partition), ()), file.first, file.last + 1)
        ]
        columns = SCORE_COLUMNS if topic == SCORES else quality_rows.COLUMNS[LABELS]
        found = quality_rows.read(topic, wanted, columns)
        (pending.add_scores if topic == SCORES else pending.add_labels)(found.rows)
        for file in found.files:
            add(spans.setdefault(_key(file.partition), []), Span(file.first, file.last + 1))
        if len(found.files) == len(wanted):
            self._news.remember(hour)
        return found.problems


def _key(partition: Partition) -> str:
    return f"{partition.uuid8}-{partition.number}"
