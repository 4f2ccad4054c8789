"""Predicates: they decide whether a route takes a request. Pure."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, Protocol

from gateway.errors import BadRequest
from gateway.routing.attributes import RequestAttributes
from gateway.routing.calls import METHODS
from gateway.routing.hosts import compile_host, fixed_end, fixed_start, is_literal
from gateway.routing.java_regex import compile_java
from gateway.routing.matcher import Regex
from gateway.routing.patterns import PathPattern, compile_pattern
from gateway.routing.spec.arguments import Arg, Arguments, Factory
from gateway.routing.spec.issues import unknown
from gateway.routing.spec.value_types import FLAG, whole

# Everything up to a comma. A comma inside quotes at the beginning does not count.
_QUOTED_MEMBER = re.compile(r'(?:\s*"(?:[^"\\]++|\\.)*+"?)?[^,]*')
_ESCAPED = re.compile(r"\\(.)")
_MAX_HOST_LENGTH: Final = 300
_MAX_QUOTED_MEMBERS: Final = 2000
_PORT = re.compile(r":[^:\]]*\Z")
_COOKIE_VALUE = re.compile(r"[^\s\",;\\]*")


class Predicate(Protocol):
    """One condition of a route. ``str()`` of it is Spring's text for ``/actuator/gateway/routes``."""

    @property
    def always_captures(self) -> frozenset[str]:
        """The variables that the predicate captures whenever it holds."""
        ...

    def holds(self, request: RequestAttributes, found: dict[str, str]) -> bool:
        """Whether the predicate holds. Captured variables are added to ``found``."""
        ...


class CapturesNothing:
    """Base class of the predicates that capture no variables."""

    __slots__ = ()

    @property
    def always_captures(self) -> frozenset[str]:
        return frozenset()


@dataclass(frozen=True, slots=True)
class Path:
    """The canonical path matches one of the patterns. The first matching pattern captures the variables."""

    patterns: tuple[PathPattern, ...]
    # Has no effect here or in Spring, which accepts and shows it.
    match_trailing_slash: bool = True

    @property
    def always_captures(self) -> frozenset[str]:
        return frozenset.intersection(*(frozenset(pattern.variables) for pattern in self.patterns))

    def holds(self, request: RequestAttributes, found: dict[str, str]) -> bool:
        path = request.target.path
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
    """The method is one of these, which are in upper case. GET does not include HEAD."""

    methods: tuple[str, ...]

    def holds(self, request: RequestAttributes, found: dict[str, str]) -> bool:
        return request.method in self.methods

    def __str__(self) -> str:
        return f"Methods: [{', '.join(self.methods)}]"


@dataclass(frozen=True, slots=True)
class Host:
    """The Host header matches one of the Ant patterns, whose labels are separated by ``.``.

    ``with_port``: the port is compared too. ``literals`` are the hosts in lower case if no pattern has a wildcard;
    otherwise it is empty.
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

    def requested_host(self, request: RequestAttributes) -> str:
        """The host to compare. Empty if there is no Host, or one longer than 253 characters, the longest possible name.
        An empty host never matches, even if a variable may be empty."""
        host = request.host if self.with_port else _PORT.sub("", request.host)
        return host if len(host) <= _MAX_HOST_LENGTH else ""

    def holds(self, request: RequestAttributes, found: dict[str, str]) -> bool:
        host = self.requested_host(request)
        if not host:
            return False
        lowered = host.lower()
        if self.literals and lowered.isascii():
            return lowered in self.literals
        for regex, names, (start, end) in zip(self.regexes, self.names, self._ends, strict=True):
            # These comparisons first, because a regex takes ten times as long to fail.
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
    """A member of the header's list matches the regex. Without a regex, the list has a member."""

    header: str
    regexp: Regex | None
    source: str

    def members(self, request: RequestAttributes) -> list[str]:
        """The members of the list. Raises BadRequest if there are too many."""
        return _members(tuple(request.headers.getall(self.header, ())))

    def holds(self, request: RequestAttributes, found: dict[str, str]) -> bool:
        members = self.members(request)
        if self.regexp is None:
            return bool(members)
        return any(self.regexp.matches(member) for member in members)

    def __str__(self) -> str:
        return f"Header: {self.header} regexp={self.source or 'null'}"


# Cached, because many routes may read the same header of a request.
@lru_cache(maxsize=16)
def _members(values: tuple[str, ...]) -> list[str]:
    return list_members(values)


def list_members(values: Iterable[str]) -> list[str]:
    """The members of a list header, as Spring reads it: split at commas outside quotes, without the blanks around a
    member and the quotes around a whole member. Empty members are left out.

    Raises BadRequest for thousands of members or backslashes with quotes among them, because reading these takes long.
    """
    members: list[str] = []
    quoted = 0
    for value in values:
        if '"' in value:
            quoted += value.count(",") + value.count("\\")
            if quoted > _MAX_QUOTED_MEMBERS:
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
    """The query has the parameter. With a regex, one of the parameter's values matches it.

    ``holds`` raises BadRequest if the query is malformed.
    """

    param: str
    regexp: Regex | None
    source: str

    def holds(self, request: RequestAttributes, found: dict[str, str]) -> bool:
        values = request.parameters().get(self.param)
        if values is None or self.regexp is None:
            return values is not None
        return any(map(self.regexp.matches, values))

    def __str__(self) -> str:
        return f"Query: param={self.param} regexp={self.source or 'null'}"


# Cached, because many routes may read the cookies of the same request.
@lru_cache(maxsize=1)
def _cookies(headers: tuple[str, ...]) -> Mapping[str, list[str]]:
    """The values of each cookie, without the quotes around them."""
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
    """The request has the cookie with a value that matches the regex."""

    name: str
    regexp: Regex
    source: str

    def holds(self, request: RequestAttributes, found: dict[str, str]) -> bool:
        values = _cookies(tuple(request.headers.getall("Cookie", ()))).get(self.name, ())
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
        args.with_warning(regex)
    return Host(
        patterns,
        tuple(regex for regex, _ in compiled),
        tuple(names for _, names in compiled),
        args.defaults.host_has_port,
    )


def _regex(args: Arguments, name: str = "regexp") -> Regex | None:
    return args.with_warning(compile_java(args.text(name))) if args.has(name) else None


def _header(args: Arguments) -> Predicate:
    return Header(args.text("header"), _regex(args), args.text("regexp"))


def _query(args: Arguments) -> Predicate:
    return Query(args.text("param"), _regex(args), args.text("regexp"))


def _cookie(args: Arguments) -> Predicate:
    return Cookie(
        args.text("name"), args.with_warning(compile_java(args.text("regexp"))), args.text("regexp")
    )


_REQUEST_FACTORIES: Final[Mapping[str, Factory[Predicate]]] = {
    kind.name: kind
    for kind in (
        Factory(
            "Path",
            (
                Arg("patterns", gathers=True, also=("pattern",)),
                Arg("matchTrailingSlash", required=False, of=FLAG),
            ),
            _path,
            "The path matches one of the patterns: ?, *, **, {name}, {name:regex}, {*name}.",
        ),
        Factory(
            "Method",
            (Arg("methods", gathers=True, also=("method",)),),
            _method,
            "The method is one of these, in capitals.",
        ),
        Factory(
            "Host",
            (Arg("patterns", gathers=True, also=("pattern",)),),
            _host,
            "The Host header matches one of the patterns: *, **, {name}.",
        ),
        Factory(
            "Header",
            (Arg("header"), Arg("regexp", required=False)),
            _header,
            "Some value of the header matches the regex; without one the header is there.",
        ),
        Factory(
            "Query",
            (Arg("param"), Arg("regexp", required=False)),
            _query,
            "Some value of the parameter matches the regex; without one the parameter is there.",
        ),
        Factory(
            "Cookie",
            (Arg("name"), Arg("regexp")),
            _cookie,
            "The cookie is there with a value that matches the regex.",
        ),
    )
}


_LOCALHOST: Final = ("127.0.0.1/32", "::1/128")


@dataclass(frozen=True, slots=True)
class RemoteAddr(CapturesNothing):
    """The client's address, behind all trusted proxies, is in one of the networks."""

    sources: tuple[str, ...]
    networks: tuple[IPv4Network | IPv6Network, ...] = field(repr=False)
    name: str = "RemoteAddrs"

    def holds(self, request: RequestAttributes, found: dict[str, str]) -> bool:
        address = _address(request.client)
        return address is not None and any(address in network for network in self.networks)

    def __str__(self) -> str:
        return f"{self.name}: [{', '.join(self.sources)}]"


@lru_cache(maxsize=1024)
def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


@dataclass(frozen=True, slots=True)
class Between(CapturesNothing):
    """The time is at or after ``start`` and before ``end`` (epoch seconds; None: no limit)."""

    start: float | None
    end: float | None
    shown: str

    def holds(self, request: RequestAttributes, found: dict[str, str]) -> bool:
        now = time.time()
        return (self.start is None or now > self.start) and (self.end is None or now < self.end)

    def __str__(self) -> str:
        return self.shown


@dataclass(frozen=True, slots=True)
class Weight(CapturesNothing):
    """One route of the group is drawn per request, in proportion to the weights.

    The route table draws before it checks any predicate, so this one always holds.
    """

    group: str
    weight: int

    def holds(self, request: RequestAttributes, found: dict[str, str]) -> bool:
        return True

    def __str__(self) -> str:
        return f"Weight: {self.group} {self.weight}"


def _networks(args: Arguments) -> tuple[IPv4Network | IPv6Network, ...]:
    networks: list[IPv4Network | IPv6Network] = []
    for source in args.texts("sources"):
        for text in _LOCALHOST if source == "localhost" else (source,):
            mapped = re.fullmatch(r"::ffff:(\d+\.\d+\.\d+\.\d+)", text, re.IGNORECASE)
            try:
                networks.append(ip_network(mapped[1] if mapped else text, strict=False))
            except ValueError:
                raise args.wrong(f"{source!r} is no address or network such as 10.0.0.0/8") from None
    return tuple(networks)


def _remote(args: Arguments) -> Predicate:
    return RemoteAddr(args.texts("sources"), _networks(args))


def _forwarded(args: Arguments) -> Predicate:
    if args.has("maxTrustedIndex"):
        raise args.wrong("maxTrustedIndex means nothing here; the setting TRUSTED_PROXIES says whom to trust")
    return RemoteAddr(args.texts("sources"), _networks(args), "XForwardedRemoteAddrs")


def _instant(args: Arguments, name: str) -> float:
    """Epoch seconds, read from epoch milliseconds or from ISO 8601 with an offset, also with Java's ``[Zone/Id]``."""
    text = args.text(name)
    if re.fullmatch(r"-?\d{1,15}", text):
        return int(text) / 1000
    bare = re.sub(r"\[[\w/+-]+\]$", "", text)
    try:
        moment = datetime.fromisoformat(bare)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise args.wrong(f"{name} must be a time such as 2026-03-01T20:00:00+09:00, not {text!r}")
    return moment.timestamp()


def _after(args: Arguments) -> Predicate:
    return Between(_instant(args, "datetime"), None, f"After: {args.text('datetime')}")


def _before(args: Arguments) -> Predicate:
    return Between(None, _instant(args, "datetime"), f"Before: {args.text('datetime')}")


def _between(args: Arguments) -> Predicate:
    start, end = _instant(args, "datetime1"), _instant(args, "datetime2")
    if start >= end:
        raise args.wrong("datetime1 must be before datetime2")
    return Between(start, end, f"Between: {args.text('datetime1')} and {args.text('datetime2')}")


def _weight(args: Arguments) -> Predicate:
    return Weight(args.text("weight.group"), args.integer("weight.weight", 0))


_OTHER_FACTORIES: Final[Mapping[str, Factory[Predicate]]] = {
    kind.name: kind
    for kind in (
        Factory(
            "RemoteAddr",
            (Arg("sources", gathers=True, also=("source",)),),
            _remote,
            "The client's address is in one of the networks.",
        ),
        Factory(
            "XForwardedRemoteAddr",
            (Arg("sources", gathers=True, also=("source",)), Arg("maxTrustedIndex", required=False)),
            _forwarded,
            "The same as RemoteAddr, which looks through X-Forwarded-For as far as TRUSTED_PROXIES go.",
        ),
        Factory(
            "After", (Arg("datetime"),), _after, "The request comes after this time, ISO 8601 with an offset."
        ),
        Factory(
            "Before",
            (Arg("datetime"),),
            _before,
            "The request comes before this time, ISO 8601 with an offset.",
        ),
        Factory(
            "Between",
            (Arg("datetime1"), Arg("datetime2")),
            _between,
            "The request comes between these two times, ISO 8601 with an offset.",
        ),
        Factory(
            "Weight",
            (Arg("weight.group"), Arg("weight.weight", of=whole(0))),
            _weight,
            "Of each group one route is drawn for a request, in proportion to the shares.",
        ),
    )
}

FACTORIES: Final[Mapping[str, Factory[Predicate]]] = {**_REQUEST_FACTORIES, **_OTHER_FACTORIES}
"""All predicates by name."""
