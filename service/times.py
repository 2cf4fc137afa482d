"""Times as people write them on the command line, and as milliseconds since the epoch."""

import re
from datetime import UTC, datetime
from typing import Final

import click

#: Integers from here on are milliseconds since the epoch (1973); smaller ones are more likely a slip of units.
_FIRST_MS: Final = 100_000_000_000
_LAST_MS: Final = 253_402_300_800_000


def parse_time_ms(text: str) -> int:
    """Return the time that `text` names, in ms since the epoch: ISO-8601 (UTC where no offset is given) or milliseconds.

    >>> parse_time_ms("2019-08-31"), parse_time_ms("2019-08-31T02:00:00+02:00"), parse_time_ms("1567209600000")
    (1567209600000, 1567209600000, 1567209600000)

    Raises:
        ValueError: It is neither; the message says what to write.
    """
    rule = f"{text!r} is not a time; write 2026-01-31, 2026-01-31T12:00:00+01:00 or milliseconds since the epoch"
    if text.isascii() and text.isdecimal() and len(text) > 8:
        time_ms = int(text)
        if not _FIRST_MS <= time_ms < _LAST_MS:
            raise ValueError(rule)
        return time_ms
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(rule) from None
    return round((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)


def format_time(time_ms: int) -> str:
    """Return `time_ms` in ISO-8601, UTC, to the second.

    >>> format_time(1567209600123)
    '2019-08-31T00:00:00Z'
    """
    return datetime.fromtimestamp(time_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def now_ms() -> int:
    """Return the wall clock: UTC, milliseconds since the epoch."""
    return round(datetime.now(UTC).timestamp() * 1000)


class TimeMs(click.ParamType):
    """A click type whose value is a time in ms since the epoch."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the time in ms; a wrong text ends the command with a sentence."""
        if isinstance(value, int):
            return value
        try:
            return parse_time_ms(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


TIME_MS: Final = TimeMs()

_UNITS_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}


def parse_duration_ms(text: str) -> int:
    """Return a length of time in ms: a whole number and its unit, s, m, h, d or w.

    >>> parse_duration_ms("7d"), parse_duration_ms("90s")
    (604800000, 90000)

    Raises:
        ValueError: It is none, or nothing; the message says what to write.
    """
    found = re.fullmatch(r"([1-9][0-9]{0,5})([smhdw])", text)
    if found is None:
        raise ValueError(f"{text!r} is not a length of time; write a whole number above 0 and its unit, like 7d, 12h or 30m")
    return int(found[1]) * _UNITS_MS[found[2]]


class DurationMs(click.ParamType):
    """A click type whose value is a length of time in ms."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the length in ms; a wrong text ends the command with a sentence."""
        if isinstance(value, int):
            return value
        try:
            return parse_duration_ms(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


DURATION_MS: Final = DurationMs()
