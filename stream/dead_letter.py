"""What becomes of a record that can never be processed: its bytes go to the dead-letter topic, with the reason."""

from domain.card_number import mask_card_number
from domain.errors import CardNumberRejected, RejectedRecord
from stream.records import Message, Record


def dead_letter(record: Record, error: RejectedRecord, *, topic: str, now_ms: int, attempts: int = 1) -> Message:
    """Return the dead letter of `record`: original key and bytes, and why.

    Only a card number is not kept: it is masked in key and value, its last four digits left.

    Args:
        record: What was consumed.
        error: Why it was rejected.
        topic: Full name of the dead-letter topic.
        now_ms: UTC, milliseconds since the epoch.
        attempts: How often it has been tried, this time included.
    """
    key, value = record.key, record.value
    if isinstance(error, CardNumberRejected):
        key = mask_card_number(key, error.digits) if key is not None else None
        value = mask_card_number(value, error.digits) if value is not None else None
    headers = (
        ("error", type(error).__name__.encode()),
        ("reason", error.reason.encode()),
        ("topic", record.topic.encode()),
        ("partition", b"%d" % record.partition),
        ("offset", b"%d" % record.offset),
        ("time_ms", b"%d" % now_ms),
        ("attempts", b"%d" % attempts),
    )
    return Message(topic, key, value, partition=0, headers=headers)
