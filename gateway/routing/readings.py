"""What else a lenient service may take a path for.

A service may overlook case, compatibility forms, the script of a digit, blanks, invisible characters, ``;`` parameters,
a slash at the end, or what stands behind an encoded ``?`` or ``#``. The ``readings`` of a path are what is left of it
without these. A format suffix (``.json``) or a dot at the end is not taken off here: ``WideSegment`` looks past it,
because only the rule knows which dots are its own. Numbers and UUIDs are compared by their value (see ``values``).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field, replace
from typing import Final

from gateway.routing.hosts import Glob
from gateway.routing.matcher import Regex
from gateway.routing.patterns import PathPattern, Segment, fold
from gateway.routing.values import Value, spelled_out, value_named, values_of

Reading = tuple[str, ...]
"""The segments of a path, without empty ones."""

# Shown as nothing or as a blank, though Unicode counts them as letters, marks or symbols.
_UNSEEN: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
_UNSEEN_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"})
_MOST_REMEMBERED: Final = 4096
_SUFFIX = re.compile(r"(.+)\.[a-z][a-z0-9]*")
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
            barest = fold(_barest(form.rstrip("/")))
            found += (tuple(barest.split("/")[1:]), _segments(barest))
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
    return tuple(map(_barest, _cut(_normal(path))))


def _normal(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFKC", text)


def _cut(path: str) -> tuple[str, ...]:
    """The path, and what is left of it for services that end it at ``?`` or at ``#``, the first or the last one. Each
    stands for itself: to a service that knows the one, the other is a character like any."""
    ends = (end for sign in "?#" for end in (path.find(sign), path.rfind(sign)) if end >= 0)
    return tuple(dict.fromkeys((path, *(path[:end] for end in ends))))


def _barest(path: str) -> str:
    shown = bare(path)
    if ";" not in shown:
        return shown
    return "/".join(segment.partition(";")[0] for segment in shown.split("/"))


def _segments(path: str) -> Reading:
    return tuple(segment for segment in path.split("/") if segment)


def is_or_has_suffix(value: str, literal: str) -> bool:
    """Whether a segment is ``literal``, or that with a format suffix or dots behind it."""
    return value.startswith(literal) and (len(value) == len(literal) or value[len(literal)] == ".")


@dataclass(frozen=True, slots=True)
class WideSegment:
    """A segment of a protecting pattern, compared with segments of readings.

    ``literal`` is folded and bare. At the end of a pattern it stands without a suffix of its own: a service that takes
    ``/sale.json`` for ``/sale`` takes either for the other. ``values`` are the numbers and UUIDs that it is.

    A regex of a variable does not count: a service may read ``0x7`` as 7, ``on`` as true and ``1-2-3-4-5`` as a UUID.
    ``glob`` has ``*`` in its place; it is None where that is all. ``regex`` is for ``is_likely`` alone.
    """

    literal: str | None
    glob: Glob | None = field(default=None, compare=False)
    regex: Regex | None = None
    values: frozenset[Value] = frozenset()

    @property
    def effort(self) -> int:
        return 0 if self.literal is not None else 1

    @property
    def says_nothing(self) -> bool:
        return self.literal is None and self.glob is None

    def matches(self, value: str) -> bool:
        if self.literal is not None:
            if is_or_has_suffix(value, self.literal):
                return True
            return bool(self.values) and not self.values.isdisjoint(values_of(value))
        return self.glob is None or self.glob.matches(value)

    def is_likely(self, value: str) -> bool:
        """Whether a value that matches is one that the variables' regexes take, or another spelling of such a one."""
        return self.regex is None or any(map(self.regex.matches, (value, *spelled_out(value))))


@dataclass(frozen=True, slots=True)
class WidePattern:
    """A pattern that protects: it matches whatever a lenient service could take for a path of the pattern.

    ``of`` is the pattern compiled without regard to case.
    """

    of: PathPattern
    segments: tuple[WideSegment, ...] = field(init=False)
    last_may_be_missing: bool = field(init=False)
    _in_turn: tuple[tuple[int, WideSegment], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        segments = [segment for segment in self.of.segments if segment.literal != ""]
        last = len(segments) - 1 if self.of.tail is None else -1
        object.__setattr__(
            self, "segments", tuple(_widened(each, at == last) for at, each in enumerate(segments))
        )
        # Literals first: a wildcard is only compared if all else fits.
        turns = sorted(enumerate(self.segments), key=lambda each: each[1].effort)
        object.__setattr__(self, "_in_turn", tuple(turns))
        missing = bool(segments) and segments[-1].may_be_empty
        object.__setattr__(self, "last_may_be_missing", missing)

    @property
    def constrained(self) -> bool:
        """Whether a variable has a regex, which does not count in what protects."""
        return any(segment.regex is not None for segment in self.segments)

    def matches(self, reading: Reading) -> bool:
        return self._start(reading) is not None

    def is_likely(self, reading: Reading) -> bool:
        """Whether a reading that matches has what the regexes of variables take, too. Of two gates, that one counts."""
        start = self._start(reading)
        if start is None:
            return False
        return all(
            segment.is_likely(value) for segment, value in zip(self.segments, reading[start:], strict=False)
        )

    def _start(self, reading: Reading) -> int | None:
        """Where in a reading the segments begin; None if it does not match."""
        length, count = len(reading), len(self.segments)
        if length != count and self.of.head is None and self.of.tail is None:
            # A last "*" may be nothing.
            missing = self.last_may_be_missing and length == count - 1
            return 0 if missing and self._from(reading, 0, length) else None
        if self.of.head is None:
            return 0 if length >= count and self._from(reading, 0, count) else None
        if length >= count and self._from(reading, length - count, count):
            return length - count
        start = length - count + 1
        missing = self.last_may_be_missing and start >= 0
        return start if missing and self._from(reading, start, count - 1) else None

    def _from(self, reading: Reading, start: int, count: int) -> bool:
        """Whether the first ``count`` segments are those from ``start`` on."""
        for at, segment in self._in_turn:  # noqa: SIM110 - twice as fast as a generator
            if at < count and not segment.matches(reading[start + at]):
                return False
        return True


def _widened(segment: Segment, last: bool) -> WideSegment:
    if segment.literal is not None:
        literal = fold(bare(segment.literal)) or segment.literal
        suffix = _SUFFIX.fullmatch(literal) if last else None
        literal = suffix[1] if suffix else literal
        return WideSegment(literal, values=value_named(literal))
    return WideSegment(None, segment.glob, segment.regex if segment.constrained else None)


def bare_pattern(pattern: PathPattern) -> PathPattern:
    """A pattern to compare with bare paths, in its own case."""
    segments = tuple(
        segment if segment.literal is None else replace(segment, literal=_barest(_normal(segment.literal)))
        for segment in pattern.segments
    )
    return pattern if segments == pattern.segments else replace(pattern, segments=segments)
