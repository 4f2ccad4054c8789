"""Call patterns: ``POST /api/v1/reservations/**``, the unit of gates and of access.

What opens matches narrowly and what protects matches widely. ``opens`` wants the exact canonical path in
its own case; ``protects`` looks past everything a lenient service may look past: case, compatibility
forms, a trailing slash, ``;`` parameters. So an alias of a protected call is protected and an alias of a
public one is not public.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from gateway.routing.faults import RuleBroken, unknown
from gateway.routing.pattern_parts import fold
from gateway.routing.patterns import PathPattern, compile_pattern

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


@dataclass(frozen=True, slots=True)
class CallPattern:
    """``[METHOD] /pattern``; without a method it means every method. ``source`` is as written."""

    source: str
    method: str | None
    pattern: PathPattern = field(repr=False)
    wide: PathPattern = field(repr=False)

    def opens(self, method: str, path: str) -> bool:
        """Whether exactly this call is meant; a GET pattern opens HEAD too."""
        if self.method is not None and method != self.method and (method != "HEAD" or self.method != "GET"):
            return False
        return self.pattern.match(path) is not None

    def protects(self, method: str, path: str) -> bool:
        """Whether this call, or anything a service could take for it, is meant."""
        if self.method is not None and _other_method(self.method, method.upper()):
            return False
        return self.covers(path, wide_forms(path))

    def covers(self, path: str, forms: Iterable[str]) -> bool:
        """``protects`` for ``wide_forms`` made beforehand, the method aside."""
        # Not every path that fits a regex still does so folded: [^a-z]+ in a variable.
        if self.pattern.match(path) is not None:
            return True
        return any(self.wide.match(form) is not None for form in forms)

    def __str__(self) -> str:
        return self.source


def _other_method(mine: str, other: str) -> bool:
    return mine != other and {mine, other} != {"GET", "HEAD"}


def wide_forms(path: str) -> tuple[str, ...]:
    """All the forms of a canonical path that a lenient service could mean, case-folded."""
    bare = fold(path).rstrip("/")
    forms = (bare or "/", bare + "/")
    if ";" not in bare:
        return forms
    cut = "/".join(segment.partition(";")[0] for segment in bare.split("/"))
    return (*forms, cut or "/", cut + "/")


def parse_call(source: str) -> CallPattern:
    """Parse ``METHOD /pattern`` or ``/pattern``; raises RuleBroken (rules ``call``, ``pattern``, ``regex``)."""
    words = source.split()
    if not words or len(words) > 2:
        raise RuleBroken("call", f"{source!r} is no call; write a method and a path: POST /api/v1/x/**")
    method = words[0] if len(words) == 2 else None
    if method is not None and method not in METHODS:
        raise RuleBroken("call", unknown("method", method, METHODS))
    return CallPattern(
        " ".join(words), method, compile_pattern(words[-1]), compile_pattern(words[-1], ignore_case=True)
    )


def overlap(protected: CallPattern, public: CallPattern) -> bool:
    """Whether some call is both protected by the one and opened by the other.

    Exact for literals, ``*``, ``?``, ``**`` and plain variables; a regex counts as ``*``.
    """
    both = protected.method is not None and public.method is not None
    if both and _other_method(protected.method or "", public.method or ""):
        return False
    return _sequences_meet(_words(protected.wide), _words(public.wide))


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
