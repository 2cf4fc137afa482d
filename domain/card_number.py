"""Recognise payment card numbers, so that they are refused and never printed."""

import re
from typing import Final

_SEPARATORS: Final = str.maketrans("", "", " -")
_LENGTHS: Final = range(13, 20)
#: Digits, perhaps in groups, that are long enough to hold a card number.
_DIGIT_RUN: Final = re.compile(r"[0-9](?:[ -]*[0-9]){12,}")
_CARD_ID: Final = re.compile(rb'"card_id"\s*:\s*"?([0-9](?:[ -]*[0-9]){12,18})(?![0-9])')
#: A printable character of ASCII as JSON may write it, too.
_ESCAPED: Final = re.compile(rb"\\u00([2-7][0-9A-Fa-f])")
_GAP: Final = rb"(?:[ -]|\\u002[0dD])*"


def is_card_number(text: str) -> bool:
    """Tell whether `text` is 13 to 19 digits (blanks and dashes apart) that pass the Luhn check (ISO/IEC 7812-1).

    >>> is_card_number("4111 1111 1111 1111"), is_card_number("c000000000001234")
    (True, False)
    """
    if not (digits := text.translate(_SEPARATORS)).isdecimal() or not digits.isascii():
        return False
    return len(digits) in _LENGTHS and _luhn_sum(digits) % 10 == 0


def has_card_number(text: str) -> bool:
    """Tell whether a card number stands anywhere in `text`, also beside other digits.

    >>> has_card_number("12 4111-1111-1111-1111"), has_card_number("12 4111-1111")
    (True, False)
    """
    return any(
        is_card_number(digits[first : first + length])
        for run in _DIGIT_RUN.findall(text)
        for digits in [run.translate(_SEPARATORS)]
        for first in range(len(digits) - _LENGTHS.start + 1)
        for length in _LENGTHS
    )


def card_number_in(record: bytes) -> str | None:
    """Return the card number that JSON bytes, perhaps broken ones, give as `card_id`, however written; None if there is none.

    >>> card_number_in(b'{"card_id": 4111111111111111, "amount_minor":')
    '4111111111111111'
    """
    found = (match[1].decode() for match in _CARD_ID.finditer(_plain(record)))
    return next((digits for digits in found if is_card_number(digits)), None)


def mask_card_number(data: bytes, digits: str) -> bytes:
    r"""Return `data` with every occurrence of `digits`, however grouped and escaped, replaced by stars; the last four characters stay.

    >>> mask_card_number(b'{"card_id":"4111111111111111"}', "4111111111111111")
    b'{"card_id":"************1111"}'
    >>> mask_card_number(rb'{"card_id":"\u0034111111111111111"}', "4111111111111111")
    b'{"card_id":"************1111"}'
    """

    def masked(found: re.Match[bytes]) -> bytes:
        plain = _plain(found[0])
        return b"*" * (len(plain) - 4) + plain[-4:]

    number = _GAP.join(rb"(?:%b|\\u003%b)" % (digit, digit) for digit in re.findall(rb"[0-9]", digits.encode()))
    return re.sub(number, masked, data)


def _plain(data: bytes) -> bytes:
    """Return `data` with the escapes of printable ASCII resolved."""
    return _ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), data)


def _luhn_sum(digits: str) -> int:
    total = 0
    for place, character in enumerate(reversed(digits)):
        value = int(character) << (place & 1)
        total += value - 9 if value > 9 else value
    return total
