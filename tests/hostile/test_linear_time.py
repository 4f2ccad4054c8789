"""No input makes a regex, or a function over bytes of a client or a service, take quadratic time.

The inputs are so long that quadratic time would be minutes: pytest's timeout would end the test.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import gateway
from gateway.observability.logging import without_tokens
from gateway.proxy.strict_parsing import is_unambiguous
from gateway.server.framing import framing_of

LENGTH = 50_000
PACKAGES = ("api", "auth", "fast_path", "middleware", "observability", "proxy", "server", "sse")
MODULES = ("gateway.query", "gateway.routing.cors", "gateway.routing.path", "gateway.routing.path_readings")
# How a method tries a pattern: at each position, or at the first one only.
ANYWHERE = {"search", "findall", "finditer", "sub", "subn", "split"}
AT_START = {"match", "fullmatch"}

BEGINNINGS = ("", "\nContent-Length:", "\ntransfer-encoding:", "http://", "bearer ", "0", "a", '"', "/", "0;")
REPEATED = (
    " ",
    "\t",
    "a",
    "0",
    "eyJ",
    "a.",
    "-",
    ",",
    ";",
    "a=",
    '"',
    "%",
    "/",
    "{",
    "0x",
    ":",
    "[",
    "\\",
    "=;",
    "é",
)
ENDS = ("", "x", "\x01", "\n")


def modules() -> Iterator[str]:
    for package in PACKAGES:
        for found in pkgutil.walk_packages([f"{gateway.__path__[0]}/{package}"], f"gateway.{package}."):
            if not found.ispkg:
                yield found.name
    yield from MODULES


def uses(name: str) -> dict[str, set[str]]:
    """The patterns of a module by their names, and the methods by which it uses them."""
    found: dict[str, set[str]] = {}
    source = importlib.import_module(name).__file__
    assert source
    for node in ast.walk(ast.parse(Path(source).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found.setdefault(node.value.id, set()).add(node.attr)
    return found


def patterns() -> Iterator[Any]:
    for name in modules():
        for variable, methods in uses(name).items():
            pattern = getattr(importlib.import_module(name), variable, None)
            if isinstance(pattern, re.Pattern):
                for method in sorted(methods & (ANYWHERE | AT_START)):
                    yield pytest.param(pattern, method, id=f"{name}.{variable}.{method}")


@pytest.mark.parametrize(("pattern", "method"), list(patterns()))
def test_no_input_makes_a_regex_take_quadratic_time(pattern: re.Pattern[Any], method: str) -> None:
    ask = getattr(pattern, "search" if method in ANYWHERE else method)
    for begin in BEGINNINGS:
        for part in REPEATED:
            text = begin + part * (LENGTH // len(part))
            for end in ENDS:
                ask(text + end if isinstance(pattern.pattern, str) else (text + end).encode())


@pytest.mark.parametrize(
    ("function", "data"),
    [
        (framing_of, b"GET / HTTP/1.1\r\nContent-Length: 1%bx\r\n\r\n" % (b" " * LENGTH)),
        (framing_of, b"GET / HTTP/1.1\r\nTransfer-Encoding: %bx\r\n\r\n" % (b"\t" * LENGTH)),
        (
            lambda head: is_unambiguous(head, chunked=True),
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding:%bchunked\r\n\r\n" % (b"\t" * 30_000),
        ),
        (without_tokens, "eyJ" * LENGTH),
        (without_tokens, "eyJa" * LENGTH + ".."),
        (without_tokens, "eyJabcd." * LENGTH),
    ],
)
def test_no_input_makes_a_function_take_quadratic_time(
    function: Callable[[Any], object], data: object
) -> None:
    function(data)
