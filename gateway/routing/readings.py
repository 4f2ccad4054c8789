"""What else a lenient service may take a path for.

A service may overlook case, compatibility forms, the script of a digit, blanks, invisible characters, ``;`` parameters,
a slash at the end, or what stands behind an encoded ``?`` or ``#``. The ``readings`` of a path are what is left of it
without these. A format suffix (``.json``) or a dot at the end is not taken off here: ``WideSegment`` looks past it,
because only the rule knows which dots are its own (see ``wide_patterns``).
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

Reading = tuple[str, ...]
"""The segments of a path, without empty ones."""

# Shown as nothing or as a blank, though Unicode counts them as letters, marks or symbols.
_UNSEEN: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
_UNSEEN_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"})
_MOST_REMEMBERED: Final = 4096
_PLAIN = re.compile(r"[A-Za-z0-9/._~:@!$&'()*,=-]*")


class _Seen(dict[int, int | None]):
    """A table for ``str.translate`` that fills itself, within bounds."""

    def __missing__(self, point: int) -> int | None:
        if len(self) >= _MOST_REMEMBERED:
            self.clear()
        self[point] = None if _is_unseen(point) else _as_digit(point)
        return self[point]


def _as_digit(point: int) -> int:
    """The digit from 0 to 9 for one of another script, which many languages read as a number all the same."""
    value = unicodedata.decimal(chr(point), None)
    return point if value is None else ord("0") + value


def _is_unseen(point: int) -> bool:
    character = chr(point)
    return (
        character in _UNSEEN
        or unicodedata.category(character) in _UNSEEN_CATEGORIES
        # Variation selectors are marks, and change nothing but a font.
        or 0xFE00 <= point <= 0xFE0F
        or 0xE0000 <= point <= 0xE0FFF
        or 0x180B <= point <= 0x180F
    )


_SEEN: Final = _Seen()


def fold(text: str) -> str:
    """What is left of a text when case and compatibility forms don't count."""
    if text.isascii():
        return text.lower()
    # Upper case first: some letters (dotless i, long s) only meet their plain form there.
    return unicodedata.normalize("NFKC", text).upper().casefold()


def bare(text: str) -> str:
    """What ``seen`` leaves of a text, without ``+`` too, as forms write a blank."""
    return text if is_plain(text) else seen(text).replace("+", "")


def seen(text: str) -> str:
    """A text without blanks and invisible characters, with the digits 0 to 9 for those of other scripts."""
    return text.translate(_SEEN)


def is_plain(path: str) -> bool:
    """Whether a service has nothing to overlook in a path but case, slashes and dots."""
    return _PLAIN.fullmatch(path) is not None


def readings_of(path: str) -> tuple[Reading, ...]:
    """All readings of a canonical path, folded: as it is; bare; and up to a ``?`` or ``#``."""
    folded = fold(path)
    found = [_segments(folded)]
    if not is_plain(folded):
        for form in _cut(folded):
            # A segment that is nothing but blanks is none to one service, and a variable's value to another.
            # Folded anew, since letters and accents may have come together.
            again = fold(barest(form.rstrip("/")))
            found += (tuple(again.split("/")[1:]), _segments(again))
    # A suffix may stand behind a slash: /sale/.json.
    found += [_without_suffixes(reading) for reading in found if reading and reading[-1].startswith(".")]
    return tuple(dict.fromkeys(found)) if len(found) > 1 else tuple(found)


def _without_suffixes(reading: Reading) -> Reading:
    count = len(reading)
    while count and reading[count - 1].startswith("."):
        count -= 1
    return reading[:count]


def narrow_readings(path: str) -> tuple[str, ...]:
    """What a canonical path is to a service that overlooks something, in its own case; none for a plain path."""
    if is_plain(path):
        return ()
    return tuple(map(barest, _cut(normal(path))))


def normal(text: str) -> str:
    """A text with compatibility forms written as their plain ones."""
    return text if text.isascii() else unicodedata.normalize("NFKC", text)


def _cut(path: str) -> tuple[str, ...]:
    """The path, and what is left of it for services that end it at ``?`` or at ``#``, the first or the last one. Each
    stands for itself: to a service that knows the one, the other is a character like any."""
    ends = (end for sign in "?#" for end in (path.find(sign), path.rfind(sign)) if end >= 0)
    return tuple(dict.fromkeys((path, *(path[:end] for end in ends))))


def barest(path: str) -> str:
    """A path without what services overlook: blanks, invisible characters, ``;`` parameters."""
    shown = bare(path)
    if ";" not in shown:
        return shown
    return "/".join(segment.partition(";")[0] for segment in shown.split("/"))


def _segments(path: str) -> Reading:
    return tuple(segment for segment in path.split("/") if segment)


def is_or_has_suffix(value: str, literal: str) -> bool:
    """Whether a segment is ``literal``, or that with a format suffix or dots behind it."""
    return value.startswith(literal) and (len(value) == len(literal) or value[len(literal)] == ".")
