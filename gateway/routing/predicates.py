"""Predicates: whether a route wants a request. Values in, a truth value out.

Names, arguments and meaning are Spring Cloud Gateway's; ``docs/routes.md`` shows each. Deliberate
differences: Host regards no case, and the addresses are the ones ``TRUSTED_PROXIES`` vouches for
(``XForwardedRemoteAddr`` reads no header of its own).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Protocol

from gateway.errors import BadRequest
from gateway.routing.arguments import Arg, Arguments, Kind
from gateway.routing.calls import METHODS
from gateway.routing.facts import RequestFacts
from gateway.routing.faults import unknown
from gateway.routing.hosts import compile_host, fixed_end, fixed_start, is_literal
from gateway.routing.javaregex import compile_java
from gateway.routing.matcher import Regex
from gateway.routing.patterns import PathPattern, compile_pattern
from gateway.routing.value_types import FLAG

# Everything up to a comma, of which quotes at the beginning hold none.
_QUOTED_MEMBER = re.compile(r'(?:\s*"(?:[^"\\]|\\.)*+"?)?[^,]*')
_ESCAPED = re.compile(r"\\(.)")
_LONGEST_HOST: Final = 300
_MOST_QUOTED_MEMBERS: Final = 2000
_PORT = re.compile(r":[^:\]]*\Z")
_COOKIE_VALUE = re.compile(r"[^\s\",;\\]*")


class Predicate(Protocol):
    """One condition of a route. ``str()`` of it is Spring's text for ``/actuator/gateway/routes``."""

    @property
    def always_captures(self) -> frozenset[str]:
        """The variables it adds whenever it holds."""
        ...

    def holds(self, facts: RequestFacts, found: dict[str, str]) -> bool:
        """Whether it holds; captured variables are added to ``found``."""
        ...


class CapturesNothing:
    """What predicates without variables share."""

    __slots__ = ()

    @property
    def always_captures(self) -> frozenset[str]:
        return frozenset()


@dataclass(frozen=True, slots=True)
class Path:
    """The canonical path matches one of the patterns; the first that does gives the variables."""

    patterns: tuple[PathPattern, ...]
    # Spring accepts it and shows it, and it changes nothing there either.
    match_trailing_slash: bool = True

    @property
    def always_captures(self) -> frozenset[str]:
        return frozenset.intersection(*(frozenset(pattern.variables) for pattern in self.patterns))

    def holds(self, facts: RequestFacts, found: dict[str, str]) -> bool:
        path = facts.target.path
        for pattern in self.patterns:
            variables = pattern.match(path)
            if variables is not None:
                if variables:
                    found.update(variables)
                return True
        return False

    def __str__(self) -> str:
        sources = ", ".join(pattern.source for pattern in self.patterns)
        return f"Paths: [{sources}], match trailing slash: {str(self.match_trailing_slash).lower()}"


@dataclass(frozen=True, slots=True)
class Method(CapturesNothing):
    """The method is one of these, in upper case; GET does not include HEAD."""

    methods: tuple[str, ...]

    def holds(self, facts: RequestFacts, found: dict[str, str]) -> bool:
        return facts.method in self.methods

    def __str__(self) -> str:
        return f"Methods: [{', '.join(self.methods)}]"


@dataclass(frozen=True, slots=True)
class Host:
    """The Host header, ``with_port`` or without, matches one of the Ant patterns with ``.`` between labels.

    ``literals`` are the hosts, in small letters, if no pattern has a wildcard; else it is empty.
    """

    patterns: tuple[str, ...]
    regexes: tuple[Regex, ...] = field(repr=False)
    names: tuple[tuple[str, ...], ...] = field(repr=False)
    with_port: bool = True
    literals: frozenset[str] = field(init=False, repr=False, compare=False)
    _ends: tuple[tuple[str, str], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        hosts = frozenset(map(str.lower, self.patterns))
        object.__setattr__(self, "literals", hosts if all(map(is_literal, self.patterns)) else frozenset())
        object.__setattr__(
            self, "_ends", tuple((fixed_start(each), fixed_end(each)) for each in self.patterns)
        )

    @property
    def always_captures(self) -> frozenset[str]:
        return frozenset.intersection(*(frozenset(names) for names in self.names))

    def asked(self, facts: RequestFacts) -> str:
        """The host that is compared. Empty if it is none of the hosts, also where a variable may be empty: there is no
        Host, or it is longer than a name can be, which is 253 characters."""
        host = facts.host if self.with_port else _PORT.sub("", facts.host)
        return host if len(host) <= _LONGEST_HOST else ""

    def holds(self, facts: RequestFacts, found: dict[str, str]) -> bool:
        host = self.asked(facts)
        if not host:
            return False
        lowered = host.lower()
        if self.literals and lowered.isascii():
            return lowered in self.literals
        for regex, names, (start, end) in zip(self.regexes, self.names, self._ends, strict=True):
            # A regex takes ten times as long to say no.
            if lowered.isascii() and not (lowered.startswith(start) and f".{lowered}".endswith(end)):
                continue
            match = regex.fullmatch(f".{host}")
            if match is not None:
                found.update(zip(names, match.groups(), strict=True))
                return True
        return False

    def __str__(self) -> str:
        return f"Hosts: [{', '.join(self.patterns)}]"


@dataclass(frozen=True, slots=True)
class Header(CapturesNothing):
    """Some member of the header's list is as the regex says, or there is one if there is no regex."""

    header: str
    regexp: Regex | None
    source: str

    def members(self, facts: RequestFacts) -> list[str]:
        """The members of the list; raises BadRequest for too many."""
        return _members(tuple(facts.headers.getall(self.header, ())))

    def holds(self, facts: RequestFacts, found: dict[str, str]) -> bool:
        members = self.members(facts)
        if self.regexp is None:
            return bool(members)
        return any(self.regexp.matches(member) for member in members)

    def __str__(self) -> str:
        return f"Header: {self.header} regexp={self.source or 'null'}"


# Read once for all the routes that ask about the same header. Only the last few are kept.
@lru_cache(maxsize=16)
def _members(values: tuple[str, ...]) -> list[str]:
    return list_members(values)


def list_members(values: Iterable[str]) -> list[str]:
    """The members of a header that is a list, as Spring reads it: divided at commas outside quotes, without blanks
    around them and without the quotes around a whole member. Empty ones count as absent.

    Raises BadRequest for thousands of members with quotes among them, which take long to tell apart.
    """
    members: list[str] = []
    quoted = 0
    for value in values:
        if '"' in value:
            quoted += value.count(",")
            if quoted > _MOST_QUOTED_MEMBERS:
                raise BadRequest("a header that a route looks at has too many members")
            members += map(_unquoted, _QUOTED_MEMBER.findall(value))
        else:
            members += value.split(",")
    return [member for text in members if (member := text.strip())]


def _unquoted(member: str) -> str:
    text = member.strip()
    return _ESCAPED.sub(r"\1", text[1:-1]) if len(text) > 1 and text[0] == text[-1] == '"' else text


@dataclass(frozen=True, slots=True)
class Query(CapturesNothing):
    """The query has the parameter, and if there is a regex, with a value that is as it says.

    A malformed query is neither a match nor a miss: ``holds`` raises BadRequest.
    """

    param: str
    regexp: Regex | None
    source: str

    def holds(self, facts: RequestFacts, found: dict[str, str]) -> bool:
        values = facts.parameters().get(self.param)
        if values is None or self.regexp is None:
            return values is not None
        return any(map(self.regexp.matches, values))

    def __str__(self) -> str:
        return f"Query: param={self.param} regexp={self.source or 'null'}"


# Read once for all the routes that ask. Only the last is kept.
@lru_cache(maxsize=1)
def _cookies(headers: tuple[str, ...]) -> Mapping[str, list[str]]:
    """The values of each cookie, without quotes around them."""
    found: dict[str, list[str]] = {}
    for header in headers:
        for part in header.split(";"):
            name, equals, value = part.strip().partition("=")
            value = value.strip().strip('"')
            if equals and _COOKIE_VALUE.fullmatch(value):
                found.setdefault(name, []).append(value)
    return found


@dataclass(frozen=True, slots=True)
class Cookie(CapturesNothing):
    """The request has the cookie with a value that is as the regex says."""

    name: str
    regexp: Regex
    source: str

    def holds(self, facts: RequestFacts, found: dict[str, str]) -> bool:
        values = _cookies(tuple(facts.headers.getall("Cookie", ()))).get(self.name, ())
        return any(map(self.regexp.matches, values))

    def __str__(self) -> str:
        return f"Cookie: name={self.name} regexp={self.source}"


def _path(args: Arguments) -> Predicate:
    patterns = tuple(compile_pattern(text) for text in args.texts("patterns"))
    for pattern in patterns:
        for warning in pattern.warnings:
            args.warn("regex", warning)
    return Path(patterns, args.flag("matchTrailingSlash", True))


def _method(args: Arguments) -> Predicate:
    for method in args.texts("methods"):
        if method not in METHODS:
            raise args.wrong(unknown("method", method, METHODS))
    return Method(args.texts("methods"))


def _host(args: Arguments) -> Predicate:
    patterns = args.texts("patterns")
    compiled = [compile_host(pattern) for pattern in patterns]
    for regex, _ in compiled:
        args.told(regex)
    return Host(
        patterns,
        tuple(regex for regex, _ in compiled),
        tuple(names for _, names in compiled),
        args.defaults.host_has_port,
    )


def _regex(args: Arguments, name: str = "regexp") -> Regex | None:
    return args.told(compile_java(args.text(name))) if args.has(name) else None


def _header(args: Arguments) -> Predicate:
    return Header(args.text("header"), _regex(args), args.text("regexp"))


def _query(args: Arguments) -> Predicate:
    return Query(args.text("param"), _regex(args), args.text("regexp"))


def _cookie(args: Arguments) -> Predicate:
    return Cookie(args.text("name"), args.told(compile_java(args.text("regexp"))), args.text("regexp"))


KINDS: Final[Mapping[str, Kind[Predicate]]] = {
    kind.name: kind
    for kind in (
        Kind(
            "Path",
            (
                Arg("patterns", gathers=True, also=("pattern",)),
                Arg("matchTrailingSlash", required=False, of=FLAG),
            ),
            _path,
            "The path matches one of the patterns: ?, *, **, {name}, {name:regex}, {*name}.",
        ),
        Kind(
            "Method",
            (Arg("methods", gathers=True, also=("method",)),),
            _method,
            "The method is one of these, in capitals.",
        ),
        Kind(
            "Host",
            (Arg("patterns", gathers=True, also=("pattern",)),),
            _host,
            "The Host header matches one of the patterns: *, **, {name}.",
        ),
        Kind(
            "Header",
            (Arg("header"), Arg("regexp", required=False)),
            _header,
            "Some value of the header matches the regex; without one the header is there.",
        ),
        Kind(
            "Query",
            (Arg("param"), Arg("regexp", required=False)),
            _query,
            "Some value of the parameter matches the regex; without one the parameter is there.",
        ),
        Kind(
            "Cookie",
            (Arg("name"), Arg("regexp")),
            _cookie,
            "The cookie is there with a value that matches the regex.",
        ),
    )
}
