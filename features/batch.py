"""Transactions as columns: what the kernel needs of them, the same from records and from a history."""

from collections.abc import Sequence
from typing import Final, NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from domain.decision import FLAG_BITS, Flag
from domain.transaction import CHANNELS, Transaction
from features import layout as at
from features.currency import Rates, to_base
from features.spec import FUTURE_MS

CHANNEL_CODES: Final = {channel: code for code, channel in enumerate(CHANNELS)}


class Batch(NamedTuple):
    """Columns of n transactions."""

    source: NDArray[np.int64]
    """Registered source id << 48 | offset, (n,)."""
    time_ms: NDArray[np.int64]
    """Event time after the rule for future events, (n,)."""
    amount: NDArray[np.int64]
    """Minor units of the base currency, capped; -1 = unknown, (n,)."""
    lat: NDArray[np.int16]
    """0.01 degree; NO_PLACE = unknown, (n,)."""
    lon: NDArray[np.int16]
    codes: NDArray[np.int32]
    """Channel, category, country; -1 = not sent, (n, 3)."""
    flags: NDArray[np.uint16]
    """Bits of `domain.decision.FLAG_BITS` known before any state: future, currency_unknown, (n,)."""
    entities: tuple[Sequence[str | None], ...]
    """Card, merchant, device and ip ids, n each; None = not sent."""


def country_code(country: str | None) -> int:
    """Return 26 * first letter + second letter, A = 0; -1 if there is none.

    >>> country_code("AB"), country_code(None)
    (1, -1)
    """
    return -1 if country is None else 26 * (ord(country[0]) - 65) + ord(country[1]) - 65


def counterparty_hash(entity_id: str) -> int:
    """Return the 32-bit hash under which an entity is somebody's counterparty."""
    return crc32(entity_id.encode())


def hundredths(degrees: NDArray[np.float64]) -> NDArray[np.int16]:
    """Return places in 0.01 degree; NaN becomes NO_PLACE."""
    rounded = np.rint(degrees * 100.0)
    placed: NDArray[np.int16] = np.where(np.isnan(rounded), at.NO_PLACE, rounded).astype(np.int16)
    return placed


def places(lat: NDArray[np.float64], lon: NDArray[np.float64]) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """Return latitude and longitude in 0.01 degree; NO_PLACE in both where either is unknown."""
    known = ~(np.isnan(lat) | np.isnan(lon))
    return hundredths(np.where(known, lat, np.nan)), hundredths(np.where(known, lon, np.nan))


def batch_of(transactions: Sequence[Transaction], source: NDArray[np.int64], append_ms: NDArray[np.int64], rates: Rates) -> Batch:
    """Return the columns of decoded transactions.

    An event more than 5 minutes ahead of its append time gets the append time and the flag `future`; a currency
    without a rate leaves the amount unknown and sets `currency_unknown`.

    Args:
        transactions: n transactions in the order of their records.
        source: Registered source id << 48 | offset, (n,).
        append_ms: When the broker appended each record, ms, (n,).
        rates: Of the base currency.
    """
    n = len(transactions)
    event_ms = np.fromiter((t.time_ms for t in transactions), np.int64, n)
    is_future = event_ms > append_ms + FUTURE_MS
    time_ms = np.where(is_future, append_ms, event_ms)
    minor = np.fromiter((t.amount_minor for t in transactions), np.int64, n)
    factor = np.fromiter((rates.factor(t.currency, m) for t, m in zip(transactions, time_ms.tolist(), strict=True)), np.float64, n)
    amount = to_base(minor, factor, at.LARGEST_AMOUNT)
    nan = float("nan")
    lat, lon = places(
        np.fromiter((nan if t.lat is None else t.lat for t in transactions), np.float64, n),
        np.fromiter((nan if t.lon is None else t.lon for t in transactions), np.float64, n),
    )
    codes = np.empty((n, 3), np.int32)
    codes[:, 0] = [-1 if t.channel is None else CHANNEL_CODES[t.channel] for t in transactions]
    codes[:, 1] = [-1 if t.mcc is None else t.mcc for t in transactions]
    codes[:, 2] = [country_code(t.country) for t in transactions]
    flags = is_future.astype(np.uint16) * FLAG_BITS[Flag.FUTURE] + (amount < 0).astype(np.uint16) * FLAG_BITS[Flag.CURRENCY_UNKNOWN]
    return Batch(
        source, time_ms, amount, lat, lon, codes, flags.astype(np.uint16),
        ([t.card_id for t in transactions], [t.merchant_id for t in transactions],
         [t.device_id for t in transactions], [t.ip for t in transactions]),
    )  # fmt: skip
