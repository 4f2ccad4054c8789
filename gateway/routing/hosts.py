"""Host patterns: Spring's Ant patterns with the dot between labels (``**.example.org``), and globs in segments."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from gateway.routing import matcher
from gateway.routing.java_regex import compile_java, quoted
from gateway.routing.matcher import Regex
from gateway.routing.spec.issues import RuleViolation

RUN: Final = "*"
ONE: Final = "?"
_MAX_STEPS: Final = 4000
"""Limit for the text's length times the longest fixed text's. Longer texts go to the regex, whose time is measured."""
_MICROSECONDS: Final = 0.3
_MICROSECONDS_PER_CHARACTER: Final = 0.01


class Glob:
    """A text with wildcards. ``beginning`` is the fixed text that it begins with; it may be empty."""

    __slots__ = ("_quick", "_regex", "_weight", "beginning")

    def __init__(self, parts: Sequence[str], regex: Regex, *, suffix: bool, one: str = ".") -> None:
        """``parts`` are fixed texts, ``RUN`` and ``ONE``. With ``suffix``, a format suffix may follow them. ``regex``
        matches the same texts. ``one`` is the regex for ``ONE``."""
        self.beginning = parts[0] if parts and parts[0] not in (RUN, ONE) else ""
        pieces: list[list[str]] = [[]]
        for part in parts:
            if part == RUN:
                pieces.append([])
            else:
                pieces[-1].append(one if part == ONE else re.escape(part))
        first, *others = map("".join, pieces)
        between = "".join(f"(?>.*?{piece})" for piece in others[:-1] if piece)
        last = others[-1] if others else ""
        if others:
            # With a suffix the last run is lazy: the first place where a suffix begins or the text ends is enough.
            first += between + (f".*?{last}" if suffix and last else f".*{last}")
        self._quick = re.compile(first + (r"(?:\..*)?" if suffix and (last or not others) else ""), re.DOTALL)
        self._regex = regex
        self._weight = 1 + max(map(len, parts), default=0)

    def matches(self, text: str) -> bool:
        """Whether the glob matches the whole text. Raises MatchingTimeout."""
        if len(text) * self._weight > _MAX_STEPS:
            return self._regex.matches(text)
        matcher.spend(_MICROSECONDS + len(text) * _MICROSECONDS_PER_CHARACTER)
        return self._quick.fullmatch(text) is not None


def fixed_end(pattern: str) -> str:
    """The text that every matching host ends with, in lower case, with a dot in front if a label begins there."""
    end = re.split(r"[*?{}]", f".{pattern}")[-1].lower()
    return end if pattern.isascii() else ""


def fixed_start(pattern: str) -> str:
    """The text that every matching host begins with, in lower case, without a dot before ``**``."""
    return re.split(r"[*?{}]", pattern)[0].rstrip(".").lower() if pattern.isascii() else ""


def is_literal(pattern: str) -> bool:
    """Whether a pattern is a single host, without wildcards and variables."""
    return pattern.isascii() and not re.search(r"[*?{}]", pattern)


def compile_host(pattern: str) -> tuple[Regex, tuple[str, ...]]:
    """Return a regex for the host with a dot before it, and its groups' names; raises RuleViolation (``pattern``)."""
    if re.search(r"[\s,/]", pattern):
        raise RuleViolation("pattern", f"the host pattern {pattern!r} holds a character no host has")
    names: list[str] = []
    labels = re.split(r"\.(?![^{]*\})", pattern)
    out = "".join(
        r"(?:\.[^.]+)*" if label == "**" else r"\." + _label_regex(pattern, label, names) for label in labels
    )
    if len(set(names)) < len(names):
        raise RuleViolation("pattern", f"the host pattern {pattern!r} captures a name twice")
    return compile_java(out, ignore_case=True), tuple(names)


def _label_regex(pattern: str, label: str, names: list[str]) -> str:
    out = ""
    for variable, other in re.findall(r"\{([^{}]*(?:\{[^{}]*\}[^{}]*)*)\}|(.)", label):
        if other:
            if other in "{}":
                raise RuleViolation(
                    "pattern", f"the host pattern {pattern!r} has a brace without its other half"
                )
            out += {"*": "[^.]*" if len(label) > 1 else "[^.]+", "?": "[^.]"}.get(other) or quoted(other)
            continue
        name, _, constraint = variable.partition(":")
        if not name or (constraint and compile_java(constraint).groups):
            raise RuleViolation(
                "pattern", f"the host pattern {pattern!r} has a variable without a name, or a group"
            )
        names.append(name)
        out += f"({constraint or '[^.]+'})"
    return out
