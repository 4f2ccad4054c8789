"""One route: its upstream (``lb://service`` or ``http://host:port``), and the choice among weighted routes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from gateway.routing.cors import CorsRule
from gateway.routing.filters.base import Filter
from gateway.routing.predicates import Path, Predicate, Query, Weight
from gateway.routing.prefix_index import literal_beginning
from gateway.routing.spec.issues import RuleViolation, nearest
from gateway.service_tls import ServiceTls
from gateway.settings.host_names import can_be_resolved

_SCHEMES: Final = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
_SERVICE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,126}[A-Za-z0-9])?")
_USER = re.compile(r"(?<=//).*@")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where a route leads. ``uri`` is as written. ``service`` is the lower-case name behind ``lb://``. For a fixed
    address it is None, and ``host`` and ``port`` are the address. ``scheme`` is ``http`` or ``https``.
    """

    uri: str
    scheme: str
    service: str | None
    host: str
    port: int


_NO_SCHEMES: Final = {
    "forward": "forward: is known from Spring Cloud Gateway, but not supported here, because the gateway has no pages "
    "that a route could lead to",
    "sticky": "sticky: is known from Spring Cloud Gateway, but not supported here, because the gateway keeps no "
    "sessions that could remember an instance",
}
NOWHERE: Final = "no"
"""Spring's idiom ``no://op`` for a route that never reaches a service, because a filter answers."""


def parse_uri(uri: str) -> Upstream:
    """Parse a route's ``uri``. Raises RuleViolation (rule ``uri``).

    As in Spring, a path or query behind the address has no effect. Filters set path and query.
    """
    if not uri:
        raise RuleViolation("uri", "uri is missing; write lb://service or http://host:port")
    scheme, colon, rest = uri.partition(":")
    scheme = scheme.lower()
    if scheme == NOWHERE and colon:
        return Upstream(uri, NOWHERE, None, "", 0)
    if scheme == "lb" and colon:
        return _parse_lb(uri, rest)
    if scheme not in _SCHEMES or not rest.startswith("//"):
        near = f"a scheme a route can have{nearest(scheme, ['lb', *_SCHEMES])}"
        what = _NO_SCHEMES.get(scheme, f"{scheme}: is not {near}")
        raise RuleViolation(
            "uri", f"{_quoted(uri)}: {what if colon else 'the scheme is missing'}; write lb:// or http(s)://"
        )
    host, port = _address(uri, rest, 443 if _SCHEMES[scheme] == "https" else 80)
    return Upstream(uri, _SCHEMES[scheme], None, host, port)


def _parse_lb(uri: str, rest: str) -> Upstream:
    """Parse ``lb://service``, or ``lb:https://service`` with the scheme for calls to its instances."""
    scheme, _, name = rest.rpartition("//")
    scheme = scheme.rstrip(":").lower() or "http"
    name = name.partition("/")[0]
    if "//" not in rest or scheme not in _SCHEMES or _SERVICE.fullmatch(name) is None:
        raise RuleViolation("uri", f"{_quoted(uri)}: lb:// must be followed by a service's name")
    return Upstream(uri, _SCHEMES[scheme], name.lower(), "", 0)


def _address(uri: str, rest: str, default_port: int) -> tuple[str, int]:
    try:
        parts = urlsplit(rest)
        host, port = parts.hostname or "", parts.port or default_port
    except ValueError:
        host, port, parts = "", 0, urlsplit("")
    if _HOST.fullmatch(host) is None or not can_be_resolved(host) or "@" in parts.netloc:
        raise RuleViolation("uri", f"{_quoted(uri)} has no valid host and port")
    return host, port


def _quoted(uri: str) -> str:
    """``uri`` for a fault's text, without the user, which may come with a password."""
    return repr(_USER.sub("", uri))


def parse_instance(url: str) -> str:
    """Check one instance of a service and return it as ``scheme://host:port``. Raises RuleViolation (``service``)."""
    scheme, _, rest = url.partition("://")
    try:
        upstream = parse_uri(url)
    except RuleViolation as error:
        raise RuleViolation("service", error.message) from None
    tail = urlsplit("//" + rest)
    if scheme.lower() not in ("http", "https") or tail.path not in ("", "/") or tail.query or tail.fragment:
        raise RuleViolation("service", f"{url!r}: an instance is http(s)://host:port and nothing more")
    host = f"[{upstream.host}]" if ":" in upstream.host else upstream.host
    return f"{upstream.scheme}://{host}:{upstream.port}"


@dataclass(frozen=True, slots=True)
class Route:
    """One route as loaded. ``filters`` include the default filters, in the order in which they run, and
    ``filter_orders`` are the numbers by which Spring sorts them.

    ``metadata`` is the file's, in plain Python values. The timeouts come from it, in seconds. None: the settings' value
    applies; infinity: no timeout. ``tls``, from there too, is how ``https://`` instances are called; None: as the
    system's certificates say. ``line`` is the route's line in its file. ``ordered_predicates`` are the predicates
    in the order in which they are checked. Those that need the query come last, so that a malformed query is an error
    only for calls that the route would take.
    """

    id: str
    upstream: Upstream
    predicates: tuple[Predicate, ...]
    filters: tuple[Filter, ...] = ()
    filter_orders: tuple[int, ...] = ()
    order: int = 0
    metadata: Mapping[str, object] = field(default_factory=dict)
    cors: CorsRule | None = None
    allow_actuator: bool = False
    response_timeout: float | None = None
    connect_timeout: float | None = None
    tls: ServiceTls | None = None
    line: int = 0
    ordered_predicates: tuple[Predicate, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        ordered_predicates = sorted(self.predicates, key=lambda predicate: isinstance(predicate, Query))
        object.__setattr__(self, "ordered_predicates", tuple(ordered_predicates))


class WeightGroups:
    """The groups of weighted routes. For each request, one route of each group is drawn."""

    __slots__ = ("_group_of", "_ranges")

    def __init__(self, routes: tuple[Route, ...]) -> None:
        self._group_of: dict[str, str] = {}
        members: dict[str, list[tuple[int, Route]]] = {}
        for route in routes:
            for predicate in route.predicates:
                if isinstance(predicate, Weight):
                    self._group_of[route.id] = predicate.group
                    members.setdefault(predicate.group, []).append((predicate.weight, route))
        self._ranges = {group: _ranges(weighted) for group, weighted in members.items()}

    def __bool__(self) -> bool:
        return bool(self._ranges)

    def chosen(self, route: Route, drawn: dict[str, Route], draw: Callable[[], float]) -> bool:
        """Whether ``route`` is in no group, or is the one drawn. ``drawn`` keeps the draws of one request."""
        group = self._group_of.get(route.id)
        if group is None:
            return True
        if group not in drawn:
            at, ranges = draw(), self._ranges[group]
            drawn[group] = next((member for end, member in ranges if at < end), ranges[-1][1])
        return drawn[group] is route


def _ranges(weighted: list[tuple[int, Route]]) -> tuple[tuple[float, Route], ...]:
    """The routes of one group, each with the upper end of its share of the range 0 to 1."""
    total = sum(share for share, _ in weighted)
    ends, so_far = [], 0
    for share, route in weighted:
        if share:
            so_far += share
            ends.append((so_far / total, route))
    return tuple(ends)


def route_prefixes(route: Route) -> set[str]:
    """Literal beginnings of paths. Every path that the route takes begins with one of them."""
    for predicate in route.predicates:
        if isinstance(predicate, Path):
            prefixes = {literal_beginning(pattern) for pattern in predicate.patterns}
            if "" not in prefixes:
                return prefixes
    return {""}
