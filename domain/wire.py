"""Decode a JSON record into a struct, with an error that names field, value found and what to do."""

import re
from typing import TypeVar, get_args, get_type_hints

import msgspec

from domain.card_number import card_number_in, has_card_number
from domain.errors import CardNumberRejected, InvalidRecord, MalformedRecord, RejectedRecord

T = TypeVar("T")

_AT = re.compile(r" - at `\$\.?([^`]*)`$")
_MISSING = re.compile(r"missing required field `(\w+)`")
_LONGEST_VALUE = 40
_NOT_DECODED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
#: Fields whose value never appears in a reason.
SECRET_FIELDS = frozenset({"card_id"})


def decode(decoder: msgspec.json.Decoder[T], data: bytes | None) -> T:
    """Return the struct that `data` holds.

    Raises:
        MalformedRecord: `data` is empty, not UTF-8 JSON or not an object.
        InvalidRecord: A field is missing, of the wrong type or outside its range.
        CardNumberRejected: It is one of those, and its `card_id` is a card number: it must be masked all the same.
    """
    if not data:
        raise MalformedRecord("the record is empty; send one JSON object")
    try:
        return decoder.decode(data)
    except _NOT_DECODED as error:
        if digits := card_number_in(data):
            raise CardNumberRejected(digits) from None
        if isinstance(error, msgspec.ValidationError):
            raise _explain(str(error), data, decoder) from error
        raise _not_json(error) from error


def invalid(field: str, value: object, rule: str) -> InvalidRecord:
    """Return the error for `field`: what it must be, what was found."""
    found = "value not shown" if field.partition(".")[0] in SECRET_FIELDS else f"found {shown(value)}"
    return InvalidRecord(field, f"{field} must be {rule}; {found}")


def shown(value: object) -> str:
    """Return a short, printable form of `value` without card numbers."""
    text = value if isinstance(value, str) else repr(value)
    # A number that begins in the part that is shown ends before this.
    if has_card_number(text[: 3 * _LONGEST_VALUE]):
        return "a card number (not shown)"
    text = text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + "..."
    return ascii(text) if isinstance(value, str) else text.encode("ascii", "replace").decode()


def _not_json(error: Exception) -> MalformedRecord:
    return MalformedRecord(f"not JSON ({_safe(str(error))}); send one JSON object in UTF-8")


def _explain(message: str, data: bytes, decoder: msgspec.json.Decoder[T]) -> RejectedRecord:
    try:
        value: object = msgspec.json.decode(data)
    except _NOT_DECODED as error:  # it breaks behind the field that was refused first
        return _not_json(error)
    if missing := _MISSING.search(message):
        return InvalidRecord(missing[1], f"{missing[1]} is missing; send it with every record")
    place = _AT.search(message)
    rule = _AT.sub("", message)
    if place is None or not place[1]:
        return MalformedRecord(f"{rule}; send one JSON object")
    for name in re.findall(r"\w+", place[1]):
        value = value.get(name) if isinstance(value, dict) else value
    if rule.startswith("Invalid enum value"):
        rule = "one of " + ", ".join(get_args(get_type_hints(decoder.type)[place[1]]))
    rule = re.sub(r", got `\w+`$", "", rule).removeprefix("Expected ")
    return invalid(place[1], value, rule)


def _safe(text: str) -> str:
    return shown(text).strip("'\"")
