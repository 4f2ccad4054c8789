"""Regexes and replacements of route files, written for Java, in Python's dialect.

``compile_java`` translates what both dialects know and refuses the rest with a reason, so that no
expression silently means something else here. ``Replacement`` is the right-hand side of
``String.replaceAll``: ``$1``, ``${name}``, ``\\x`` for a plain ``x``; route files escape the dollar's
brace as ``$\\{name}`` so that it is not taken for a placeholder.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from gateway.routing.faults import RuleBroken

_GROUP_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*")
_COUNT = re.compile(r"\{\d+(?:,\d*)?\}")
_INLINE_FLAGS = re.compile(r"\(\?([imsx]+)\)")
_SHORTHAND: Final = {
    "Alpha": "a-zA-Z",
    "Digit": "0-9",
    "Alnum": "a-zA-Z0-9",
    "Upper": "A-Z",
    "Lower": "a-z",
    "XDigit": "0-9a-fA-F",
    "Space": r"\s",
}
# Always exponential on text that almost fits: a group that holds one repeated atom, repeated itself.
_EXPLOSIVE = re.compile(
    r"\((?:\?:|\?<[A-Za-z][A-Za-z0-9]*>)?(?:\\.|\[\^?\]?[^\]]*\]|[^()\\|])[+*]\)(?:[+*]|\{\d+,\})(?!\+)"
)


def compile_java(pattern: str, *, ignore_case: bool = False) -> re.Pattern[str]:
    """Compile a Java regex; raises RuleBroken (rule ``regex``) for what Java or this translation refuses."""
    if _EXPLOSIVE.search(pattern):
        raise RuleBroken("regex", f"{pattern!r} repeats a repetition, which can take exponential time")
    translated = _Translation(pattern).run()
    try:
        # Java's \w, \d, \s and (?i) know ASCII only.
        return re.compile(translated, re.ASCII | (re.IGNORECASE if ignore_case else 0))
    except (re.error, ValueError, OverflowError, RecursionError) as error:
        raise RuleBroken("regex", f"{pattern!r} is no regex: {error}") from None


class _Translation:
    """One walk over a pattern. ``closers`` holds what each open group needs before its own ``)``."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.at = 0
        self.out: list[str] = []
        self.closers: list[str] = [""]

    def run(self) -> str:
        while self.at < len(self.pattern):
            self._one()
        return "".join(self.out) + self.closers[0]

    def _take(self, length: int, translated: str | None = None) -> None:
        self.out.append(self.pattern[self.at : self.at + length] if translated is None else translated)
        self.at += length

    def _one(self) -> None:
        character = self.pattern[self.at]
        if character == "\\":
            self._escape(in_class=False)
        elif character == "[":
            self._character_class()
        elif character == "(":
            self._open()
        elif character == ")":
            closer = self.closers.pop() if len(self.closers) > 1 else ""
            self._take(1, closer + ")")
        elif character == "{":
            count = _COUNT.match(self.pattern, self.at)
            if count is None:
                raise RuleBroken("regex", f"{self.pattern!r}: '{{' begins no repetition; write '\\{{'")
            self._take(len(count[0]))
        else:
            self._take(1)

    def _open(self) -> None:
        rest = self.pattern[self.at :]
        flags = _INLINE_FLAGS.match(rest)
        if flags is not None:
            if self.at and not self.out[-1].endswith("("):
                raise RuleBroken("regex", f"{self.pattern!r}: flags must stand first")
            self._take(len(flags[0]), f"(?{flags[1]}:")
            self.closers[-1] += ")"
        elif rest.startswith("(?<") and rest[3:4] not in ("=", "!"):
            name = _GROUP_NAME.match(rest, 3)
            if name is None or rest[name.end() : name.end() + 1] != ">":
                raise RuleBroken("regex", f"{self.pattern!r}: a group's name is letters and digits")
            self._take(name.end() + 1, f"(?P<{name[0]}>")
            self.closers.append("")
        elif rest.startswith("(?P"):
            raise RuleBroken("regex", f"{self.pattern!r}: Java writes a named group (?<name>…)")
        else:
            self._take(1)
            self.closers.append("")

    def _character_class(self) -> None:
        self._take(1)
        if self.pattern.startswith("^", self.at):
            self._take(1)
        first = True
        while self.at < len(self.pattern):
            character = self.pattern[self.at]
            if character == "]" and not first:
                self._take(1)
                return
            if character == "[" or self.pattern.startswith("&&", self.at):
                raise RuleBroken("regex", f"{self.pattern!r}: nested character classes are not supported")
            if character == "\\":
                self._escape(in_class=True)
            else:
                # Python warns of set operations it may get one day; escaped, they are plain characters.
                self._take(1, "\\" + character if character in "-~|&" and self._doubled() else None)
            first = False
        raise RuleBroken("regex", f"{self.pattern!r}: a character class is not closed")

    def _doubled(self) -> bool:
        return self.pattern[self.at] == self.pattern[self.at + 1 : self.at + 2]

    def _escape(self, *, in_class: bool) -> None:
        rest = self.pattern[self.at :]
        if rest.startswith("\\Q"):
            literal, end, _ = rest[2:].partition("\\E")
            self._take(2 + len(literal) + len(end), re.escape(literal))
        elif (
            rest.startswith("\\p{") and (name := rest[3:].partition("}")[0].removeprefix("Is")) in _SHORTHAND
        ):
            ranges = _SHORTHAND[name]
            self._take(rest.index("}") + 1, ranges if in_class else f"[{ranges}]")
        elif rest.startswith("\\k<"):
            self._take(rest.find(">") + 1 or len(rest), f"(?P={rest[3:].partition('>')[0]})")
        elif rest[:2] in ("\\z", "\\Z") and not in_class:
            self._take(2, "\\Z")
        elif rest[:2] in ("\\p", "\\P"):
            raise RuleBroken("regex", f"{self.pattern!r}: this class of characters is not supported")
        else:
            self._take(2)


@dataclass(frozen=True, slots=True)
class Replacement:
    """A parsed replacement: literal texts and groups (by number or name) in turn."""

    source: str
    parts: tuple[str | int | tuple[str], ...]

    def expand(self, match: re.Match[str]) -> str:
        """Return the replacement for one match; a group that took no part is empty."""
        out = []
        for part in self.parts:
            if isinstance(part, str):
                out.append(part)
            else:
                out.append(match[part if isinstance(part, int) else part[0]] or "")
        return "".join(out)

    def literals(self) -> tuple[str, ...]:
        return tuple(part for part in self.parts if isinstance(part, str))


def parse_replacement(source: str, pattern: re.Pattern[str]) -> Replacement:
    """Parse a Java replacement for ``pattern``; raises RuleBroken for groups the pattern doesn't have."""
    text = source.replace("$\\", "$")
    parts: list[str | int | tuple[str]] = []
    literal: list[str] = []
    at = 0
    while at < len(text):
        character = text[at]
        if character == "\\" and at + 1 < len(text):
            literal.append(text[at + 1])
            at += 2
        elif character == "$":
            group, at = _group(text, at + 1, pattern)
            parts.extend(("".join(literal), group) if literal else (group,))
            literal = []
        else:
            literal.append(character)
            at += 1
    if literal:
        parts.append("".join(literal))
    return Replacement(text, tuple(parts))


def _group(text: str, at: int, pattern: re.Pattern[str]) -> tuple[int | tuple[str], int]:
    """Read the group reference behind a ``$``; return it and where the text goes on."""
    if text.startswith("{", at):
        end = text.find("}", at)
        name = text[at + 1 : end] if end > 0 else ""
        if name not in pattern.groupindex:
            known = ", ".join(pattern.groupindex) or "none"
            raise RuleBroken("regex", f"the replacement names the group {name!r}; the regex has: {known}")
        return (name,), end + 1
    digits = re.match(r"\d", text[at:])
    if digits is None:
        raise RuleBroken("regex", "a '$' in a replacement must be followed by a group; write '\\$'")
    number = int(digits[0])
    if number > pattern.groups:
        raise RuleBroken("regex", f"the replacement names group {number}; the regex has {pattern.groups}")
    at += 1
    # As in Java, further digits count as long as such a group exists.
    while text[at : at + 1].isdigit() and number * 10 + int(text[at]) <= pattern.groups:
        number = number * 10 + int(text[at])
        at += 1
    return number, at
