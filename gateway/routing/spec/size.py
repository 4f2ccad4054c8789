"""Warns about tables so large that comparing a valid request with their rules exceeds the time limit.

To be sure, sample requests that the rules are made for are matched with the table itself. They have blanks in place of
wildcards, because paths with blanks are compared in several readings, and the time must be enough for these too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Final, TypeVar
from urllib.parse import quote

from multidict import CIMultiDict

from gateway.errors import BadRequest
from gateway.routing.attributes import RequestAttributes
from gateway.routing.calls import CallPattern
from gateway.routing.path import MAX_TARGET, Target
from gateway.routing.patterns import PathPattern, compile_pattern, without_variables
from gateway.routing.predicates import Cookie, Header, Method, Path, Query
from gateway.routing.route import Route
from gateway.routing.spec.issues import Issues
from gateway.routing.table import RouteTable

_MIN_RULES: Final = 50
"""Up to this many rules of a kind never take too long. A single regex may; it has its own warning."""
_SAMPLES: Final = 12
_MAX_NAMED: Final = 50
_VALUE: Final = "a b"

T = TypeVar("T")


def warn_of_size(table: RouteTable, lines: Mapping[CallPattern, int], issues: Issues) -> None:
    """Warn once about each kind of rules that a sample request takes too long to be compared with."""
    told: set[str] = set()
    headers, query = _named(table.routes)
    for line, method, pattern in _samples(table, lines):
        path = _path(pattern)
        if len(path) > MAX_TARGET:
            continue
        request = RequestAttributes(
            method, Target(path, quote(path), query, bool(query)), headers, "", "a", "http"
        )
        try:
            # Filters change most paths, and gates are matched with both paths.
            found = table.too_many(request, f"{path}/a")
        except BadRequest:
            continue
        for what in found:
            if what not in told:
                told.add(what)
                fate = "not open" if what == "open calls" else "answered with 400"
                message = (
                    f"it takes longer than allowed to compare a call such as '{method} {path}' with all {what}, so "
                    f"that such calls are {fate}: begin paths with different fixed texts, give hosts and "
                    "values of headers without wildcards, or have fewer"
                )
                issues.warn(line, "too-many", message)


def _named(routes: Iterable[Route]) -> tuple[CIMultiDict[str], str]:
    """Headers and a query with everything that predicates compare, with a value that few predicates match."""
    headers: CIMultiDict[str] = CIMultiDict()
    cookies: dict[str, None] = {}
    parameters: dict[str, None] = {}
    for predicate in chain.from_iterable(route.predicates for route in routes):
        if isinstance(predicate, Header) and len(headers) < _MAX_NAMED:
            headers[predicate.header] = _VALUE
        elif isinstance(predicate, Cookie) and len(cookies) < _MAX_NAMED:
            cookies[predicate.name] = None
        elif isinstance(predicate, Query) and len(parameters) < _MAX_NAMED:
            parameters[predicate.param] = None
    if cookies:
        headers["Cookie"] = "; ".join(f"{name}=a" for name in cookies)
    return headers, "&".join(f"{quote(name)}=a" for name in parameters)


def _samples(table: RouteTable, lines: Mapping[CallPattern, int]) -> Iterator[tuple[int, str, PathPattern]]:
    """Lines, methods and paths of rules spread over the table. Kinds with few rules are left out."""
    for route in _spread(table.routes):
        yield max(route.line, 0), _method(route), _pattern(route)
    gated = [call for gate in table.gates for call in (*gate.calls, *gate.renews)]
    for call in chain(_spread(gated), _spread(table.public)):
        yield lines.get(call, 1), call.method or "POST", call.pattern
    for source in _spread(tuple(table.cors)):
        yield 1, "GET", compile_pattern(source)


def _spread(rules: Sequence[T]) -> Sequence[T]:
    """Some of the rules, including the last one, if there are many; none if there are few."""
    return rules[:: -max(1, len(rules) // _SAMPLES)] if len(rules) > _MIN_RULES else ()


def _method(route: Route) -> str:
    return next((each.methods[0] for each in route.predicates if isinstance(each, Method)), "GET")


def _pattern(route: Route) -> PathPattern:
    paths = (each.patterns[-1] for each in route.predicates if isinstance(each, Path))
    return next(paths, compile_pattern("/**"))


def _path(pattern: PathPattern) -> str:
    """A path that the pattern matches, unless its variables have regexes."""
    texts = [
        segment.literal
        if segment.literal is not None
        else without_variables(segment.text, _VALUE).replace("*", _VALUE).replace("?", "a")
        for segment in pattern.segments
    ]
    head, tail = [_VALUE] * (pattern.head is not None), [_VALUE] * (pattern.tail is not None)
    return "/" + "/".join((*head, *texts, *tail))
