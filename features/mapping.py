"""The mapping file of an import: which of a foreign file's columns mean what."""

import tomllib
from pathlib import Path
from typing import Annotated, Final, Literal
from zoneinfo import ZoneInfo

import msgspec

from domain.errors import HistoryError
from features.history import REQUIRED, SCHEMA

Scalar = str | int | float | bool

#: Names on the left side of [columns]; times come as date-times (`event_time`) or as numbers (`event_time_ms`).
FIELDS: Final = (*SCHEMA, "event_time", "label_time")
_AMOUNT: Final = "amount_minor"
_NEVER_CONSTANT: Final = ("transaction_id", "event_time_ms", "card_id", _AMOUNT, "label_time_ms")


class AmountMapping(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the amount stands, and in which unit."""

    column: str
    unit: Literal["major", "minor"] = "major"
    """major: 19.99; minor: 1999. The currency says how many digits lie between (ISO 4217)."""


class TimeMapping(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How date-times are written."""

    zone: str = "UTC"
    """IANA time zone of date-times without an offset."""
    format: str | None = None
    """For text that is not ISO-8601: a strftime pattern, like `%d/%m/%Y %H:%M`."""


class LabelMapping(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When frauds became known, for a file without a label_time column."""

    delay_days: Annotated[float, msgspec.Meta(gt=0, le=366)]


class Mapping(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A mapping file, whole. `load_mapping` checks that its parts fit together."""

    columns: dict[str, str]
    """Ours = theirs."""
    constants: dict[str, Scalar] = {}
    """Fields with the same value in every row."""
    amount: AmountMapping | None = None
    """May be left out when [columns] maps `amount_minor`."""
    prefix: dict[str, str] = {}
    """Text put before every value of a field."""
    values: dict[str, dict[str, Scalar]] = {}
    """By field: their value = ours. A value without an entry must be readable as it is."""
    time: TimeMapping = TimeMapping()
    label: LabelMapping | None = None

    def foreign_columns(self) -> list[str]:
        """Return the names of the foreign columns that are read, each once."""
        amount = [self.amount.column] if self.amount else []
        return list(dict.fromkeys([*self.columns.values(), *amount]))


def load_mapping(path: Path) -> Mapping:
    """Return the mapping that the TOML file holds.

    Raises:
        HistoryError: The file cannot be read, or a name or a value in it is wrong; the message names it.
    """
    try:
        mapping = msgspec.convert(tomllib.loads(path.read_text("utf-8")), Mapping)
    except OSError as error:
        raise HistoryError(f"mapping {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise HistoryError(f"mapping {path} is not TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise HistoryError(f"mapping {path}: {error}") from error
    problem = _names(mapping) or _parts(mapping)
    if problem:
        raise HistoryError(f"mapping {path}: {problem}")
    return mapping


def _names(mapping: Mapping) -> str | None:
    for section, allowed in (
        ("columns", FIELDS),
        ("constants", tuple(name for name in SCHEMA if name not in _NEVER_CONSTANT)),
        ("prefix", ("transaction_id", "card_id", "merchant_id", "device_id", "ip")),
        ("values", tuple(mapping.columns)),
    ):
        for name in getattr(mapping, section):
            if name not in allowed:
                return f"[{section}] knows no {name}; it may name {', '.join(allowed)}"
    return None


def _parts(mapping: Mapping) -> str | None:
    given = set(mapping.columns) | set(mapping.constants)
    for name in mapping.columns:
        if name in mapping.constants:
            return f"{name} is in [columns] and in [constants]; keep one"
    for one, other in (("event_time", "event_time_ms"), ("label_time", "label_time_ms")):
        if one in given and other in given:
            return f"[columns] maps {one} and {other}; keep one"
    if mapping.amount and _AMOUNT in given:
        return f"{_AMOUNT} is in [columns] and [amount] is given; keep one"
    given |= {_AMOUNT} if mapping.amount else set()
    given |= {"event_time_ms"} if "event_time" in given else set()
    if missing := [name for name in REQUIRED if name not in given]:
        return f"nothing says where {' and '.join(missing)} comes from; add it to [columns], [constants] or [amount]"
    has_label_time = "label_time" in given or "label_time_ms" in given
    if mapping.label and has_label_time:
        return "[label] delay_days and a label_time column exclude each other; keep one"
    if "is_fraud" in given and not mapping.label and not has_label_time:
        return "is_fraud needs a time: map label_time, or set [label] delay_days"
    if mapping.label and "is_fraud" not in given:
        return "[label] is given but nothing says where is_fraud comes from; map it in [columns]"
    try:
        ZoneInfo(mapping.time.zone)
    except (KeyError, ValueError, OSError):
        return f"[time] zone must be an IANA name like Europe/Berlin; found {mapping.time.zone!r}"
    return None
