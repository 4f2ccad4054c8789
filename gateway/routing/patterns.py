"""Spring's ``PathPattern``, the syntax in which route files and access rules describe paths."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from gateway.routing.hosts import ONE, RUN, Glob
from gateway.routing.java_regex import compile_java, quoted
from gateway.routing.matcher import Regex
from gateway.routing.path_readings import fold, strip_ignored
from gateway.routing.spec.issues import RuleViolation

_NOTHING: Final[Mapping[str, str]] = {}


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment of a pattern: a literal, or a regex for the whole segment with its groups' names.

    ``text`` is the segment as written. ``may_be_empty``: the segment is a single ``*`` at the end. ``glob`` is the
    segment with ``*`` for every variable; None if it is just ``*``. ``constrained``: a variable has its own regex.
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
        """The order of comparison. Segments that take long to compare come last, after all others have matched."""
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
        """The segment with ``*`` for every variable. It matches everything that the segment matches."""
        return without_variables(self.text, "*")


@dataclass(frozen=True, slots=True)
class PathPattern:
    """A compiled pattern. ``source`` is as written.

    ``head`` and ``tail`` are set if any number of segments comes first or last (``**``). Their value is the variable
    that captures these segments (``""`` for a plain ``**``). None: no ``**`` there.
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
        """The variables that this pattern captures whenever it matches."""
        names = [name for segment in self.segments for name in segment.names]
        return tuple(names + [name for name in (self.head, self.tail) if name])

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings for the operator about the pattern's regexes."""
        regexes = (segment.regex for segment in self.segments if segment.regex is not None)
        return tuple(regex.warning for regex in regexes if regex.warning)

    def first_literals(self) -> tuple[str, ...]:
        """The literal segments that every matching path begins with."""
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
        values = _split_path(path)
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

    def matches_with(self, path: str, variable: str, value: str, other: str) -> bool:
        """Whether ``path``, which matches with this ``value`` of a variable in one segment, would also match with
        ``other`` in its place."""
        values = _split_path(path).copy()
        start = len(values) - len(self.segments) if self.head is not None else 0
        at = start + next(at for at, segment in enumerate(self.segments) if variable in segment.names)
        text = values[at]
        # The text around a variable may hold its value, too.
        for begin in {text.find(value), text.rfind(value)}:
            values[at] = text[:begin] + other + text[begin + len(value) :]
            found = self.match(_joined(values))
            if found is not None and found[variable] == other:
                return True
        return False

    def constrains(self, variable: str) -> bool:
        """Whether the variable has a regex of its own, or stands in a segment with another one that has."""
        return any(variable in segment.names and segment.constrained for segment in self.segments)


# A table compares many patterns with the same path.
@lru_cache(maxsize=4)
def _split_path(path: str) -> list[str]:
    return path.split("/")[1:]


def _joined(values: list[str]) -> str:
    return "".join(f"/{value}" for value in values)


def without_variables(text: str, instead: str) -> str:
    """A segment's text with ``instead`` in place of each variable."""
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
    raise AssertionError("braces were balanced by _split_path")


_WILDCARDS = re.compile(r"[?*{]")


@lru_cache(maxsize=4096)
def compile_pattern(source: str, *, ignore_case: bool = False) -> PathPattern:
    """Compile a pattern. Raises RuleViolation (rule ``pattern`` or ``regex``) that says what is wrong with it.

    ``ignore_case`` is for a pattern that protects calls and is compared with folded paths (see ``fold``). Its literals
    are folded and bare, and its regexes ignore case and a format suffix.
    """
    if not source.startswith("/"):
        raise _wrong(source, "must begin with '/'")
    texts = _split(source)
    head = tail = None
    if texts and (name := _any_depth(source, texts[-1])) is not None:
        tail = name
        texts.pop()
    if tail is None and texts and (name := _any_depth(source, texts[0])) is not None:
        head = name
        texts.pop(0)
    segments = tuple(
        _segment(source, text, ignore_case, last=at == len(texts) - 1 and tail is None)
        for at, text in enumerate(texts)
    )
    pattern = PathPattern(source, segments, head, tail)
    twice = {name for name in pattern.variables if pattern.variables.count(name) > 1}
    if twice:
        raise _wrong(source, f"captures {min(twice)!r} twice")
    return pattern


def _wrong(source: str, why: str) -> RuleViolation:
    return RuleViolation("pattern", f"the pattern {source!r} {why}")


def _split(source: str) -> list[str]:
    """Split at slashes. Braces may nest within a regex, but a variable may not span segments."""
    texts, depth, start, escaped = [], 0, 1, False
    for at, character in enumerate(source[1:], 1):
        # Within braces a backslash belongs to a regex, in which an escaped brace is a literal character.
        if escaped:
            escaped = False
            continue
        escaped = depth > 0 and character == "\\"
        depth += (character == "{") - (character == "}")
        if depth < 0:
            raise _wrong(source, "has a '}' without its '{' in the same segment")
        if character != "/":
            continue
        if depth:
            raise _wrong(source, "has a '{' without its '}' in the same segment")
        texts.append(source[start:at])
        start = at + 1
    if depth:
        raise _wrong(source, "has a '{' without its '}'")
    texts.append(source[start:])
    if "" in texts[:-1]:
        raise _wrong(source, "has an empty segment, which no request can have")
    if any(text and not text.strip(".") for text in texts):
        raise _wrong(source, "has a dot segment, which no request can have")
    return texts


def _any_depth(source: str, text: str) -> str | None:
    """The capturing name of a ``**`` or ``{*name}`` segment (``""`` for ``**``), None for other segments."""
    if text == "**":
        return ""
    if text.startswith("{*") and text.endswith("}"):
        return _name(source, text[2:-1])
    return None


def _segment(source: str, text: str, ignore_case: bool, *, last: bool) -> Segment:
    if text == "*":
        return Segment(text, None, may_be_empty=last)
    if _any_depth(source, text) is not None:
        raise _wrong(source, "has ** or {*…} more than once, or neither first nor last")
    if "**" in without_variables(text, ""):
        raise _wrong(source, "has ** inside a segment; it must stand between slashes")
    if _WILDCARDS.search(text) is None:
        return Segment(text, fold(text) if ignore_case else text)
    # ``parts`` are regexes. ``globs`` are the same parts, with wildcards only.
    parts, globs, names, at = [], [], [], 0
    while at < len(text):
        if text[at] == "{":
            end = closing_brace(text, at)
            name, part = _variable(source, text[at + 1 : end])
            names.append(name)
            parts.append(part)
            globs.append(RUN)
            at = end + 1
        elif text[at] in "*?":
            parts.append({"*": ".*", "?": "."}[text[at]])
            globs.append(text[at])
            at += 1
        else:
            wildcard = _WILDCARDS.search(text, at)
            end = wildcard.start() if wildcard else len(text)
            literal = text[at:end]
            globs.append(fold(strip_ignored(literal)) or literal if ignore_case else literal)
            parts.append(quoted(globs[-1]))
            at = end
    if parts == ["(.*)"]:
        return Segment(text, None, names=tuple(names))
    one = "."
    # Java's ? matches one UTF-16 unit. A character beyond the first plane has two units.
    if RUN not in globs:
        one = "[^\U00010000-\U0010ffff]"
        parts = [one if part == "." else part for part in parts]
    constrained = any(part[0] == "(" and part != "(.*)" for part in parts)
    regex = of_glob = _compiled("".join(parts), ignore_case)
    if constrained:
        plain = (".*" if each == RUN else one if each == ONE else quoted(each) for each in globs)
        of_glob = _compiled("".join(plain), ignore_case)
    glob = None if globs == [RUN] else Glob(globs, of_glob, suffix=ignore_case, one=one)
    return Segment(text, None, regex, tuple(names), glob=glob, constrained=constrained)


def _compiled(regex: str, ignore_case: bool) -> Regex:
    # A pattern that protects ignores a format suffix.
    return compile_java(rf"(?:{regex})(?s:\..*)?" if ignore_case else regex, ignore_case=ignore_case)


def _variable(source: str, inside: str) -> tuple[str, str]:
    """The name and the regex of a captured variable."""
    name, colon, constraint = inside.partition(":")
    if name.startswith("*"):
        raise _wrong(source, "mixes {*…} with other text in one segment")
    name = _name(source, name)
    if not colon:
        return name, "(.*)"
    if not constraint:
        raise _wrong(source, f"has no regex behind '{name}:'")
    regex = compile_java(constraint)
    if regex.groups:
        raise _wrong(source, f"has a group in the regex of {name!r}; write (?:…)")
    return name, f"({constraint})"


def _name(source: str, name: str) -> str:
    if not name:
        raise _wrong(source, "has a variable without a name")
    if "{" in name:
        raise _wrong(source, "nests variables")
    letter_first = name[0].isalpha() or name[0] == "_"
    if not letter_first or not all(character.isalnum() or character in "_-" for character in name):
        raise _wrong(source, f"has the variable {name!r}; a name is letters, digits, - and _, a letter first")
    return name
