"""Text for a terminal without card numbers, wherever in it they stand."""

import re
from typing import Final

from domain.card_number import has_card_number, is_card_number

#: Digits, perhaps in groups or escaped as JSON may or two bytes each, that are long enough to hold a card number.
_DIGIT_RUN: Final = re.compile(r"(?:[0-9]|\\u003[0-9])(?:(?:[ \0-]|\\u002[0dD])*(?:[0-9]|\\u003[0-9])){12,}")
_ESCAPED: Final = re.compile(r"\\u00([23][0-9dD])")
#: A time in milliseconds has 13 digits, and every tenth number of 13 digits passes the Luhn check.
_TIME: Final = re.compile(r'(?:_ms["\']?\s*[:=]?\s*|:[0-9]+@)$')
_LONGEST_GROUPED: Final = 64


def mask_card_numbers(text: str) -> str:
    r"""Return `text` with every card number replaced by stars but for its last four digits; a longer run of digits that holds one entirely.

    Thirteen digits that begin with 1 and follow a name ending in `_ms`, or the `:offset@` of a record's place, are a time and stay.

    >>> mask_card_numbers('{"card_id": "4111 1111 1111 1111", "event_time_ms": 1767225601007}')
    '{"card_id": "************1111", "event_time_ms": 1767225601007}'
    >>> mask_card_numbers("transactions.dead.v1:0:0@1795322332275")
    'transactions.dead.v1:0:0@1795322332275'
    >>> mask_card_numbers(r'{"card_id": "\u0034111111111111111"}')
    '{"card_id": "************1111"}'
    """

    def masked(found: re.Match[str]) -> str:
        run = _ESCAPED.sub(lambda escape: chr(int(escape[1], 16)), found[0]).replace("\0", "")
        if len(run) == 13 and run[0] == "1" and _TIME.search(text, max(0, found.start() - 16), found.start()):
            return found[0]
        if not has_card_number(run):
            return found[0]
        return "*" * 12 + run[-4:] if is_card_number(run) and len(run) < _LONGEST_GROUPED else "*" * 12

    return _DIGIT_RUN.sub(masked, text)


def mask_card_bytes(data: bytes) -> bytes:
    r"""Return `data` with every card number in it masked likewise, whatever else the bytes are.

    >>> mask_card_bytes(b"\xff4111111111111111")
    b'\xff************1111'
    """
    return mask_card_numbers(data.decode("latin-1")).encode("latin-1")


def mask_card_values(value: object, name: str = "") -> object:
    """Return a JSON value with every card number in it masked, at any depth, in keys too; a number becomes text then.

    >>> mask_card_values({"pan": 4111111111111111, "time_ms": 1767225601007, "note": ["4111-1111-1111-1111"], "p": 0.4111111111111111})
    {'pan': '************1111', 'time_ms': 1767225601007, 'note': ['************1111'], 'p': 0.4111111111111111}
    """
    if isinstance(value, str):
        return mask_card_numbers(value)
    if isinstance(value, dict):
        return {mask_card_numbers(str(key)): mask_card_values(each, str(key)) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [mask_card_values(each, name) for each in value]
    # Every tenth probability has 13 digits behind its point that pass the Luhn check.
    if (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and value.is_integer()):
        label = f"{name}: "
        text = mask_card_numbers(label + repr(value)).removeprefix(label)
        return value if text == repr(value) else text
    return value
