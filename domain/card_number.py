"""Recognise payment card numbers, so that they are refused and never printed."""

import re

_SEPARATORS = str.maketrans("", "", " -")


def is_card_number(text: str) -> bool:
    """Tell whether `text` is 13 to 19 digits (blanks and dashes apart) that pass the Luhn check (ISO/IEC 7812-1).

    >>> is_card_number("4111 1111 1111 1111"), is_card_number("c000000000001234")
    (True, False)
    """
    if not (digits := text.translate(_SEPARATORS)).isdecimal() or not digits.isascii():
        return False
    return 13 <= len(digits) <= 19 and _luhn_sum(digits) % 10 == 0


def mask_card_number(data: bytes, digits: str) -> bytes:
    """Return `data` with every occurrence of `digits` replaced by stars, its last four digits kept.

    >>> mask_card_number(b'{"card_id":"4111111111111111"}', "4111111111111111")
    b'{"card_id":"************1111"}'
    """
    masked = "*" * (len(digits) - 4) + digits[-4:]
    return re.sub(re.escape(digits.encode()), masked.encode(), data)


def _luhn_sum(digits: str) -> int:
    total = 0
    for place, character in enumerate(reversed(digits)):
        value = int(character) << (place & 1)
        total += value - 9 if value > 9 else value
    return total
