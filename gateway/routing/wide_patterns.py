"""Patterns that protect: they match whatever a lenient service could take for a path of the pattern.

They are compared with the ``readings`` of a path, look past a format suffix, and take numbers and UUIDs by their value
(see ``values``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Final

from gateway.routing.hosts import Glob
from gateway.routing.matcher import Regex
from gateway.routing.patterns import PathPattern, Segment
from gateway.routing.readings import Reading, bare, barest, fold, is_or_has_suffix, normal
from gateway.routing.values import Value, spelled_out, value_named, values_of

_SUFFIX: Final = re.compile(r"(.+)\.[a-z][a-z0-9]*")


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
        segment if segment.literal is None else replace(segment, literal=barest(normal(segment.literal)))
        for segment in pattern.segments
    )
    return pattern if segments == pattern.segments else replace(pattern, segments=segments)
