"""Sets of characters, as in the character classes of Java's regexes, with union and intersection."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import regex

Ranges = tuple[tuple[int, int], ...]
"""Ranges of code points, first and last included, in order, without overlap."""

LAST: Final = 0x10FFFF
_SURROGATES: Final = (0xD800, 0xDFFF)
_MAX_CASED: Final = 3000

# Characters outside ASCII that are an ASCII letter in another case: the kelvin sign and the long s.
_ODD_CASES: Final = {"k": "\u212a", "s": "\u017f"}
# Java's names of the ASCII classes.
_POSIX: Final[dict[str, str]] = {
    "lower": "az",
    "upper": "AZ",
    "ascii": "\x00\x7f",
    "alpha": "azAZ",
    "digit": "09",
    "alnum": "azAZ09",
    "punct": "!/:@[`{~",
    "graph": "!~",
    "print": " ~",
    "blank": "  \t\t",
    "cntrl": "\x00\x1f\x7f\x7f",
    "xdigit": "09afAF",
    "space": "  \t\r",
}
# Further names in Java, and what ``regex`` calls them. With the prefix "Is", the names of ASCII classes mean Unicode's.
_JAVA: Final = {
    "islower": "Lowercase",
    "isupper": "Uppercase",
    "isalpha": "Alphabetic",
    "isspace": "White_Space",
    "ispunct": "P",
    "iscntrl": "Cc",
    "javalowercase": "Lowercase",
    "javauppercase": "Uppercase",
    "javaalphabetic": "Alphabetic",
    "javaletter": "L",
    "javadigit": "Nd",
    "javatitlecase": "Lt",
    "isletter": "L",
    "iscontrol": "Cc",
    "ispunctuation": "P",
    "istitlecase": "Lt",
    "isdigit": "Nd",
    "isassigned": "Assigned",
}


def of(*pairs: tuple[int, int]) -> Ranges:
    """The set of these ranges, which may be in any order."""
    joined: list[tuple[int, int]] = []
    for first, last in sorted(pairs):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return tuple(joined)


def of_text(text: str) -> Ranges:
    """The set of the ranges that are written as pairs of characters: ``azAZ``."""
    return of(*((ord(first), ord(last)) for first, last in zip(text[::2], text[1::2], strict=True)))


def inverted(ranges: Ranges) -> Ranges:
    gaps, at = [], 0
    for first, last in ranges:
        if first > at:
            gaps.append((at, first - 1))
        at = last + 1
    return (*gaps, (at, LAST)) if at <= LAST else tuple(gaps)


def common(one: Ranges, other: Ranges) -> Ranges:
    return inverted(of(*inverted(one), *inverted(other)))


DIGITS: Final = of_text("09")
WORD: Final = of_text("azAZ09__")
SPACE: Final = of_text("  \t\r")
HORIZONTAL: Final = of_text(
    "  \t\t\xa0\xa0\u1680\u1680\u180e\u180e\u2000\u200a\u202f\u202f\u205f\u205f\u3000\u3000"
)
VERTICAL: Final = of_text("\n\r\x85\x85\u2028\u2029")


@lru_cache(maxsize=256)
def named(name: str) -> Ranges | None:
    r"""The set that ``\p{name}`` means in Java; None if the name is unknown."""
    key = name.lower()
    posix = _POSIX.get(key)
    if posix is not None:
        return of_text(posix)
    if key == "all":
        return ((0, LAST),)
    if key == "l1":
        return ((0, 255),)
    if key == "javawhitespace":
        return of(
            *SPACE,
            (0x1C, 0x1F),
            *common(members(r"\p{Z}"), inverted(of_text("\xa0\xa0\u2007\u2007\u202f\u202f"))),
        )
    if key == "ld":
        return members(r"[\p{L}\p{Nd}]")
    known, equals, value = key.partition("=")
    if equals:
        if known not in ("general_category", "gc", "script", "sc", "block", "blk"):
            return None
        key = f"{known}={value}"
    else:
        key = _JAVA.get(key, f"blk={key[2:]}" if key.startswith("in") else key.removeprefix("is"))
    if re.fullmatch(r"[A-Za-z0-9_= -]+", key) is None:
        return None
    try:
        return members(rf"\p{{{key}}}")
    except regex.error:
        return None


@lru_cache(maxsize=1)
def _all_characters() -> str:
    before, behind = _SURROGATES
    return "".join(map(chr, (*range(before), *range(behind + 1, LAST + 1))))


@lru_cache(maxsize=256)
def members(pattern: str) -> Ranges:
    """The characters that a pattern for one character matches, without surrogates."""
    skipped = _SURROGATES[1] - _SURROGATES[0] + 1

    def code_point(index: int) -> int:
        return index if index < _SURROGATES[0] else index + skipped

    found = regex.finditer(f"(?:{pattern})+", _all_characters())
    return of(*((code_point(match.start()), code_point(match.end() - 1)) for match in found))


def in_either_case(ranges: Ranges, *, ascii_only: bool) -> Ranges:
    """The set with both cases of its letters, of ASCII letters only or of all."""
    added: list[tuple[int, int]] = []
    for first, last, shift in ((65, 90, 32), (97, 122, -32)):
        added += ((low + shift, high + shift) for low, high in common(ranges, ((first, last),)))
    if not ascii_only:
        if sum(last - first + 1 for first, last in ranges) > _MAX_CASED:
            added += members(f"(?i:{regex_of(ranges)})")
        else:
            points = (point for first, last in ranges for point in range(first, last + 1))
            added += ((other, other) for point in points for other in _other_cases(chr(point)))
    return of(*ranges, *added)


def _other_cases(character: str) -> Iterable[int]:
    forms = {character.lower(), character.upper(), character.title(), character.casefold()}
    forms |= {form.lower() for form in forms} | set(_ODD_CASES.get(character.lower(), ""))
    return (ord(form) for form in forms if len(form) == 1)


def regex_of(ranges: Ranges) -> str:
    """The set as a character class that RE2 and ``regex`` read in the same way."""
    parts = []
    for first, last in ranges:
        low = _SURROGATES[1] + 1 if _SURROGATES[0] <= first <= _SURROGATES[1] else first
        high = _SURROGATES[0] - 1 if _SURROGATES[0] <= last <= _SURROGATES[1] else last
        if low <= high:
            parts.append(literal(low) if low == high else f"{literal(low)}-{literal(high)}")
    return f"[{''.join(parts)}]" if parts else f"[^{literal(0)}-{literal(LAST)}]"


def literal(point: int) -> str:
    """One character, written so that both libraries read it literally, also within a class."""
    character = chr(point)
    if point > 0x7F or character.isalnum():
        return character
    return f"\\x{point:02x}"
