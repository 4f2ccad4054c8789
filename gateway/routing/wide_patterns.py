"""Patterns that protect calls: they match every path that a lenient service could take for a path of the pattern.

They are compared with the ``readings`` of a path, ignore a format suffix, and compare numbers and UUIDs by value (see
``values``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Final

from gateway.routing.hosts import Glob
from gateway.routing.matcher import Regex
from gateway.routing.path_readings import (
    Reading,
    fold,
    is_front_script,
    is_index,
    is_or_has_suffix,
    normalize,
    strip_all_ignored,
    strip_ignored,
)
from gateway.routing.patterns import PathPattern, Segment
from gateway.routing.values import Value, spelled_out, value_named, values_of

_SUFFIX: Final = re.compile(r"(.+)\.[a-z][a-z0-9]*")


@dataclass(frozen=True, slots=True)
class WideSegment:
    """A segment of a protecting pattern, compared with segments of readings.

    ``literal`` is folded and bare. At the end of a pattern its own suffix is removed, because a service that takes
    ``/sale.json`` for ``/sale`` takes either for the other. ``values`` are the numbers and UUIDs that it stands for.

    A variable's regex is ignored, because a service may read ``0x7`` as 7, ``on`` as true and ``1-2-3-4-5`` as a UUID.
    ``glob`` has ``*`` in place of a variable; it is None if the segment is just ``*``. Only ``is_likely`` uses
    ``regex``.
    """

    literal: str | None
    glob: Glob | None = field(default=None, compare=False)
    regex: Regex | None = None
    values: frozenset[Value] = frozenset()

    @property
    def effort(self) -> int:
        return 0 if self.literal is not None else 1

    @property
    def matches_anything(self) -> bool:
        return self.literal is None and self.glob is None

    def matches(self, value: str) -> bool:
        if self.literal is not None:
            if is_or_has_suffix(value, self.literal):
                return True
            return bool(self.values) and not self.values.isdisjoint(values_of(value))
        return self.glob is None or self.glob.matches(value)

    def is_likely(self, value: str) -> bool:
        """Whether a matching value also matches the variables' regexes, itself or in another spelling."""
        return self.regex is None or any(map(self.regex.matches, (value, *spelled_out(value))))


@dataclass(frozen=True, slots=True)
class WidePattern:
    """A pattern that protects calls: it matches every path that a lenient service could take for a path of the pattern.

    ``of`` is the pattern, compiled to ignore case.
    """

    of: PathPattern
    segments: tuple[WideSegment, ...] = field(init=False)
    last_may_be_missing: bool = field(init=False)
    _in_turn: tuple[tuple[int, WideSegment], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        segments = _needed([segment for segment in self.of.segments if segment.literal != ""], self.of)
        last = len(segments) - 1 if self.of.tail is None else -1
        object.__setattr__(
            self, "segments", tuple(_widened(each, at == last) for at, each in enumerate(segments))
        )
        # Literals first, so that wildcards are compared only if all literals match.
        turns = sorted(enumerate(self.segments), key=lambda each: each[1].effort)
        object.__setattr__(self, "_in_turn", tuple(turns))
        missing = bool(segments) and segments[-1].may_be_empty
        object.__setattr__(self, "last_may_be_missing", missing)

    @property
    def constrained(self) -> bool:
        """Whether a variable has a regex, which a protecting pattern ignores."""
        return any(segment.regex is not None for segment in self.segments)

    def matches(self, reading: Reading) -> bool:
        return self._start(reading) is not None

    def is_likely(self, reading: Reading) -> bool:
        """Whether a matching reading also matches the variables' regexes. Of two gates that match, such a one wins."""
        start = self._start(reading)
        if start is None:
            return False
        return all(
            segment.is_likely(value) for segment, value in zip(self.segments, reading[start:], strict=False)
        )

    def _start(self, reading: Reading) -> int | None:
        """The position in a reading at which the segments begin; None if the reading does not match."""
        length, count = len(reading), len(self.segments)
        if length != count and self.of.head is None and self.of.tail is None:
            # A last "*" may be missing.
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
        """Whether the first ``count`` segments match those of the reading from ``start`` on."""
        for at, segment in self._in_turn:  # noqa: SIM110 - twice as fast as a generator
            if at < count and not segment.matches(reading[start + at]):
                return False
        return True


def _needed(segments: list[Segment], of: PathPattern) -> list[Segment]:
    """The segments without those that a service may do without: an index at the end, and a script in front that serves
    all paths. What is left still names a path: ``/index.php/**`` stays as it is."""
    if of.head is not None:
        return segments
    literals = [None if each.literal is None else fold(strip_ignored(each.literal)) for each in segments]
    last = len(segments) - 1 if of.tail is None else -1
    kept = [
        segment
        for at, (segment, literal) in enumerate(zip(segments, literals, strict=True))
        if literal is None or not (is_index(literal) if at == last else is_front_script(literal))
    ]
    named = any(each.literal is not None for each in kept) or (not kept and of.tail is None)
    return kept if named else segments


def _widened(segment: Segment, last: bool) -> WideSegment:
    if segment.literal is not None:
        literal = fold(strip_ignored(segment.literal)) or segment.literal
        suffix = _SUFFIX.fullmatch(literal) if last else None
        literal = suffix[1] if suffix else literal
        return WideSegment(literal, values=value_named(literal))
    return WideSegment(None, segment.glob, segment.regex if segment.constrained else None)


def stripped_pattern(pattern: PathPattern) -> PathPattern:
    """The pattern for comparison with bare paths, with its case kept."""
    segments = tuple(
        segment
        if segment.literal is None
        else replace(segment, literal=strip_all_ignored(normalize(segment.literal)))
        for segment in pattern.segments
    )
    return pattern if segments == pattern.segments else replace(pattern, segments=segments)
