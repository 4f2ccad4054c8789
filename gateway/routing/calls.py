"""Call patterns such as ``POST /api/v1/reservations/**``, of which gates and access rules consist.

A rule that opens calls matches narrowly, a rule that protects calls matches widely. ``opens`` requires the exact
canonical path, case included, and that all readings of the path are opened too. ``protects`` ignores everything that a
lenient service may ignore (see ``readings``): case, compatibility forms, format suffixes, blanks, invisible characters,
slashes and dots at the end, ``;`` parameters, and the part behind an encoded ``?`` or ``#``. So an alias of a protected
call is protected, and an alias of a public call is not public.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final
from urllib.parse import unquote

from gateway.routing.path_readings import Reading, case_sensitive_readings, fold, readings_of
from gateway.routing.patterns import PathPattern, compile_pattern
from gateway.routing.spec.issues import RuleViolation, unknown
from gateway.routing.wide_patterns import WidePattern, stripped_pattern

_NEVER_DECODED: Final = frozenset("/\\?#%*{};\x7f") | frozenset(map(chr, range(32)))
"""Characters that mean something else in a pattern, or never stand in a path that is compared."""

METHODS: Final = (
    *("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY"),
    *(
        "PROPFIND",
        "PROPPATCH",
        "MKCOL",
        "COPY",
        "MOVE",
        "LOCK",
        "UNLOCK",
        "SEARCH",
        "REPORT",
        "ACL",
        "MKCALENDAR",
    ),
    *("BIND", "REBIND", "UNBIND", "LINK", "UNLINK", "LABEL", "MERGE", "UPDATE", "ORDERPATCH", "MKACTIVITY"),
    *("CHECKIN", "CHECKOUT", "UNCHECKOUT", "VERSION-CONTROL", "BASELINE-CONTROL", "MKWORKSPACE"),
    *("MKREDIRECTREF", "UPDATEREDIRECTREF", "PURGE", "BAN", "REFRESH", "M-SEARCH", "NOTIFY"),
    *("SUBSCRIBE", "UNSUBSCRIBE", "POLL", "SOURCE"),
)
"""The methods that a rule may name: those registered with IANA, of caches and of UPnP. Any other name is refused as a
probable typo. Requests with other methods are forwarded too, and a rule without a method applies to them."""


@dataclass(frozen=True, slots=True)
class CallPattern:
    """``[METHOD] /pattern``. Without a method it matches every method. ``source`` is the text as written."""

    source: str
    method: str | None
    pattern: PathPattern = field(repr=False)
    wide: WidePattern = field(repr=False)
    stripped: PathPattern = field(repr=False)

    def opens(self, method: str, path: str) -> bool:
        """Whether the pattern matches this call however a service reads the path. A GET pattern opens HEAD too."""
        if self.method is not None and method != self.method and (method != "HEAD" or self.method != "GET"):
            return False
        if self.pattern.match(path) is None:
            return False
        return all(
            self.pattern.match(reading) is not None or self.stripped.match(reading) is not None
            for reading in case_sensitive_readings(path)
        )

    def protects(self, method: str, path: str) -> bool:
        """Whether the pattern matches this call in at least one way in which a service could read it."""
        if self.method is not None and _other_method(self.method, method.upper()):
            return False
        return self.covers(path, readings_of(path))

    def covers(self, path: str, readings: Iterable[Reading]) -> bool:
        """``protects`` without the method, for ``readings`` that the caller has made with ``readings_of``."""
        # The unfolded path too: a regex such as [^a-z]+ in a variable may match it and not the folded one.
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
    """Parse ``METHOD /pattern`` or ``/pattern``; raises RuleViolation (rules ``call``, ``pattern``, ``regex``)."""
    words = source.split()
    if not words or len(words) > 2:
        raise RuleViolation("call", f"{source!r} is no call; write a method and a path: POST /api/v1/x/**")
    method = words[0] if len(words) == 2 else None
    if method is not None and method not in METHODS:
        raise RuleViolation("call", unknown("method", method, METHODS))
    text = _decoded(words[-1])
    pattern = compile_pattern(text)
    wide = WidePattern(compile_pattern(text, ignore_case=True))
    return CallPattern(" ".join(words), method, pattern, wide, stripped_pattern(pattern))


def _decoded(source: str) -> str:
    """A pattern without percent-encoding outside of its variables, since paths are compared decoded.

    Raises RuleViolation (rule ``pattern``) for what no path that is compared can hold.
    """
    parts = re.split(r"(\{.*?\})", source)
    return "".join(part if part.startswith("{") else _decoded_text(part, source) for part in parts)


def _decoded_text(part: str, source: str) -> str:
    if "%" not in part:
        return part
    try:
        text = unquote(part, errors="strict")
    except UnicodeDecodeError:
        text = ""
    encoded = {chr(int(each, 16)) for each in re.findall("%([0-7][0-9A-Fa-f])", part)}
    if not text or encoded & _NEVER_DECODED or re.search("%(?![0-9A-Fa-f]{2})", part):
        raise RuleViolation(
            "pattern", f"{source!r} can't be decoded; write the characters of the path themselves"
        )
    return text


def overlap(protected: CallPattern, public: CallPattern) -> bool:
    """Whether a call exists that ``protected`` protects and ``public`` opens.

    Exact for literals, ``*``, ``?``, ``**`` and plain variables; a regex counts as ``*``. Aliases of a protected path
    (``/a.json`` of ``/a``) count if both patterns are literal. An alias that only a wildcard matches does not count;
    for such a call the gate wins.
    """
    both = protected.method is not None and public.method is not None
    if both and _other_method(protected.method or "", public.method or ""):
        return False
    plain = protected.pattern.literal is not None and public.pattern.literal is not None
    if plain and protected.covers("", readings_of(public.pattern.literal or "")):
        return True
    return _sequences_meet(_words(protected.wide.of), _words(public.wide.of))


def _words(pattern: PathPattern) -> tuple[str | None, ...]:
    """The segments as globs with ``*`` and ``?``. None stands for any number of segments."""
    words: list[str | None] = [None] if pattern.head is not None else []
    words.extend(
        segment.literal if segment.literal is not None else fold(segment.as_glob())
        for segment in pattern.segments
    )
    return (*words, None) if pattern.tail is not None else tuple(words)


@lru_cache(maxsize=4096)
def _sequences_meet(one: tuple[str | None, ...], other: tuple[str | None, ...]) -> bool:
    return _meet(one, other, None, _globs_meet)


@lru_cache(maxsize=4096)
def _globs_meet(one: str, other: str) -> bool:
    """Whether a text exists that matches both globs (``*``: any run of characters, ``?``: any one character)."""
    return _meet(one, other, "*", lambda mine, its: mine == its or "?" in (mine, its))


def _meet(
    one: Sequence[Any], other: Sequence[Any], run: str | None, same: Callable[[Any, Any], bool]
) -> bool:
    """Whether a sequence exists that matches both. ``run`` stands for any number of parts. Not recursive, because
    patterns may be long."""
    todo, seen = [(0, 0)], set()
    while todo:
        at = mine, its = todo.pop()
        if at in seen:
            continue
        seen.add(at)
        if mine == len(one) and its == len(other):
            return True
        if (mine < len(one) and one[mine] == run) or (its < len(other) and other[its] == run):
            # Either the run ends here, or it takes one more part of the other side.
            if mine < len(one):
                todo.append((mine + 1, its))
            if its < len(other):
                todo.append((mine, its + 1))
        elif mine < len(one) and its < len(other) and same(one[mine], other[its]):
            todo.append((mine + 1, its + 1))
    return False
