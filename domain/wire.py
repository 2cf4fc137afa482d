"""Decode a JSON record into a struct, with an error that names field, value found and what to do."""

import re
from typing import TypeVar

import msgspec

from domain.card_number import is_card_number
from domain.errors import InvalidRecord, MalformedRecord

T = TypeVar("T")

_AT = re.compile(r" - at `\$\.?([^`]*)`$")
_MISSING = re.compile(r"missing required field `(\w+)`")
_LONGEST_VALUE = 40
#: Fields whose value never appears in a reason.
SECRET_FIELDS = frozenset({"card_id"})


def decode(decoder: msgspec.json.Decoder[T], data: bytes | None) -> T:
    """Return the struct that `data` holds.

    Raises:
        MalformedRecord: `data` is empty, not UTF-8 JSON or not an object.
        InvalidRecord: A field is missing, of the wrong type or outside its range.
    """
    if not data:
        raise MalformedRecord("the record is empty; send one JSON object")
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as error:
        raise _explain(str(error), data) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedRecord(f"not JSON ({_safe(str(error))}); send one JSON object in UTF-8") from error


def invalid(field: str, value: object, rule: str) -> InvalidRecord:
    """Return the error for `field`: what it must be, what was found."""
    found = "value not shown" if field.partition(".")[0] in SECRET_FIELDS else f"found {shown(value)}"
    return InvalidRecord(field, f"{field} must be {rule}; {found}")


def shown(value: object) -> str:
    """Return a short, printable form of `value` without card numbers."""
    text = value if isinstance(value, str) else repr(value)
    if any(is_card_number(word) for word in re.findall(r"[\d -]{13,}", text)):
        return "a card number (not shown)"
    text = text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + "..."
    return ascii(text) if isinstance(value, str) else text.encode("ascii", "replace").decode()


def _explain(message: str, data: bytes) -> MalformedRecord | InvalidRecord:
    if missing := _MISSING.search(message):
        return InvalidRecord(missing[1], f"{missing[1]} is missing; send it with every record")
    place = _AT.search(message)
    rule = _AT.sub("", message)
    if place is None or not place[1]:
        return MalformedRecord(f"{rule}; send one JSON object")
    value: object = msgspec.json.decode(data)
    for name in re.findall(r"\w+", place[1]):
        value = value.get(name) if isinstance(value, dict) else value
    rule = re.sub(r", got `\w+`$", "", rule).removeprefix("Expected ")
    return invalid(place[1], value, rule)


def _safe(text: str) -> str:
    return shown(text).strip("'\"")
