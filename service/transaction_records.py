"""What is known of one transaction, wherever its records were found."""

from dataclasses import dataclass, field
from typing import NamedTuple

from domain.decision import Flag
from monitoring.explanation import ExplainedLabel, FoundIn, Source

Fields = dict[str, object]
"""A record as JSON values."""


class Place(NamedTuple):
    """Where a transaction stands in `transactions.v1`."""

    uuid8: str
    """The first 8 hex digits of the topic's UUID; empty: not known, any."""
    partition: int
    offset: int


class Vector(NamedTuple):
    """A logged feature vector."""

    flags: tuple[str, ...]
    spec: str
    """Feature fingerprint, 16 hex digits."""
    content: bytes
    """float32 of all features, little-endian."""


@dataclass(slots=True)
class TransactionRecords:
    """The records of one transaction; what was not found is None or empty.

    Attributes:
        found_in: Where the transaction was found.
        transaction: As it arrived.
        source: Where it stands.
        scores: Its answers, in their order; the first one counts, one flagged `restated` comes beside it.
        alert: The alert, where an answer is one.
        vectors: Logged vectors of it, in their order.
        labels: Statements about it.
    """

    found_in: FoundIn
    transaction: Fields | None = None
    source: Source | None = None
    scores: list[Fields] = field(default_factory=list)
    alert: Fields | None = None
    vectors: list[Vector] = field(default_factory=list)
    labels: list[ExplainedLabel] = field(default_factory=list)

    def complete(self, other: "TransactionRecords") -> None:
        """Take from `other` what is missing here."""
        if self.transaction is None and other.transaction is not None:
            self.transaction, self.found_in = other.transaction, other.found_in
        self.source = self.source or other.source
        self.scores = self.scores or other.scores
        self.alert = self.alert or other.alert
        self.vectors = self.vectors or other.vectors
        known = {(label.at_ms, label.is_fraud) for label in self.labels}
        self.labels += [label for label in other.labels if (label.at_ms, label.is_fraud) not in known]

    @property
    def first_score(self) -> Fields | None:
        """The answer that counts."""
        return next((score for score in self.scores if Flag.RESTATED.value not in flags_of(score)), None) or next(iter(self.scores), None)

    @property
    def is_settled(self) -> bool:
        """Whether no further answer is to be expected: one without history is followed by another when history is back."""
        return bool(self.scores) and (len(self.scores) > 1 or Flag.DEGRADED.value not in flags_of(self.scores[0]))

    @property
    def is_answered(self) -> bool:
        """Whether nothing of the answer is missing: score, vector, and alert where it is one."""
        return self.is_settled and bool(self.vectors) and (self.alert is not None or not self.is_alert)

    @property
    def is_alert(self) -> bool:
        """Whether an answer is an alert, as far as answers are known."""
        return any(score.get("decision") != "approve" for score in self.scores)


def flags_of(record: Fields) -> tuple[str, ...]:
    """Return the flags of an answer."""
    found = record.get("flags")
    return tuple(str(flag) for flag in found) if isinstance(found, list | tuple) else ()
