"""What was answered in an outage without being applied: it comes again, and is not answered a second time without need."""

from collections.abc import Mapping, Sequence

from domain.decision import Outcome
from stream.records import Committed, Record, TopicPartition


class Unapplied:
    """Remembers the answers of an outage until their records are applied and committed."""

    def __init__(self) -> None:
        self._outcomes: dict[TopicPartition, dict[int, str]] = {}
        self._elsewhere: dict[TopicPartition, int] = {}

    def __bool__(self) -> bool:
        """Tell whether there may be any."""
        return bool(self._outcomes or self._elsewhere)

    def note(self, records: Sequence[Record], answered: Sequence[Record], outcomes: Sequence[Outcome]) -> None:
        """Note records that were answered without being applied.

        Args:
            records: All of them, those that were rejected among them.
            answered: Those that got an answer.
            outcomes: Of each of these.
        """
        for record in records:
            self._outcomes.setdefault(_place(record), {}).setdefault(record.offset, "")
        for record, outcome in zip(answered, outcomes, strict=True):
            self._outcomes[_place(record)][record.offset] = outcome

    def outcome(self, record: Record) -> str | None:
        """Return how a record was answered in an outage ("": it was rejected, "?": not known here); None: it was not."""
        place = _place(record)
        found = self._outcomes.get(place, {}).get(record.offset)
        return "?" if found is None and record.offset < self._elsewhere.get(place, 0) else found

    def assigned(self, committed: Mapping[TopicPartition, Committed | None]) -> None:
        """Note what other workers answered in an outage, of the partitions assigned now."""
        found = {tp: each for tp, each in committed.items() if each is not None}
        self._outcomes = {tp: outcomes for tp, outcomes in self._outcomes.items() if tp in committed}
        self._elsewhere = {tp: each.answered for tp, each in found.items() if each.answered > each.offset}

    def committed(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Forget the answers below committed offsets."""
        for tp in self._outcomes.keys() & offsets.keys():
            self._outcomes[tp] = {offset: outcome for offset, outcome in self._outcomes[tp].items() if offset >= offsets[tp]}


def _place(record: Record) -> TopicPartition:
    return TopicPartition(record.topic, record.partition)
