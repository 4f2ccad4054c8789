"""The gateway's own regexes take linear time on any bytes of clients and services.

Each module-level regex gets texts that are made from its own form: what stands before one of its repetitions, then
100,000 characters of what that repetition takes, then something that fits nowhere. A regex that goes back over such a
text takes minutes, one that does not takes milliseconds.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

import pytest

import gateway
from gateway.observability.logging import without_tokens
from gateway.proxy.strict_parsing import is_unambiguous
from gateway.server.framing import framing_of

LENGTH = 100_000
PLACES = ("server", "proxy", "auth", "api", "observability", "middleware", "fast_path", "sse", "query")
ONCE_AT_EACH_PLACE = frozenset({"search", "findall", "finditer", "sub", "subn", "split"})


def own_regexes() -> dict[str, tuple[re.Pattern[Any], set[str]]]:
    """Every module-level regex, and the methods by which its module uses it."""
    found = {}
    for module in pkgutil.walk_packages(gateway.__path__, "gateway."):
        if module.name.split(".")[1] not in PLACES:
            continue
        names = vars(importlib.import_module(module.name))
        regexes = {name: value for name, value in names.items() if isinstance(value, re.Pattern)}
        if not regexes:
            continue
        used: dict[str, set[str]] = {name: set() for name in regexes}
        tree = ast.parse(Path(names["__file__"]).read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in used:
                used[node.value.id].add(node.attr)
        for name, regex in regexes.items():
            found[f"{module.name}.{name}"] = regex, used[name]
    return found


REGEXES = own_regexes()


def characters(members: list[tuple[Any, Any]]) -> Iterator[str]:
    """Some characters of a set, the blanks among them first."""
    if members[0][0] is sre.NEGATE:
        yield from (each for each in ' \ta0,;="\\%' if not matched(members[1:], each))
        return
    yield from (each for each in " \t" if matched(members, each))
    for kind, value in members:
        if kind is sre.LITERAL:
            yield chr(value)
        elif kind is sre.RANGE:
            yield from {chr(value[0]), chr(value[1])}
        elif kind is sre.CATEGORY:
            yield "a" if value is sre.CATEGORY_WORD else "0" if value is sre.CATEGORY_DIGIT else " "


def matched(members: list[tuple[Any, Any]], character: str) -> bool:
    code = ord(character)
    return any(
        (kind is sre.LITERAL and value == code)
        or (kind is sre.RANGE and value[0] <= code <= value[1])
        or (kind is sre.CATEGORY and value is sre.CATEGORY_SPACE and character in " \t")
        for kind, value in members
    )


def samples(tree: Any) -> list[str]:
    """A few short texts that ``tree`` matches, more or less."""
    texts = [""]
    for kind, value in tree:
        if kind is sre.LITERAL:
            more = [chr(value)]
        elif kind is sre.NOT_LITERAL or kind is sre.ANY:
            more = ["a"]
        elif kind is sre.IN:
            more = list(dict.fromkeys(characters(value)))[:6]
        elif kind is sre.SUBPATTERN:
            more = samples(value[3])
        elif kind is sre.ATOMIC_GROUP:
            more = samples(value)
        elif kind is sre.BRANCH:
            more = [text for branch in value[1] for text in samples(branch)[:3]]
        elif kind in {sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT}:
            least, _, inner = value
            more = [text * max(least, 1) for text in samples(inner)[:4]] + ([""] if not least else [])
        else:
            more = [""]
        texts = [text + each for text in texts for each in more][:12]
    return texts


def attacks(tree: Any, before: str = "") -> Iterator[tuple[str, str]]:
    """Pairs: what stands before a repetition without end, and what it repeats."""
    for kind, value in tree:
        if kind in {sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT}:
            least, most, inner = value
            if most > 1000:
                yield from ((before, text) for text in samples(inner) if text)
            yield from attacks(inner, before)
            before += samples(inner)[0] * least
        elif kind is sre.SUBPATTERN:
            yield from attacks(value[3], before)
            before += samples(value[3])[0]
        elif kind is sre.ATOMIC_GROUP:
            yield from attacks(value, before)
            before += samples(value)[0]
        elif kind is sre.BRANCH:
            for branch in value[1]:
                yield from attacks(branch, before)
            before += samples(value[1][0])[0]
        else:
            before += samples([(kind, value)])[0]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", REGEXES)
def test_no_regex_goes_back_over_what_it_has_read(name: str) -> None:
    regex, methods = REGEXES[name]
    assert methods, "the module uses it in a way that this test does not see"
    for before, text in dict.fromkeys(attacks(parser.parse(regex.pattern, regex.flags))):
        for behind in ("\x01", "\r", "\nx"):
            attack: Any = before + text * (LENGTH // len(text)) + behind
            if isinstance(regex.pattern, bytes):
                attack = attack.encode("latin-1")
            for method in methods & {"match", "fullmatch", "search"}:
                getattr(regex, method)(attack)
            if methods & ONCE_AT_EACH_PLACE:
                regex.findall(attack)
                # Each of these may begin a match.
                regex.findall((attack[: len(before + text)] + attack[-1:]) * (LENGTH // len(before + text)))
                regex.findall(attack[: len(before + text)] * (LENGTH // len(before + text)))


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", [b"Content-Length", b"Transfer-Encoding"])
def test_blanks_before_or_behind_a_framing_header_take_linear_time(name: bytes) -> None:
    for value in (b"1" + b" " * LENGTH + b"x", b" " * LENGTH + b"x", b"1" + b"\t" * LENGTH):
        framing_of(b"POST / HTTP/1.1\r\nHost: h\r\n" + name + b":" + value + b"\r\n\r\n")
        head = b"HTTP/1.1 200 OK\r\n" + name + b":" + value[: 32 * 1024 - len(name) - 4] + b"\r\n\r\n"
        is_unambiguous(head, chunked=True)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("text", ["eyJ", "eyJ-", "eyJaaaa.", "bearer ", "bearer,", "access_token=&"])
def test_what_looks_like_tokens_is_hidden_in_linear_time(text: str) -> None:
    without_tokens(text * (LENGTH // len(text)))
