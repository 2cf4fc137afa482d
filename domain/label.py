"""What became known about a transaction: fraud, or good after all."""

from typing import Final, Literal

import msgspec

from domain.card_number import is_card_number
from domain.errors import CardNumberRejected, InvalidRecord
from domain.transaction import Identifier, TimeMs
from domain.wire import decode

LabelSource = Literal["chargeback", "analyst", "customer", "rule"]
SOURCES: Final[tuple[LabelSource, ...]] = ("chargeback", "analyst", "customer", "rule")


class Label(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One statement about one transaction. A later one (by label time, then offset) corrects an earlier one."""

    transaction_id: Identifier
    is_fraud: bool
    label_time_ms: TimeMs
    """When it became known: UTC, milliseconds since the epoch; after the event."""
    source: LabelSource
    event_time_ms: TimeMs | None = None
    card_id: Identifier | None = None
    merchant_id: Identifier | None = None
    device_id: Identifier | None = None
    ip: Identifier | None = None


_DECODER = msgspec.json.Decoder(Label)


def decode_label(data: bytes | None) -> Label:
    """Return the label that `data` holds.

    >>> decode_label(b'{"transaction_id":"t1","is_fraud":true,"label_time_ms":5,"source":"analyst"}').is_fraud
    True

    Raises:
        RejectedRecord: The record can never be applied; the error's reason says why.
    """
    label = decode(_DECODER, data)
    if label.card_id is not None and is_card_number(label.card_id):
        raise CardNumberRejected(label.card_id)
    if label.event_time_ms is not None and label.label_time_ms <= label.event_time_ms:
        raise not_later(label.label_time_ms, label.event_time_ms)
    return label


def not_later(label_ms: int, event_ms: int) -> InvalidRecord:
    """Return the error of a label that is not later than its event."""
    return InvalidRecord("label_time_ms", f"label_time_ms must be later than the event; found {event_ms - label_ms} ms before it")
