"""Regexes and replacements of route files, in Java's syntax.

``compile_java`` translates Java's syntax into one that RE2 and ``regex`` read in the same way. It refuses what Java
refuses, so that no expression silently means something else here. It resolves flags, quotations and character classes
itself; the libraries see none of them. ``Replacement`` is the right-hand side of ``String.replaceAll``: ``$1``,
``${name}``, ``\\x`` for a literal ``x``. Route files write ``$\\{name}``, so that it is not read as a placeholder.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from gateway.routing import java_charset as charset
from gateway.routing.java_charset import Ranges
from gateway.routing.matcher import Regex, RegexMatch
from gateway.routing.spec.issues import RuleViolation

_GROUP_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*")
_COUNT = re.compile(r"\{([0-9]{1,10})(,([0-9]{0,10}))?\}")
_FLAGS = re.compile(r"\(\?([a-zA-Z]*)(?:-([a-zA-Z]*))?([:)])")
_CHARACTER_NAME = re.compile(r"\{([^{}]+)\}")
_KNOWN_FLAGS: Final = frozenset("imsxud")
_MAX_REPETITIONS: Final = 2**31 - 1
_MAX_DEPTH: Final = 100
_SETS: Final[dict[str, Ranges]] = {
    "d": charset.DIGITS,
    "w": charset.WORD,
    "s": charset.SPACE,
    "h": charset.HORIZONTAL,
    "v": charset.VERTICAL,
}
_CONTROLS: Final = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "a": "\a", "e": "\x1b"}
_LOOKAROUND: Final = {
    "(?=": "a look-ahead",
    "(?!": "a look-ahead",
    "(?<=": "a look-behind",
    "(?<!": "a look-behind",
    "(?>": "an atomic group",
}


@lru_cache(maxsize=1024)
def compile_java(pattern: str, *, ignore_case: bool = False) -> Regex:
    """Compile a Java regex. Raises RuleViolation (rule ``regex``) for what Java or this translation refuses.

    ``ignore_case`` ignores the case of all letters; Java's own ``(?i)`` only that of ASCII letters.
    """
    flags = frozenset("iu" if ignore_case else "")
    translation = _Translation(pattern, flags, charset.LAST)
    text = translation.run()
    for_ascii = _Translation(pattern, flags, 0x7F).run()
    # The end of the text is \\z in RE2 and \\Z in ``regex``.
    linear, for_ascii, backtracking = (
        text.replace(_END, r"\z"),
        for_ascii.replace(_END, r"\z"),
        text.replace(_END, r"\Z"),
    )
    try:
        return Regex(
            pattern,
            for_ascii,
            linear,
            backtracking,
            translation.names,
            translation.groups,
            matches_empty=not translation.least,
            unbounded_by=translation.unbounded_by,
            literal=None if ignore_case else _only_text(pattern),
            beginning="" if ignore_case else _beginning(pattern),
        )
    except ValueError as error:
        raise RuleViolation("regex", f"{pattern!r} is no regex: {error}") from None


_END: Final = "\x00"
_LITERAL = re.compile(r"(?:[\w @:=~,;%&'\"!<>/-]|\\[.^$*+?(){}\[\]|/:@_ -])*", re.ASCII)

# Not the last character before a repetition, because the repetition applies to it.
_LITERAL_BEGINNING = re.compile(r"[\w @:=~,;%&'\"!<>/-]+(?![*+?{\w @:=~,;%&'\"!<>/-])", re.ASCII)


def _only_text(pattern: str) -> str | None:
    """The one text that a pattern without operators matches; None if it may match other texts."""
    return pattern.replace("\\", "") if _LITERAL.fullmatch(pattern) else None


def _beginning(pattern: str) -> str:
    """The text that every full match of a pattern begins with; empty if it is not obvious."""
    if (only := _only_text(pattern)) is not None:
        return only
    found = _LITERAL_BEGINNING.match(pattern)
    return found[0] if found and "|" not in pattern else ""


def _unquoted(pattern: str) -> str:
    """The pattern with the text between ``\\Q`` and ``\\E`` escaped character by character."""
    out, at = [], 0
    while at < len(pattern):
        if not pattern.startswith("\\", at):
            out.append(pattern[at])
            at += 1
        elif pattern.startswith("\\Q", at):
            quoted, _, _ = pattern[at + 2 :].partition("\\E")
            out += (f"\\x{{{ord(character):x}}}" for character in quoted)
            at += 4 + len(quoted)
        else:
            out.append(pattern[at : at + 2])
            at += 2
    return "".join(out)


def quoted(text: str) -> str:
    """A regex that matches exactly this text."""
    return "".join(character if character.isalnum() else f"\\x{{{ord(character):x}}}" for character in text)


class _Translation:
    """One pass over a pattern. ``flags`` are in force at its beginning. It has to match characters up to ``last``."""

    def __init__(self, pattern: str, flags: frozenset[str], last: int) -> None:
        self.source = pattern
        self.pattern = _unquoted(pattern)
        self.flags = flags
        self.possible = ((0, last),)
        self.at = 0
        self.depth = 0
        self.groups = 0
        self.names: dict[str, int] = {}
        self.references: list[int] = []
        self.unbounded_by = ""
        # The minimum number of characters that the last item takes: 0, or 1 for one and more.
        self.least = 0

    def run(self) -> str:
        text = self._alternatives()
        if self.at < len(self.pattern):
            raise self._wrong("a ')' closes no group")
        if any(number > self.groups for number in self.references):
            raise self._wrong("it refers to a group that it does not have")
        return text

    def _wrong(self, why: str) -> RuleViolation:
        return RuleViolation("regex", f"{self.source!r} is no regex: {why}")

    def _unsupported(self, what: str) -> RuleViolation:
        return RuleViolation("regex", f"{self.source!r}: {what} is not supported here")

    def _ahead(self, text: str) -> bool:
        return self.pattern.startswith(text, self.at)

    def _next(self) -> str:
        """Take one character."""
        if self.at >= len(self.pattern):
            raise self._wrong("it ends too early")
        self.at += 1
        return self.pattern[self.at - 1]

    def _skip_comments(self) -> None:
        while "x" in self.flags and self.at < len(self.pattern):
            if self.pattern[self.at] == "#":
                end = self.pattern.find("\n", self.at)
                self.at = len(self.pattern) if end < 0 else end + 1
            elif self.pattern[self.at] in " \t\n\x0b\f\r":
                self.at += 1
            else:
                break

    def _alternatives(self) -> str:
        """Translate up to the end of the group. A flag that is set within the group ends with it."""
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise self._wrong(f"its groups are nested more than {_MAX_DEPTH} deep")
        flags, out, branches = self.flags, [], [0]
        while True:
            self._skip_comments()
            if self.at >= len(self.pattern) or self._ahead(")"):
                break
            if self._ahead("|"):
                branches.append(0)
                out.append(self._next())
            else:
                self.least = 0
                out.append(self._repeated(self._atom()))
                branches[-1] |= self.least
        self.flags = flags
        self.least = min(branches)
        self.depth -= 1
        return "".join(out)

    def _repeated(self, atom: str) -> str:
        self._skip_comments()
        count = _COUNT.match(self.pattern, self.at)
        if count is not None:
            least = int(count[1])
            most = least if count[2] is None else int(count[3] or _MAX_REPETITIONS)
            if not least <= most <= _MAX_REPETITIONS:
                raise self._wrong(f"{count[0]} is no repetition")
            times = count[0]
            self.at = count.end()
        elif self._ahead("{"):
            raise RuleViolation("regex", f"{self.source!r}: '{{' begins no repetition; write '\\{{'")
        elif self.pattern[self.at : self.at + 1] in ("*", "+", "?"):
            times = self._next()
        else:
            return atom
        if times in ("*", "?") or (count is not None and not least):
            self.least = 0
        if not atom:
            raise self._wrong(f"{times} repeats nothing")
        if self._ahead("?"):
            times += self._next()
        elif self._ahead("+"):
            times += self._next()
            self._needs("a possessive repetition")
        self._skip_comments()
        if self.pattern[self.at : self.at + 1] in ("*", "+", "?", "{"):
            raise self._wrong(f"{times} is repeated itself; put a group around it")
        return atom + times

    def _needs(self, what: str) -> None:
        self.unbounded_by = self.unbounded_by or what

    def _atom(self) -> str:
        character = self.pattern[self.at]
        if character == "(":
            return self._group()
        if character == "[":
            self.at += 1
            self.least = 1
            return self._as_regex(self._class())
        if character == "\\":
            return self._escape()
        if character == "{" or character in "*+?":
            return ""
        self.at += 1
        if character == ".":
            self.least = 1
            # Java's dot excludes U+0085, U+2028 and U+2029 too. They do not occur in the texts that these regexes
            # match, and excluding them would double the cost of a dot in RE2.
            ends = "" if "s" in self.flags else "\n\n" if "d" in self.flags else "\n\n\r\r"
            return self._as_regex(charset.inverted(charset.of_text(ends)))
        if character == "^":
            return "(?m:^)" if "m" in self.flags else r"\A"
        if character == "$":
            return "(?m:$)" if "m" in self.flags else _END
        return self._literal(character)

    def _literal(self, character: str) -> str:
        self.least = 1
        point = ord(character)
        if 0xD800 <= point <= 0xDFFF:
            raise self._unsupported("half a surrogate pair")
        if "i" in self.flags:
            cased = self._cased(((point, point),))
            if cased != ((point, point),):
                return self._as_regex(cased)
        return charset.literal(point) if point <= self.possible[0][1] else self._as_regex(())

    def _as_regex(self, ranges: Ranges) -> str:
        return charset.regex_of(charset.common(ranges, self.possible))

    def _cased(self, ranges: Ranges) -> Ranges:
        if "i" not in self.flags:
            return ranges
        return charset.in_either_case(ranges, ascii_only="u" not in self.flags)

    def _group(self) -> str:
        flags = _FLAGS.match(self.pattern, self.at)
        if flags is not None:
            return self._flagged(flags)
        opening = next((each for each in (*_LOOKAROUND, "(?<", "(?") if self._ahead(each)), "(")
        self.at += len(opening)
        if opening in _LOOKAROUND:
            self._needs(_LOOKAROUND[opening])
            return self._closed(opening, looking=opening != "(?>")
        if opening == "(":
            self.groups += 1
        elif opening == "(?<":
            name = _GROUP_NAME.match(self.pattern, self.at)
            if name is None or self.pattern[name.end() : name.end() + 1] != ">":
                raise self._wrong("a group's name is letters and digits, a letter first")
            if name[0] in self.names:
                raise self._wrong(f"it has two groups {name[0]!r}")
            self.groups += 1
            self.names[name[0]] = self.groups
            self.at = name.end() + 1
            opening = "("
        elif self._ahead("P<"):
            raise RuleViolation("regex", f"{self.source!r}: Java writes a named group (?<name>…)")
        else:
            raise self._wrong("it has a group of an unknown kind")
        return self._closed(opening)

    def _closed(self, opening: str, *, looking: bool = False) -> str:
        inside = self._alternatives()
        self.least = 0 if looking else self.least
        if not self._ahead(")"):
            raise self._wrong("a group is not closed")
        self.at += 1
        return f"{opening}{inside})"

    def _flagged(self, match: re.Match[str]) -> str:
        """Translate ``(?i)``, which applies until the end of the group around it, or ``(?i:…)``."""
        on, off = match[1], match[2] or ""
        for flag in on + off:
            if flag == "U":
                raise self._unsupported("the flag U")
            if flag not in _KNOWN_FLAGS:
                raise self._wrong(f"there is no flag {flag!r}")
        self.at = match.end()
        before = self.flags
        self.flags = (before | set(on)) - set(off)
        if match[3] == ")":
            return ""
        text = self._closed("(?:")
        self.flags = before
        return text

    def _escape(self) -> str:
        r"""Translate what follows a ``\\`` outside of a class."""
        self.at += 1
        character = self._next()
        if character in "123456789":
            number = int(character)
            # As in Java, further digits belong to the number as long as such a group precedes it.
            while self.pattern[self.at : self.at + 1] in tuple("0123456789"):
                longer = number * 10 + int(self.pattern[self.at])
                if longer > self.groups:
                    break
                number = longer
                self.at += 1
            return self._reference(number)
        if character == "k":
            end = self.pattern.find(">", self.at)
            name = self.pattern[self.at + 1 : end] if self._ahead("<") and end > 0 else ""
            if name not in self.names:
                raise self._wrong(f"it refers to a group {name!r} that does not stand before")
            self.at = end + 1
            return self._reference(self.names[name])
        if character == "b" and self._ahead("{"):
            raise self._unsupported(r"\b{…}")
        if character in "bB":
            return f"\\{character}"
        if character == "A":
            return r"\A"
        if character in "zZ":
            return _END
        if character == "R":
            self.least = 1
            return rf"(?:\x0d\x0a|{self._as_regex(charset.VERTICAL)})"
        if character in "GX":
            raise self._unsupported(f"\\{character}")
        found = self._escaped(character)
        if isinstance(found, str):
            return self._literal(found)
        self.least = 1
        return self._as_regex(self._cased(found))

    def _reference(self, number: int) -> str:
        self.references.append(number)
        self._needs("a back-reference")
        return rf"(?i:\g<{number}>)" if "i" in self.flags else rf"\g<{number}>"

    def _escaped(self, character: str) -> str | Ranges:
        """The character or set of characters that the letter behind a backslash means, also within a class."""
        lower = character.lower()
        if lower in _SETS:
            return _SETS[lower] if character == lower else charset.inverted(_SETS[lower])
        if lower == "p":
            ranges = self._property()
            return ranges if character == "p" else charset.inverted(ranges)
        if character in _CONTROLS:
            return _CONTROLS[character]
        if character == "c":
            return chr(ord(self._next()) ^ 64)
        if character == "x":
            return self._code(r"\{([0-9A-Fa-f]{1,6})\}|([0-9A-Fa-f]{2})", 16)
        if character == "u":
            return self._code(r"([0-9A-Fa-f]{4})", 16)
        if character == "0":
            return self._code(r"([0-3][0-7]{2}|[0-7]{1,2})", 8)
        if character == "N":
            return self._by_name()
        if character.isascii() and character.isalnum():
            raise self._wrong(f"there is no \\{character}")
        return character

    def _property(self) -> Ranges:
        """The set that the text behind a ``\\p`` names."""
        name = self._next()
        if name == "{":
            end = self.pattern.find("}", self.at)
            name = self.pattern[self.at : end] if end > 0 else ""
            self.at = end + 1
        ranges = charset.named(name)
        if ranges is None:
            raise self._unsupported(f"the class \\p{{{name}}}")
        # If case is ignored, Java lets each of Lu, Ll and Lt match letters of any case.
        if "i" in self.flags and ranges in (charset.named("Lu"), charset.named("Ll"), charset.named("Lt")):
            return charset.members(r"[\p{Lu}\p{Ll}\p{Lt}]")
        return ranges

    def _by_name(self) -> str:
        """The character that the text behind a ``\\N`` names."""
        name = _CHARACTER_NAME.match(self.pattern, self.at)
        self.at = name.end() if name else self.at
        try:
            return unicodedata.lookup(name[1] if name else "")
        except KeyError:
            raise self._wrong(r"\N names no character") from None

    def _code(self, form: str, base: int) -> str:
        match = re.compile(form).match(self.pattern, self.at)
        digits = next(filter(None, match.groups()), "") if match else ""
        if match is None or int(digits, base) > charset.LAST:
            raise self._wrong("an escape names no character")
        self.at = match.end()
        return chr(int(digits, base))

    def _class(self) -> Ranges:
        """Read a class, from behind its ``[`` to behind its ``]``, and return its set."""
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise self._wrong(f"its classes are nested more than {_MAX_DEPTH} deep")
        inverted = self._ahead("^")
        self.at += inverted
        operands: list[Ranges] = []
        parts: list[tuple[int, int]] = []
        first = True
        while True:
            self._skip_comments()
            if self.at >= len(self.pattern):
                raise self._wrong("a class of characters is not closed")
            if self._ahead("]") and not first:
                self.at += 1
                break
            if self._ahead("&&"):
                self.at += 2
                if self._ahead("&") or self._ahead("]"):
                    raise self._unsupported("&& without a class behind it")
                if not first:
                    operands.append(charset.of(*parts))
                parts = []
                continue
            first = False
            parts += self._member()
        operands.append(charset.of(*parts))
        result = operands[0]
        for operand in operands[1:]:
            result = charset.common(result, operand)
        self.depth -= 1
        return charset.inverted(result) if inverted else result

    def _member(self) -> Ranges:
        """One part of a class: a nested class, a set, a character, or a range of characters."""
        if self._ahead("["):
            self.at += 1
            return self._class()
        first = self._single()
        if not isinstance(first, str):
            return self._cased(first)
        if self._ahead("-") and self.pattern[self.at + 1 : self.at + 2] not in ("", "]", "["):
            self.at += 1
            last = self._single()
            if not isinstance(last, str) or ord(last) < ord(first):
                raise self._wrong(f"a range that begins with {first!r} has no end behind it")
            return self._cased(((ord(first), ord(last)),))
        return self._cased(((ord(first), ord(first)),))

    def _single(self) -> str | Ranges:
        character = self._next()
        return self._escaped(self._next()) if character == "\\" else character


@dataclass(frozen=True, slots=True)
class Replacement:
    """A parsed replacement: literal texts and groups (by number) in turn."""

    source: str
    parts: tuple[str | int, ...]

    def expand(self, match: RegexMatch) -> str:
        """Return the replacement for one match. A group that took no part in the match is empty."""
        return "".join(part if isinstance(part, str) else match.group(part) for part in self.parts)

    def literals(self) -> tuple[str, ...]:
        return tuple(part for part in self.parts if isinstance(part, str))


def parse_replacement(source: str, pattern: Regex) -> Replacement:
    """Parse a Java replacement for ``pattern``. Raises RuleViolation for groups that the pattern doesn't have."""
    text = source.replace("$\\", "$")
    parts: list[str | int] = []
    literal: list[str] = []
    at = 0
    while at < len(text):
        character = text[at]
        if character == "\\":
            if at + 1 == len(text):
                raise RuleViolation(
                    "regex", "a '\\' at the end of a replacement escapes nothing; write '\\\\'"
                )
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


def _group(text: str, at: int, pattern: Regex) -> tuple[int, int]:
    """Read the group reference behind a ``$``. Return the group's number and the position behind the reference."""
    if text.startswith("{", at):
        end = text.find("}", at)
        name = text[at + 1 : end] if end > 0 else ""
        if name not in pattern.names:
            known = ", ".join(pattern.names) or "none"
            raise RuleViolation("regex", f"the replacement names the group {name!r}; the regex has: {known}")
        return pattern.names[name], end + 1
    digits = re.match("[0-9]", text[at:])
    if digits is None:
        raise RuleViolation("regex", "a '$' in a replacement must be followed by a group; write '\\$'")
    number = int(digits[0])
    if number > pattern.groups:
        raise RuleViolation("regex", f"the replacement names group {number}; the regex has {pattern.groups}")
    at += 1
    # As in Java, further digits belong to the number as long as such a group exists.
    while text[at : at + 1] in tuple("0123456789") and number * 10 + int(text[at]) <= pattern.groups:
        number = number * 10 + int(text[at])
        at += 1
    return number, at
