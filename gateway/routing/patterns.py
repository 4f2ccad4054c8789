"""Spring's ``PathPattern``: how a route file and an access rule describe paths.

====================  ==========================================================================
``/foo``              exactly this path; ``/foo/`` is another
``/t?st``             ``?`` is one character
``/foo/*``            one segment; at the end it may be empty (``/foo/``, not ``/foo``)
``/foo*``, ``/*.js``  any characters within a segment
``/foo/**``           ``/foo``, ``/foo/`` and everything below; ``**`` may also stand first (``/**/bar``)
``/{id}``             one segment, captured, not empty
``/{id:\\d+}``         … that matches a regex (Java's dialect); ``/{a}-{b}.txt`` mixes
``/foo/{*rest}``      like ``**``, captured with its leading slash
====================  ==========================================================================

Patterns are compared with the decoded canonical path (see ``path``), regarding case. A pattern that could
never match such a path, or whose meaning people mistake, is refused: no leading slash, ``//``, dot
segments, ``**`` inside a segment, a variable without a name.
"""

from __future__ import annotations

import re
from functools import lru_cache

from gateway.routing.faults import RuleBroken
from gateway.routing.globs import ONE, RUN, Glob
from gateway.routing.javaregex import compile_java, quoted
from gateway.routing.matcher import Regex
from gateway.routing.pattern_parts import PathPattern, Segment, closing_brace, fold, without_variables
from gateway.routing.readings import bare

__all__ = ["PathPattern", "compile_pattern"]

_WILDCARDS = re.compile(r"[?*{]")


@lru_cache(maxsize=4096)
def compile_pattern(source: str, *, ignore_case: bool = False) -> PathPattern:
    """Compile a pattern; raises RuleBroken (rule ``pattern`` or ``regex``) saying what is wrong with it.

    With ``ignore_case`` it is to protect, and is compared with folded paths (see ``fold``): literals are folded and
    bare, and regexes regard neither case nor a format suffix.
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


def _wrong(source: str, why: str) -> RuleBroken:
    return RuleBroken("pattern", f"the pattern {source!r} {why}")


def _split(source: str) -> list[str]:
    """Split at slashes; braces may nest within a regex but a variable may not span segments."""
    texts, depth, start, escaped = [], 0, 1, False
    for at, character in enumerate(source[1:], 1):
        # Within braces a backslash belongs to a regex, in which an escaped brace is a character.
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
    if any(text in (".", "..") for text in texts):
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
    # ``parts`` are regexes, ``globs`` the same with nothing but wildcards.
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
            globs.append(fold(bare(literal)) or literal if ignore_case else literal)
            parts.append(quoted(globs[-1]))
            at = end
    if parts == ["(.*)"]:
        return Segment(text, None, names=tuple(names))
    one = "."
    # One UTF-16 unit is what Java's ? takes; a character beyond the first plane is two.
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
    # What protects looks past a format suffix.
    return compile_java(rf"(?:{regex})(?s:\..*)?" if ignore_case else regex, ignore_case=ignore_case)


def _variable(source: str, inside: str) -> tuple[str, str]:
    """Return name and regex of a captured variable."""
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
