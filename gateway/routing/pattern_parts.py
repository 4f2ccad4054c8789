"""Compiled path patterns and how they match; ``patterns`` makes them of text."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from gateway.routing.globs import Glob
from gateway.routing.matcher import Regex

_NOTHING: Final[Mapping[str, str]] = {}


def fold(text: str) -> str:
    """What is left of a text when case and compatibility forms don't count."""
    if text.isascii():
        return text.lower()
    # Upper case first: some letters (dotless i, long s) only meet their plain form there.
    return unicodedata.normalize("NFKC", text).upper().casefold()


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment of a pattern: a literal, or a regex for the whole segment with its groups' names.

    ``text`` is the segment as written. ``may_be_empty`` is for a last ``*`` alone. ``glob`` is the segment with ``*``
    for every variable, None if that is all of it. ``constrained``: a variable has a regex of its own.
    """

    text: str
    literal: str | None
    regex: Regex | None = None
    names: tuple[str, ...] = ()
    may_be_empty: bool = False
    glob: Glob | None = field(default=None, compare=False)
    constrained: bool = False

    @property
    def effort(self) -> int:
        """Segments are compared in this order: one that takes long only if all else fits."""
        return 0 if self.regex is None else 2 if self.constrained or self.names else 1

    def match(self, value: str, found: dict[str, str]) -> bool:
        if self.literal is not None:
            return value == self.literal
        if not value:
            return self.may_be_empty
        if self.regex is None:
            if self.names:
                found[self.names[0]] = value
            return True
        if self.glob is not None:
            if not self.glob.matches(value):
                return False
            if not self.names:
                return True
        match = self.regex.fullmatch(value)
        if match is None:
            return False
        found.update(zip(self.names, match.groups(), strict=True))
        return True

    def as_glob(self) -> str:
        """The segment with ``*`` for every variable: never narrower than the segment itself."""
        return without_variables(self.text, "*")


@dataclass(frozen=True, slots=True)
class PathPattern:
    """A compiled pattern. ``source`` is as written.

    ``head`` and ``tail`` say whether any number of segments comes first or last (``**``); the strings are
    the variables they are captured as (``""`` for a plain ``**``), None where there is none.
    """

    source: str
    segments: tuple[Segment, ...]
    head: str | None
    tail: str | None
    literal: str | None = field(init=False)
    prefix: str | None = field(init=False)
    _in_turn: tuple[tuple[int, Segment], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        turns = sorted(enumerate(self.segments), key=lambda each: each[1].effort)
        object.__setattr__(self, "_in_turn", tuple(turns))
        texts = [segment.literal for segment in self.segments]
        plain = self.head is None and None not in texts
        whole = "".join(f"/{text}" for text in texts)
        object.__setattr__(self, "literal", whole if plain and self.tail is None else None)
        object.__setattr__(self, "prefix", whole if plain and self.tail == "" else None)

    @property
    def variables(self) -> tuple[str, ...]:
        """The names this pattern captures whenever it matches."""
        names = [name for segment in self.segments for name in segment.names]
        return tuple(names + [name for name in (self.head, self.tail) if name])

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the operator should know of its regexes."""
        regexes = (segment.regex for segment in self.segments if segment.regex is not None)
        return tuple(regex.warning for regex in regexes if regex.warning)

    def first_literals(self) -> tuple[str, ...]:
        """The literal segments every matching path begins with."""
        found: list[str] = []
        if self.head is None:
            for segment in self.segments:
                if segment.literal is None:
                    break
                found.append(segment.literal)
        return tuple(found)

    def match(self, path: str) -> Mapping[str, str] | None:
        """Return the captured variables if ``path`` (canonical, decoded) matches, else None."""
        if self.literal is not None:
            return _NOTHING if path == self.literal else None
        if self.prefix is not None:
            prefix = self.prefix
            inside = path.startswith(prefix) and (len(path) == len(prefix) or path[len(prefix)] == "/")
            return _NOTHING if inside else None
        values = _split(path)
        count, length = len(self.segments), len(values)
        if length != count and (length < count or (self.head is None and self.tail is None)):
            return None
        start = length - count if self.head is not None else 0
        found: dict[str, str] = {}
        for at, segment in self._in_turn:
            if not segment.match(values[start + at], found):
                return None
        if self.head:
            found[self.head] = _joined(values[:start])
        elif self.tail:
            found[self.tail] = _joined(values[count:])
        return found


# A table asks many patterns about the same path.
@lru_cache(maxsize=4)
def _split(path: str) -> list[str]:
    return path.split("/")[1:]


def _joined(values: list[str]) -> str:
    return "".join(f"/{value}" for value in values)


def without_variables(text: str, instead: str) -> str:
    """A segment's text with something instead of each variable."""
    while (start := text.find("{")) >= 0:
        text = f"{text[:start]}{instead}{text[closing_brace(text, start) + 1 :]}"
    return text


def closing_brace(text: str, start: int) -> int:
    """The index of the brace that closes the one at ``start``."""
    depth, escaped = 0, False
    for at in range(start, len(text)):
        if escaped or text[at] == "\\":
            escaped = not escaped
            continue
        depth += (text[at] == "{") - (text[at] == "}")
        if not depth:
            return at
    raise AssertionError("braces were balanced by _split")
