"""What an archiver has done, for its summary and its progress line."""

from typing import Any

import msgspec


class TopicCounts(msgspec.Struct):
    """Counts of one topic."""

    records: int = 0
    """Written to files, `undecodable` ones included."""
    undecodable: int = 0
    lost: int = 0
    """Offsets that were gone from Kafka before they were archived."""
    files: int = 0
    """With records; before compaction."""


class Counts:
    """Counts of one run."""

    def __init__(self, topics: tuple[str, ...]) -> None:
        self.topics = {topic: TopicCounts() for topic in topics}
        self.n_read = 0
        """Records read from Kafka, written or not."""
        self.n_compacted = 0
        """Files made by compaction."""
        self.removed_days: set[str] = set()
        self.lag = 0
        """Records that wait in Kafka, about."""
        self.confirmed_ms = self.written_ms = 0
        """When Kafka last confirmed what was read, and when a file was last written; wall clock, 0 = never."""

    @property
    def n_records(self) -> int:
        """Records written to files."""
        return sum(counts.records for counts in self.topics.values())

    @property
    def n_lost(self) -> int:
        """Offsets lost."""
        return sum(counts.lost for counts in self.topics.values())

    def summary(self) -> dict[str, Any]:
        """Return what `weir archive --json` prints."""
        return {
            "topics": {topic: msgspec.structs.asdict(counts) for topic, counts in self.topics.items()},
            "compacted_files": self.n_compacted,
            "removed_days": sorted(self.removed_days),
        }
