"""A card transaction, as it arrives on `transactions.v1`."""

from datetime import datetime
from typing import Annotated, Final

import msgspec

from domain.card_number import is_card_number
from domain.errors import CardNumberRejected
from domain.wire import decode, invalid

Identifier = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
END_OF_TIME_MS: Final = 253_402_300_800_000
"""The year 10000, in milliseconds since the epoch."""
TimeMs = Annotated[int, msgspec.Meta(ge=0, lt=END_OF_TIME_MS)]
"""Milliseconds since the epoch, up to the end of the year 9999."""

CHANNELS: Final = ("pos", "ecom", "atm", "contactless", "moto", "other")
LONGEST_EXTRA_BYTES: Final = 2048


class Transaction(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One use of a card. Unknown fields are tolerated: producers evolve first."""

    transaction_id: Identifier
    """Unique; the identity of the decision."""
    card_id: Identifier
    """Opaque token; never a card number."""
    amount_minor: Annotated[int, msgspec.Meta(ge=0, lt=1 << 40)]
    """Minor units of `currency` (1999 is 19.99 EUR), so that sums stay exact."""
    currency: Annotated[str, msgspec.Meta(pattern="^[A-Z]{3}$", max_length=3)]
    """ISO 4217 code."""
    merchant_id: Identifier
    """Merchant or terminal: the place that can go bad."""
    event_time_ms: TimeMs | None = None
    """When the card was used: UTC, milliseconds since the epoch. Always set after `decode_transaction`."""
    event_time: str | None = None
    """ISO-8601 with offset, accepted instead of `event_time_ms`; None after `decode_transaction`."""
    device_id: Identifier | None = None
    ip: Identifier | None = None
    mcc: Annotated[int, msgspec.Meta(ge=0, le=9999)] | None = None
    """Merchant category code (ISO 18245)."""
    country: Annotated[str, msgspec.Meta(pattern="^[A-Z]{2}$", max_length=2)] | None = None
    """ISO 3166 alpha-2, of the merchant."""
    channel: str | None = None
    """One of CHANNELS; any other value becomes `other`."""
    lat: Annotated[float, msgspec.Meta(ge=-90, le=90)] | None = None
    """Degrees north, of the terminal."""
    lon: Annotated[float, msgspec.Meta(ge=-180, le=180)] | None = None
    """Degrees east, of the terminal."""
    account_age_days: Annotated[int, msgspec.Meta(ge=0, lt=1 << 31)] | None = None
    extra: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    """A JSON object of at most LONGEST_EXTRA_BYTES, carried untouched to the alert."""

    @property
    def time_ms(self) -> int:
        """The event time: UTC, milliseconds since the epoch."""
        if self.event_time_ms is None:
            raise ValueError("event_time_ms is not set: the transaction did not come from decode_transaction")
        return self.event_time_ms


_DECODER = msgspec.json.Decoder(Transaction)


def decode_transaction(data: bytes | None) -> Transaction:
    """Return the transaction that `data` holds, normalised: `event_time_ms` set, `channel` one of CHANNELS.

    >>> decode_transaction(b'{"transaction_id":"t1","card_id":"c1","amount_minor":1999,"currency":"EUR",'
    ...                    b'"merchant_id":"m1","event_time":"2026-01-01T00:00:01Z"}').time_ms
    1767225601000

    Raises:
        RejectedRecord: The record can never be scored; the error's reason says why.
    """
    record = decode(_DECODER, data)
    if is_card_number(record.card_id):
        raise CardNumberRejected(record.card_id)
    changes: dict[str, object] = {}
    if record.event_time_ms is None:
        changes["event_time_ms"] = _parse_time(record.event_time)
    if record.event_time is not None:
        changes["event_time"] = None
    if record.channel is not None and record.channel not in CHANNELS:
        changes["channel"] = "other"
    if isinstance(record.extra, msgspec.Raw):
        if bytes(record.extra) == b"null":
            changes["extra"] = msgspec.UNSET
        else:
            _check_extra(bytes(record.extra))
    return msgspec.structs.replace(record, **changes) if changes else record


def _parse_time(text: str | None) -> int:
    if text is None:
        raise invalid("event_time_ms", text, "milliseconds since the epoch (or send event_time in ISO-8601 with offset)")
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise invalid("event_time", text, "ISO-8601 with offset, like 2026-01-31T12:00:00+01:00") from None
    if time.tzinfo is None:
        raise invalid("event_time", text, "ISO-8601 with an offset from UTC, like 2026-01-31T12:00:00+01:00")
    time_ms = round(time.timestamp() * 1000)
    if not 0 <= time_ms < END_OF_TIME_MS:
        raise invalid("event_time", text, "from 1970-01-01 to the end of the year 9999, UTC")
    return time_ms


def _check_extra(extra: bytes) -> None:
    if len(extra) > LONGEST_EXTRA_BYTES:
        raise invalid("extra", f"{len(extra)} bytes", f"an object of at most {LONGEST_EXTRA_BYTES} bytes")
    try:
        text = extra.decode()
    except UnicodeDecodeError as error:
        raise invalid("extra", f"{len(extra)} bytes", "a JSON object in UTF-8") from error
    if not text.startswith("{"):
        raise invalid("extra", text, "a JSON object")
