"""Numbers and UUIDs in a path, by their value: a service that reads one takes many spellings of it.

Spring takes ``0x7``, ``#7``, ``007`` and ``+7`` for 7, others ``7-name`` (Rails), ``7.0``, ``7e0`` (JavaScript) or
``0b111``. One that keeps 32 or 64 bits takes 4294967303 for 7. Java takes ``1-2-3-4-5`` for
``00000001-0002-0003-0004-000000000005``. A text has therefore a set of values: each that some service could read. Texts
are folded (see ``fold``), so that their letters are small ones.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Final

Value = tuple[str, int]
"""A kind (``number``, ``uuid``) and the value."""

_NUMBER: Final = "number"
_UUID: Final = "uuid"
_MOST_DIGITS: Final = 40
"""Longer numbers are compared as texts, and by their last bits."""
_WIDTHS: Final = (32, 64)
"""Bits of the numbers of services."""
_TELLING_DIGITS: Final = 64
"""So many last digits tell the last 64 bits, whichever of the bases they have: all are even."""

_PLAIN_NUMBER = re.compile(r"[+-]?([0-9]+)")
_DIGIT_AHEAD = re.compile(r"[+-]?(?:[0-9]|#|\.[0-9])")
_DECIMAL = re.compile(r"[+-]?0*([0-9]*)([0-9_]*)")
_FRACTION = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?")
_OF_BASE = (
    (16, re.compile(r"[+-]?(?:0x|#)[0_]*+([0-9a-f][0-9a-f_]*+|(?<=[0_]))")),
    (8, re.compile(r"[+-]?0o?[0_]*+([0-7][0-7_]*+|(?<=[0_]))")),
    (2, re.compile(r"[+-]?0b[0_]*+([01][01_]*+|(?<=[0_]))")),
)
_PLAIN_UUID = re.compile(r"[0-9a-f]{8}(-?)[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{12}")
# What was taken is not given back: two runs of the same characters beside each other would take quadratic time.
_GROUPS = re.compile(r"[^0-9a-z]*+(?:urn:)?(?:uuid:)?[^0-9a-z]*+" + "-".join(["([0-9a-f]++)"] * 5))
_HEX_PART = re.compile(r"0x([0-9a-f]+)")
_GROUP_BITS: Final = (32, 16, 16, 16, 48)
_PART_BITS: Final = (32, 16, 16, *(8,) * 8)
_UUID_DIGITS: Final = 32


def value_named(text: str) -> frozenset[Value]:
    """The values that a rule means by ``text``; none unless all of it is a number or a UUID."""
    found: set[Value] = set()
    if _PLAIN_UUID.fullmatch(text):
        found.add((_UUID, int(text.replace("-", ""), 16)))
    number = _PLAIN_NUMBER.fullmatch(text)
    if number is not None and len(number[1].lstrip("0")) <= _MOST_DIGITS:
        # A service may keep numbers in floating point, where large ones are rounded.
        found |= {(_NUMBER, int(text)), *_as_float(text)}
    return frozenset(found)


@lru_cache(maxsize=64)
def values_of(text: str) -> frozenset[Value]:
    """Everything that some service reads as a number or a UUID in a segment of a path, also what is left of a number
    with too many bits for it."""
    return _meant(text) | (_wrapped(text) if _may_be_number(text) else frozenset())


def _meant(text: str) -> frozenset[Value]:
    found = set(_uuids(text))
    if _may_be_number(text):
        found.update(_numbers(text))
    return frozenset(found)


def _may_be_number(text: str) -> bool:
    # A UUID is no number with a name behind it, unless it has no letters.
    return bool(_DIGIT_AHEAD.match(text)) and (text.isdecimal() or not _PLAIN_UUID.fullmatch(text))


def spelled_out(text: str) -> tuple[str, ...]:
    """The usual spellings of the values of a text, besides itself. A number that is cut off is not one of them: to most
    services it is another."""
    return tuple(
        str(value) if kind == _NUMBER else _hyphenated(value) for kind, value in sorted(_meant(text))
    )


def _hyphenated(value: int) -> str:
    digits = f"{value:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _numbers(text: str) -> set[Value]:
    sign = -1 if text.startswith("-") else 1
    found = _as_float(fraction[0]) if (fraction := _FRACTION.match(text)) else set()
    for base, digits in _digits(text):
        if len(digits) <= _MOST_DIGITS:
            found.add((_NUMBER, sign * int(digits or "0", base)))
    return found


def _digits(text: str) -> list[tuple[int, str]]:
    """The digits that a text begins with, by the base in which some service reads them."""
    spelled = [(base, each[1]) for base, pattern in _OF_BASE if (each := pattern.match(text))]
    if text.lstrip("+-")[:1].isdigit() and (decimal := _DECIMAL.match(text)):
        spelled += [(10, decimal[1]), (10, decimal[1] + decimal[2])]
    return [(base, digits.replace("_", "")) for base, digits in spelled]


def _wrapped(text: str) -> frozenset[Value]:
    """What is left of a number in 32 and 64 bits, with and without a sign, where it has more."""
    found = set()
    sign = -1 if text.startswith("-") else 1
    for base, digits in _digits(text):
        number = sign * int(digits[-_TELLING_DIGITS:] or "0", base)
        for width in _WIDTHS:
            if len(digits) > _TELLING_DIGITS or not -(1 << width - 1) <= number < 1 << width - 1:
                rest = number & (1 << width) - 1
                found |= {(_NUMBER, rest), (_NUMBER, rest - (rest >> width - 1 << width))}
    return frozenset(found)


def _as_float(text: str) -> set[Value]:
    number = float(text)
    exact = math.isfinite(number) and number.is_integer() and abs(number) < 10.0**_MOST_DIGITS
    return {(_NUMBER, int(number))} if exact else set()


def _uuids(text: str) -> set[Value]:
    found = set()
    # Java cuts off what a group has too much.
    if (groups := _GROUPS.match(text)) and max(map(len, groups.groups())) <= _MOST_DIGITS:
        found.add(_joined(groups.groups(), _GROUP_BITS))
    parts = _HEX_PART.findall(text)
    if len(parts) == len(_PART_BITS) and max(map(len, parts)) <= _MOST_DIGITS:
        found.add(_joined(parts, _PART_BITS))
    digits = re.sub(r"[^0-9a-f]", "", text.partition(".")[0].replace("urn:", "").replace("uuid:", ""))
    if _UUID_DIGITS // 2 <= len(digits) <= _UUID_DIGITS:
        found.add((_UUID, int(digits, 16)))
    return found


def _joined(parts: tuple[str, ...] | list[str], bits: tuple[int, ...]) -> Value:
    value = 0
    for part, width in zip(parts, bits, strict=True):
        value = value << width | int(part, 16) & (1 << width) - 1
    return _UUID, value
