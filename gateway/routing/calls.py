"""Call patterns: ``POST /api/v1/reservations/**``, the unit of gates and of access.

What opens matches narrowly and what protects matches widely. ``opens`` wants the exact canonical path in its own case,
and that all its readings are opened too. ``protects`` looks past everything a lenient service may look past (see
``readings``): case, compatibility forms, format suffixes, blanks, unseen characters, slashes and dots at the end, ``;``
parameters, what stands behind an encoded ``?`` or ``#``. So an alias of a protected call is protected, and an alias of
a public one is not public.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from gateway.routing.faults import RuleBroken, unknown
from gateway.routing.pattern_parts import PathPattern, fold
from gateway.routing.patterns import compile_pattern
from gateway.routing.readings import Reading, WidePattern, bare_pattern, narrow_readings, readings_of

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


@dataclass(frozen=True, slots=True)
class CallPattern:
    """``[METHOD] /pattern``; without a method it means every method. ``source`` is as written."""

    source: str
    method: str | None
    pattern: PathPattern = field(repr=False)
    wide: WidePattern = field(repr=False)
    bare: PathPattern = field(repr=False)

    def opens(self, method: str, path: str) -> bool:
        """Whether exactly this call is meant, however a service reads the path; a GET pattern opens HEAD too."""
        if self.method is not None and method != self.method and (method != "HEAD" or self.method != "GET"):
            return False
        if self.pattern.match(path) is None:
            return False
        return all(
            self.pattern.match(reading) is not None or self.bare.match(reading) is not None
            for reading in narrow_readings(path)
        )

    def protects(self, method: str, path: str) -> bool:
        """Whether this call, or anything a service could take for it, is meant."""
        if self.method is not None and _other_method(self.method, method.upper()):
            return False
        return self.covers(path, readings_of(path))

    def covers(self, path: str, readings: Iterable[Reading]) -> bool:
        """``protects`` for ``readings_of`` the path made beforehand, the method aside."""
        # Not every path that fits a regex still does so folded: [^a-z]+ in a variable.
        if self.pattern.match(path) is not None:
            return True
        for reading in readings:  # noqa: SIM110 - twice as fast as a generator
            if self.wide.matches(reading):
                return True
        return False

    def __str__(self) -> str:
        return self.source


def _other_method(mine: str, other: str) -> bool:
    return mine != other and {mine, other} != {"GET", "HEAD"}


def parse_call(source: str) -> CallPattern:
    """Parse ``METHOD /pattern`` or ``/pattern``; raises RuleBroken (rules ``call``, ``pattern``, ``regex``)."""
    words = source.split()
    if not words or len(words) > 2:
        raise RuleBroken("call", f"{source!r} is no call; write a method and a path: POST /api/v1/x/**")
    method = words[0] if len(words) == 2 else None
    if method is not None and method not in METHODS:
        raise RuleBroken("call", unknown("method", method, METHODS))
    pattern = compile_pattern(words[-1])
    wide = WidePattern(compile_pattern(words[-1], ignore_case=True))
    return CallPattern(" ".join(words), method, pattern, wide, bare_pattern(pattern))


def overlap(protected: CallPattern, public: CallPattern) -> bool:
    """Whether some call is both protected by the one and opened by the other.

    Exact for literals, ``*``, ``?``, ``**`` and plain variables; a regex counts as ``*``. What is protected beyond its
    own path (``/a.json`` by ``/a``) counts where both are literal. Where a wildcard could mean it, the gate wins.
    """
    both = protected.method is not None and public.method is not None
    if both and _other_method(protected.method or "", public.method or ""):
        return False
    plain = protected.pattern.literal is not None and public.pattern.literal is not None
    if plain and protected.covers("", readings_of(public.pattern.literal or "")):
        return True
    return _sequences_meet(_words(protected.wide.of), _words(public.wide.of))


def _words(pattern: PathPattern) -> tuple[str | None, ...]:
    """The segments as globs of ``*`` and ``?``; None stands for any number of segments."""
    words: list[str | None] = [None] if pattern.head is not None else []
    words.extend(
        segment.literal if segment.literal is not None else fold(segment.glob())
        for segment in pattern.segments
    )
    return (*words, None) if pattern.tail is not None else tuple(words)


@lru_cache(maxsize=4096)
def _sequences_meet(one: tuple[str | None, ...], other: tuple[str | None, ...]) -> bool:
    if not one or not other:
        return all(word is None for word in one or other)
    if one[0] is None:
        return _sequences_meet(one[1:], other) or _sequences_meet(one, other[1:])
    if other[0] is None:
        return _sequences_meet(other, one)
    return _globs_meet(one[0], other[0]) and _sequences_meet(one[1:], other[1:])


@lru_cache(maxsize=4096)
def _globs_meet(one: str, other: str) -> bool:
    """Whether some text matches both globs (a ``*`` is any run, a ``?`` any character)."""
    if not one or not other:
        return set(one or other) <= {"*"}
    if one[0] == "*":
        return _globs_meet(one[1:], other) or _globs_meet(one, other[1:])
    if other[0] == "*":
        return _globs_meet(other, one)
    return (one[0] == other[0] or "?" in (one[0], other[0])) and _globs_meet(one[1:], other[1:])
