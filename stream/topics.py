"""Every topic once: name, key, value, partitions, clean-up. What `weir topics create` makes and `check` verifies."""

from typing import Final, Literal, NamedTuple

import msgspec

DAY_MS: Final = 86_400_000
LARGEST_DEAD_LETTER_BYTES: Final = 2 * 1024 * 1024


class Topic(msgspec.Struct, frozen=True):
    """One topic of the contract."""

    name: str
    """Without the installation's prefix."""
    key: str
    value: str
    partitions: int
    """Of the demo; output topics must have as many as their input."""
    cleanup: Literal["delete", "compact"] = "delete"
    retention_ms: int | None = None
    max_message_bytes: int | None = None

    def config(self) -> dict[str, str]:
        """Return the topic's Kafka configuration. Append time is the broker's, always."""
        found = {"message.timestamp.type": "LogAppendTime", "cleanup.policy": self.cleanup}
        if self.retention_ms is not None:
            found["retention.ms"] = str(self.retention_ms)
        if self.max_message_bytes is not None:
            found["max.message.bytes"] = str(self.max_message_bytes)
        return found


TRANSACTIONS: Final = Topic("transactions.v1", "card_id", "Transaction", 4, retention_ms=7 * DAY_MS)
LABELS: Final = Topic("labels.v1", "transaction_id", "Label", 4, retention_ms=30 * DAY_MS)
SCORES: Final = Topic("scores.v1", "card_id", "Score", 4, retention_ms=7 * DAY_MS)
ALERTS: Final = Topic("alerts.v1", "card_id", "Alert", 4, retention_ms=30 * DAY_MS)
FEATURE_ROWS: Final = Topic("features.v1", "card_id", "FeatureRow", 4, retention_ms=2 * DAY_MS)
TRANSACTIONS_DEAD: Final = Topic(
    "transactions.dead.v1", "original key", "original bytes", 1,
    retention_ms=30 * DAY_MS, max_message_bytes=LARGEST_DEAD_LETTER_BYTES,
)  # fmt: skip
LABELS_DEAD: Final = Topic(
    "labels.dead.v1", "original key", "original bytes", 1,
    retention_ms=30 * DAY_MS, max_message_bytes=LARGEST_DEAD_LETTER_BYTES,
)  # fmt: skip
CONTROL: Final = Topic("control.v1", "name", "ControlEvent", 1, cleanup="compact")

TOPICS: Final = (
    TRANSACTIONS, LABELS, SCORES, ALERTS, FEATURE_ROWS, TRANSACTIONS_DEAD, LABELS_DEAD, CONTROL,
)  # fmt: skip
DEAD_LETTERS: Final = {TRANSACTIONS.name: TRANSACTIONS_DEAD, LABELS.name: LABELS_DEAD}
"""Where a rejected record of a topic goes."""


class OutputTopics(NamedTuple):
    """Full names of the topics that answers go to."""

    scores: str
    alerts: str
    features: str
    dead: str
