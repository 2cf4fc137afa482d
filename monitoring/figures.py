"""Numbers, money and times as people read them: rounded to what they mean. The dashboard's `web/format.js` says them alike."""

from datetime import UTC, datetime
from math import isfinite
from typing import Final

from features.currency import exponent

UNKNOWN: Final = "–"  # noqa: RUF001 - the dash that the dashboard shows
_SECOND_MS: Final = 1_000
_MINUTE_MS: Final = 60_000
_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 86_400_000


def count(value: float | None) -> str:
    """Return a whole number.

    >>> count(12345), count(None)
    ('12,345', '–')
    """  # noqa: RUF002 - the dash that the dashboard shows
    return UNKNOWN if value is None or not isfinite(value) else f"{_half_up(value):,}"


def figure(value: float | None, digits: int = 3) -> str:
    """Return a number with so many significant digits, never an exponent within reason.

    >>> figure(0.03456), figure(123456), figure(2.5), figure(0.0000012), figure(99.96)
    ('0.0346', '123,456', '2.5', '1.2 × 10^-6', '100')
    """  # noqa: RUF002 - a multiplication sign
    if value is None or not isfinite(value):
        return UNKNOWN
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1e9 or size < 1e-5:
        mantissa, _, power = f"{value:.1e}".partition("e")
        return f"{mantissa} × 10^{int(power)}"  # noqa: RUF001 - a multiplication sign
    return count(value) if size >= 10 ** (digits - 1) else _significant(value, digits)


def share(value: float | None) -> str:
    """Return a share as per cent.

    >>> share(0.4692), share(0.00042), share(0.0), share(1.0)
    ('46.9 %', '0.042 %', '0 %', '100 %')
    """
    if value is None or not isfinite(value):
        return UNKNOWN
    percent = value * 100
    size = abs(percent)
    if size == 0:
        return "0 %"
    return f"{percent:.0f} %" if size >= 99.95 else f"{percent:.1f} %" if size >= 1 else f"{_significant(percent, 2)} %"


def index(value: float | None) -> str:
    """Return an index value with three decimals, so that columns align.

    >>> index(0.2314)
    '0.231'
    """
    return UNKNOWN if value is None or not isfinite(value) else f"{value:.3f}"


def duration(length_ms: float | None) -> str:
    """Return a length of time in its largest sensible unit.

    >>> duration(5_000), duration(180_000), duration(7_200_000), duration(4 * 86_400_000)
    ('5 s', '3 min', '2 h', '4 days')
    """
    if length_ms is None or not isfinite(length_ms):
        return UNKNOWN
    size = abs(length_ms)
    for unit_ms, limit_ms, unit in ((_SECOND_MS, _MINUTE_MS, "s"), (_MINUTE_MS, _HOUR_MS, "min"), (_HOUR_MS, 2 * _DAY_MS, "h")):
        if size < limit_ms:
            return f"{_half_up(size / unit_ms)} {unit}"
    return f"{_half_up(size / _DAY_MS):,} days"


def moment(time_ms: int | None) -> str:
    """Return a time to the second.

    >>> moment(1567209600123)
    '2019-08-31 00:00:00 UTC'
    """
    return UNKNOWN if time_ms is None else datetime.fromtimestamp(time_ms // 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def day(time_ms: int) -> str:
    """Return a day without its year.

    >>> day(1567209600000)
    '31 Aug'
    """
    time = datetime.fromtimestamp(time_ms // 1000, UTC)
    return f"{time.day} {time:%b}"


def date(time_ms: int) -> str:
    """Return a day.

    >>> date(1567209600000)
    '31 Aug 2019'
    """
    return f"{day(time_ms)} {datetime.fromtimestamp(time_ms // 1000, UTC).year}"


def total(amount_minor: float | None, currency: str) -> str:
    """Return the money of many transactions, without the cents.

    >>> total(1234567, "EUR"), total(123_456_789_00, "EUR"), total(500, "JPY")
    ('12,346 EUR', '123.46 m EUR', '500 JPY')
    """
    if amount_minor is None:
        return UNKNOWN
    amount = amount_minor / 10 ** exponent(currency)
    return f"{amount / 1e6:,.2f} m {currency}" if abs(amount) >= 1e6 else f"{count(amount)} {currency}"


def quantity(value: float | None, unit: str, *, currency: str = "", name: str = "") -> str:
    """Return a feature's value with its unit.

    >>> quantity(7200.0, "s"), quantity(199900.0, "minor units", currency="EUR"), quantity(85.0, "code", name="event_country")
    ('2 h', '1,999.00 EUR', 'DH')
    """
    if value is None or not isfinite(value):
        return "missing"
    if unit == "minor units":
        digits = exponent(currency) if currency else 0
        return f"{_half_up(value) / 10**digits:,.{digits}f} {currency}" if currency else f"{figure(value)} minor units"
    if unit == "s":
        return "0 s" if value < 1 else duration(value * 1000)
    if unit == "0 or 1":
        return "yes" if value else "no"
    if unit == "code":
        code = round(value)
        return chr(65 + code // 26) + chr(65 + code % 26) if name == "event_country" else str(code)
    if unit == "ratio":
        return f"{figure(value)} ×"  # noqa: RUF001 - a multiplication sign
    if unit in {"1", "", "estimated number", "decayed count", "transactions"}:
        return figure(value)
    return f"{figure(value)} {unit}"


def plural(n: int, one: str, many: str = "") -> str:
    """Return a number of things.

    >>> plural(1, "worker"), plural(3, "worker")
    ('1 worker', '3 workers')
    """
    return f"{count(n)} {one if n == 1 else many or one + 's'}"


def _significant(value: float, digits: int) -> str:
    decimals = digits - 1 - int(f"{value:.{digits - 1}e}".partition("e")[2])
    text = f"{value:,.{max(decimals, 0)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _half_up(value: float) -> int:
    """Round as browsers do: a half away from zero."""
    return int(value + 0.5) if value >= 0 else -int(-value + 0.5)
