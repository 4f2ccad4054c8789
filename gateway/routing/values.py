"""Compares numbers and UUIDs in a path by their value, because services accept many spellings of the same value.

Spring reads ``0x7``, ``#7``, ``007`` and ``+7`` as 7. Others also accept ``7-name`` (Rails), ``7.0``, ``7e0``
(JavaScript) or ``0b111``. A service that keeps 32 bits reads 4294967303 as 7. Java reads ``1-2-3-4-5`` as
``00000001-0002-0003-0004-000000000005``. Therefore a text has a set of values: all that a service could read. Texts are
folded (see ``fold``), so their letters are in lower case.
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
_MAX_DIGITS: Final = 40
"""Longer numbers are compared as texts, and by their last bits."""
_WIDTHS: Final = (32, 64)
"""The bit widths in which services keep numbers."""
_TELLING_DIGITS: Final = 64
"""This many last digits determine the last 64 bits in each of the bases, because all bases are even."""

_PLAIN_NUMBER = re.compile(r"([+-]?)(?=[0-9])0*+([0-9]*)")
_DIGIT_AHEAD = re.compile(r"[+-]?(?:[0-9]|#|\.[0-9])")
_DECIMAL = re.compile(r"[+-]?0*([0-9]*)([0-9_]*)")
_FRACTION = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?")
_WITH_BASE = (
    (16, re.compile(r"[+-]?(?:0x|#)[0_]*+([0-9a-f][0-9a-f_]*+|(?<=[0_]))")),
    (8, re.compile(r"[+-]?0o?[0_]*+([0-7][0-7_]*+|(?<=[0_]))")),
    (2, re.compile(r"[+-]?0b[0_]*+([01][01_]*+|(?<=[0_]))")),
)
_PLAIN_UUID = re.compile(r"[0-9a-f]{8}(-?)[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{12}")
# Possessive, because backtracking between two adjacent runs of the same characters would take quadratic time.
_GROUPS = re.compile(r"[^0-9a-z]*+(?:urn:)?(?:uuid:)?[^0-9a-z]*+" + "-".join(["([0-9a-f]++)"] * 5))
_HEX_PART = re.compile(r"0x([0-9a-f]+)")
_GROUP_BITS: Final = (32, 16, 16, 16, 48)
_PART_BITS: Final = (32, 16, 16, *(8,) * 8)
_UUID_DIGITS: Final = 32


def value_named(text: str) -> frozenset[Value]:
    """The values that ``text`` means in a rule; none unless the whole text is a number or a UUID."""
    found: set[Value] = set()
    if _PLAIN_UUID.fullmatch(text):
        found.add((_UUID, int(text.replace("-", ""), 16)))
    number = _PLAIN_NUMBER.fullmatch(text)
    digits = "" if number is None else number[2]
    if number is not None and len(digits) <= _MAX_DIGITS:
        # int() refuses thousands of digits, even if nearly all are zeros in front.
        value = int(f"{number[1]}{digits or '0'}")
        # A service may keep numbers in floating point, which rounds large ones.
        found |= {(_NUMBER, value), *_as_float(text)}
    return frozenset(found)


@lru_cache(maxsize=64)
def values_of(text: str) -> frozenset[Value]:
    """All numbers and UUIDs that a service could read in a segment of a path, including numbers that are cut off
    because they have too many bits for the service."""
    return _interpretations(text) | (_wrapped(text) if _may_be_number(text) else frozenset())


def _interpretations(text: str) -> frozenset[Value]:
    found = set(_uuids(text))
    if _may_be_number(text):
        found.update(_numbers(text))
    return frozenset(found)


def _may_be_number(text: str) -> bool:
    # A UUID does not count as a number followed by a name, unless it has no letters.
    return bool(_DIGIT_AHEAD.match(text)) and (text.isdecimal() or not _PLAIN_UUID.fullmatch(text))


def spelled_out(text: str) -> tuple[str, ...]:
    """The usual spellings of the values of a text, besides the text itself. Numbers that are cut off are not included,
    because most services do not cut them off."""
    return tuple(
        str(value) if kind == _NUMBER else _hyphenated(value)
        for kind, value in sorted(_interpretations(text))
    )


def _hyphenated(value: int) -> str:
    digits = f"{value:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _numbers(text: str) -> set[Value]:
    sign = -1 if text.startswith("-") else 1
    found = _as_float(fraction[0]) if (fraction := _FRACTION.match(text)) else set()
    for base, digits in _digits(text):
        if len(digits) <= _MAX_DIGITS:
            found.add((_NUMBER, sign * int(digits or "0", base)))
    return found


def _digits(text: str) -> list[tuple[int, str]]:
    """The digits that a text begins with, each with the base in which a service may read them."""
    spelled = [(base, each[1]) for base, pattern in _WITH_BASE if (each := pattern.match(text))]
    if text.lstrip("+-")[:1].isdigit() and (decimal := _DECIMAL.match(text)):
        spelled += [(10, decimal[1]), (10, decimal[1] + decimal[2])]
    return [(base, digits.replace("_", "")) for base, digits in spelled]


def _wrapped(text: str) -> frozenset[Value]:
    """The values of a number with too many bits, after it is cut to 32 and 64 bits, signed and unsigned."""
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
    exact = math.isfinite(number) and number.is_integer() and abs(number) < 10.0**_MAX_DIGITS
    return {(_NUMBER, int(number))} if exact else set()


def _uuids(text: str) -> set[Value]:
    found = set()
    # Java cuts off the surplus bits of a group.
    if (groups := _GROUPS.match(text)) and max(map(len, groups.groups())) <= _MAX_DIGITS:
        found.add(_joined(groups.groups(), _GROUP_BITS))
    parts = _HEX_PART.findall(text)
    if len(parts) == len(_PART_BITS) and max(map(len, parts)) <= _MAX_DIGITS:
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
