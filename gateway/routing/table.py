"""The immutable route table: finds the route that takes a request, and applies the route's filters to the request."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from gateway.resilience.breaker import BreakerPolicy
from gateway.resilience.rate_limit import RateLimitPolicy
from gateway.resilience.retry import RetryPolicy
from gateway.resilience.services import ServicePolicy
from gateway.room_names import ByRoom, RoomEntries
from gateway.routing import matcher
from gateway.routing.attributes import RequestAttributes
from gateway.routing.callers import Bypass, ClaimRule, Lane, wanted_claims
from gateway.routing.calls import CallPattern
from gateway.routing.cors import CorsRule
from gateway.routing.filters.base import DirectResponse, Fallback, RequestRewrite
from gateway.routing.filters.edits import HeaderEdit
from gateway.routing.filters.target import innermost, restore_path
from gateway.routing.gates import Gate, GateIndex, GateRule, RoomLimits, RoomPage
from gateway.routing.matcher import MatchingTimeout
from gateway.routing.path import parse_target
from gateway.routing.path_readings import is_or_has_suffix, is_plain, readings_of
from gateway.routing.patterns import PathPattern, compile_pattern
from gateway.routing.prefix_index import PrefixIndex, literal_beginning
from gateway.routing.room_templates import entry_of
from gateway.routing.route import Route, WeightGroups
from gateway.routing.route_index import RouteIndex
from gateway.routing.spec.issues import Issue
from gateway.routing.spec.locator import Locator
from gateway.service_tls import ServiceTls

_ACTUATOR: Final = "actuator"
_LOGGED: Final[dict[str, tuple[str, bytes]]] = {}
"""Kind of rules that the log has reported as too many → the file and the digest of its content."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FilterChanges:
    """The filters' changes other than the target (see ``RouteMatch``)."""

    request_headers: tuple[HeaderEdit, ...] = ()
    """Edits of the request's headers, in the order in which they are applied."""
    response_headers: tuple[HeaderEdit, ...] = ()
    """Edits of the response's headers, in the order in which they are applied."""
    preserve_host: bool = False
    """Whether the request keeps its Host (or the one that an edit sets) instead of getting the instance's."""
    status: int | None = None
    """The status that replaces the service's."""
    body_limit: int | None = None
    """The most bytes that the request's body may have on this route."""
    answer: DirectResponse | None = None
    """The response to send instead of calling the service."""
    forwarding_edits: tuple[HeaderEdit, ...] = ()
    retry: RetryPolicy | None = None
    """When the call to the service is repeated; None: never."""
    breaker: BreakerPolicy | None = None
    """The circuit breaker that the call passes; None: none."""
    fallback: Fallback | None = None
    """What answers when the call fails; None: the gateway, with the error."""
    rate_limits: tuple[RateLimitPolicy, ...] = ()
    """How often a caller may make the call; all must allow it."""


_UNCHANGED: Final = FilterChanges()


class RouteMatch(NamedTuple):
    """A request's route, and what is sent to the service. A tuple for speed, because one is made for each request.

    ``upstream_target`` is the raw path and query to send. ``upstream_path`` is the same path, decoded until nothing is
    encoded; gates are matched with it. ``variables`` were captured by the predicates.
    """

    route: Route
    variables: Mapping[str, str]
    upstream_target: str
    upstream_path: str
    changes: FilterChanges = _UNCHANGED

    @property
    def answer(self) -> DirectResponse | None:
        """The response to send instead of calling the service."""
        return self.changes.answer


@dataclass(frozen=True)
class RouteTable:
    """The content of a route file, with a Config Server's properties laid over it. Immutable: a reload makes a new one.

    ``routes`` are in the order in which they are tried (by ``order``, then as in the file). ``services`` are static
    instances by lower-case name, ``service_policies`` how some of them are used, and ``service_tls`` how some are
    called over TLS, which the routes to them know already. ``cors`` is by path pattern, in the
    file's order. ``cors_unrouted``: ``cors`` also applies to requests that no route takes.
    ``locator``, if there is one, makes routes from services' names. ``tokens`` are token settings from a Config Server,
    by name in lower case; ``given`` are values of other settings. ``source`` is the file, ``digest`` identifies its
    content. ``unready`` says why the gateway can't serve requests yet, although routes exist elsewhere; empty in a
    table in force.
    ``warnings`` name what is allowed but probably not intended.
    """

    routes: tuple[Route, ...] = ()
    gates: tuple[Gate, ...] = ()
    public: tuple[CallPattern, ...] = ()
    rooms: Mapping[str, RoomLimits] = field(default_factory=dict)
    services: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    service_policies: Mapping[str, ServicePolicy] = field(default_factory=dict)
    service_tls: Mapping[str, ServiceTls] = field(default_factory=dict)
    cors: Mapping[str, CorsRule] = field(default_factory=dict)
    cors_unrouted: bool = False
    locator: Locator | None = None
    tokens: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    given: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    digest: bytes = b""
    unready: str = ""
    warnings: tuple[Issue, ...] = field(default=(), compare=False)
    draw: Callable[[], float] = field(default=random.random, repr=False, compare=False)
    visitor_rooms: Mapping[str, Literal["visitor", "either"]] = field(init=False, repr=False, compare=False)
    """The rooms in which people without a login may have a place."""
    checked_rooms: Mapping[str, bool] = field(init=False, repr=False, compare=False)
    """The rooms in which a visitor's lineup is checked further: by the address, or by a challenge."""
    pages: Mapping[str, RoomPage] = field(init=False, repr=False, compare=False)
    """The rooms that show browsers a page."""
    _routes: RouteIndex = field(init=False, repr=False, compare=False)
    _public: PrefixIndex[CallPattern] = field(init=False, repr=False, compare=False)
    _gates: GateIndex = field(init=False, repr=False, compare=False)
    _for_visitors: Mapping[str, PrefixIndex[CallPattern]] = field(init=False, repr=False, compare=False)
    """The gated calls of each room for visitors."""
    _weights: WeightGroups = field(init=False, repr=False, compare=False)
    _cors: PrefixIndex[tuple[PathPattern, CorsRule]] = field(init=False, repr=False, compare=False)

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that routes and services name for TLS, each once. A change of one asks for a new table."""
        named = (*self.service_tls.values(), *(route.tls for route in self.routes if route.tls))
        return tuple(dict.fromkeys(file for tls in named for file in tls.files))

    def __post_init__(self) -> None:
        entries = RoomEntries(self.rooms)
        object.__setattr__(self, "rooms", ByRoom(entries, self.rooms))
        visitors = {room: limits.identity for room, limits in self.rooms.items()}
        visitors = {room: who for room, who in visitors.items() if who in ("visitor", "either")}
        object.__setattr__(self, "visitor_rooms", ByRoom(entries, visitors))
        checked = {
            room: True for room, limits in self.rooms.items() if limits.places_per_address or limits.challenge
        }
        object.__setattr__(self, "checked_rooms", ByRoom(entries, checked))
        pages = {room: limits.page for room, limits in self.rooms.items() if limits.page is not None}
        object.__setattr__(self, "pages", ByRoom(entries, pages))
        object.__setattr__(self, "_routes", RouteIndex(self.routes))
        object.__setattr__(self, "_public", _index_of(self.public))
        object.__setattr__(self, "_gates", GateIndex(self.gates))
        for_visitors = {
            room: _index_of(
                [call for gate in self.gates if entry_of(gate.room) == room for call in gate.calls]
            )
            for room in self.visitor_rooms
        }
        object.__setattr__(self, "_for_visitors", ByRoom(entries, for_visitors))
        object.__setattr__(self, "_weights", WeightGroups(self.routes))
        cors = [(compile_pattern(pattern), rule) for pattern, rule in self.cors.items()]
        object.__setattr__(
            self, "_cors", PrefixIndex([({literal_beginning(each[0])}, each) for each in cors])
        )

    def resolve(self, request: RequestAttributes) -> RouteMatch | None:
        """Return the first route that takes the request, and what is sent to the service; None if there is no route.

        Also returns None if the route's filters lead into a service's ``/actuator``, unless its metadata allow that.
        Raises BadRequest if the filters make the path ambiguous, if a rule needs the query and it is malformed, or
        if the regexes take too long.
        """
        match = self.first(request)
        if match is None or (not match.route.allow_actuator and _is_actuator(match.upstream_path)):
            return None
        return match

    def first(self, request: RequestAttributes) -> RouteMatch | None:
        """``resolve`` without the rule about ``/actuator``."""
        matcher.start_meter(matcher.ROUTE_MICROSECONDS)
        try:
            return self._first(request)
        except MatchingTimeout as timeout:
            self._warn_once("routes", timeout)
            raise
        finally:
            matcher.stop_meter()

    def _first(self, request: RequestAttributes) -> RouteMatch | None:
        drawn: dict[str, Route] = {}
        for route in self._routes.candidates(request):
            if self._weights and not self._weights.chosen(route, drawn, self.draw):
                continue
            found: dict[str, str] = {}
            for predicate in route.ordered_predicates:
                if not predicate.holds(request, found):
                    break
            else:
                return _matched(route, request, found)
        return None

    def gate_for(self, method: str, path: str, upstream_path: str, *, raw_query: str = "") -> GateRule | None:
        """The gate of a call, matched widely on its canonical path and on the path at the service.

        Raises RoomNotFound if the gate takes its room from the call, and the call names none that may exist, and
        BadRequest if it names several.
        """
        found = self.gate_call(method, path, upstream_path)
        if found is None:
            return None
        call, rule = found
        return rule.of_call(call, (path, upstream_path), raw_query)

    def gate_call(self, method: str, path: str, upstream_path: str) -> tuple[CallPattern, GateRule] | None:
        """``gate_for``, with the matching call of the route file. Raises BadRequest if matching takes too long."""
        matcher.start_meter(matcher.GATE_MICROSECONDS)
        try:
            return self._gates.find(method, path, upstream_path)
        except MatchingTimeout as timeout:
            self._warn_once("gates", timeout)
            raise
        finally:
            matcher.stop_meter()

    def bypass_of(self, room: str) -> tuple[Bypass, ...]:
        """Who passes the gate of the room without a place."""
        limits = self.rooms.get(room)
        return () if limits is None else limits.bypass

    def eligible_of(self, room: str) -> ClaimRule | None:
        """Who may line up in the room; None: everyone."""
        limits = self.rooms.get(room)
        return None if limits is None else limits.eligible

    def lanes_of(self, room: str) -> tuple[Lane, ...]:
        """The lanes of the room beside that of all others."""
        limits = self.rooms.get(room)
        return () if limits is None else limits.lanes

    def wanted_claims(self) -> dict[str, frozenset[str]]:
        """The values that rules of rooms ask for, by claim."""
        rules: list[ClaimRule | None] = []
        for limits in self.rooms.values():
            rules.append(limits.eligible)
            rules += [lane.by_claim for lane in limits.lanes]
            rules += [bypass.by_claim for bypass in limits.bypass]
        return wanted_claims(rule for rule in rules if rule is not None)

    def is_public(self, method: str, path: str) -> bool:
        """Whether a rule opens the call without a token, matched narrowly. A gated call needs a token all the same.

        Returns False if matching takes too long.
        """
        return self._opens(self._public, method, path)

    def place_stands_for_token(self, gate: GateRule, method: str, path: str) -> bool:
        """Whether a place in the room of the call's gate replaces the token: the room is for visitors, and a call that
        its gates list opens this one, matched narrowly on the client's canonical path. A gate protects many more calls
        than it lists; those may be another service's or another page's, so the access rules decide about them.

        Returns False if matching takes too long.
        """
        calls = (
            None
            if gate.renews_only
            else self._for_visitors.get(gate.room if gate.template is None else gate.template.entry)
        )
        return calls is not None and self._opens(calls, method, path)

    def _opens(self, calls: PrefixIndex[CallPattern], method: str, path: str) -> bool:
        matcher.start_meter(matcher.OPEN_MICROSECONDS)
        try:
            return _any_opens(calls, method, path)
        except MatchingTimeout as timeout:
            self._warn_once("open calls", timeout)
            return False
        finally:
            matcher.stop_meter()

    def cors_for(self, path: str, route: Route | None = None) -> CorsRule | None:
        """The CORS rule of the route, or else of the first pattern that matches the path."""
        if route is not None and route.cors is not None:
            return route.cors
        if not self.cors:
            return None
        matcher.start_meter(matcher.CORS_MICROSECONDS)
        try:
            return self._cors_for(path)
        except MatchingTimeout as timeout:
            self._warn_once("CORS rules", timeout)
            raise
        finally:
            matcher.stop_meter()

    def _cors_for(self, path: str) -> CorsRule | None:
        rules = self._cors.candidates(path)
        return next((rule for pattern, rule in rules if pattern.match(path) is not None), None)

    def too_many(self, request: RequestAttributes, upstream_path: str) -> tuple[str, ...]:
        """The kinds of rules that are so many that comparing this request with them exceeds the time limit. Used for
        warnings; logs nothing."""
        method, path = request.method, request.target.path
        questions: tuple[tuple[str, int, Callable[[], object]], ...] = (
            ("routes", matcher.ROUTE_MICROSECONDS, lambda: self._first(request)),
            ("gates", matcher.GATE_MICROSECONDS, lambda: self._gates.find(method, path, upstream_path)),
            ("open calls", matcher.OPEN_MICROSECONDS, lambda: _any_opens(self._public, method, path)),
            ("CORS rules", matcher.CORS_MICROSECONDS, lambda: self._cors_for(path)),
        )
        return tuple(what for what, share, question in questions if not matcher.fits(share, question))

    def _warn_once(self, what: str, timeout: MatchingTimeout) -> None:
        """Log that the file has too many rules of a kind, unless one regex is the cause. Logs once for each content of
        the file."""
        if not timeout.logged and _LOGGED.get(what) != (self.source, self.digest):
            _LOGGED[what] = self.source, self.digest
            _log.warning(
                "a request took too long to compare with the %s of the route file; such requests are %s. "
                "`gateway check` may say which. This is said once",
                what,
                "not open" if what == "open calls" else "refused",
            )

    def route(self, route_id: str) -> Route | None:
        """The route with this id."""
        return next((route for route in self.routes if route.id == route_id), None)


def _index_of(calls: Sequence[CallPattern]) -> PrefixIndex[CallPattern]:
    return PrefixIndex([({literal_beginning(call.pattern)}, call) for call in calls])


def _any_opens(calls: PrefixIndex[CallPattern], method: str, path: str) -> bool:
    return any(call.opens(method, path) for call in calls.candidates(path))


def _matched(route: Route, request: RequestAttributes, found: Mapping[str, str]) -> RouteMatch:
    target = request.target
    if not route.filters:
        sent = f"{target.raw_path}?{target.raw_query}" if target.has_query else target.raw_path
        return RouteMatch(route, found, sent, target.path)
    rewrite = RequestRewrite(request, found)
    for each in route.filters:
        each.contribute(rewrite)
    path = target.path
    if rewrite.raw_path != target.raw_path or rewrite.raw_query != target.raw_query:
        rewrite.raw_path = restore_path(rewrite.raw_path)
        again = parse_target(f"{innermost(rewrite.raw_path)}?{rewrite.raw_query}")
        path = again.path
    changes = FilterChanges(
        tuple(rewrite.request_edits),
        tuple(reversed(rewrite.response_edits)),
        rewrite.preserve_host,
        rewrite.status,
        rewrite.body_limit,
        rewrite.answer,
        tuple(rewrite.forwarding_edits),
        rewrite.retry,
        rewrite.breaker,
        rewrite.fallback,
        rewrite.rate_limits,
    )
    # An empty query ("?") stays, unless a filter has just emptied the query.
    has_query = rewrite.raw_query or (target.has_query and rewrite.raw_query == target.raw_query)
    sent = f"{rewrite.raw_path}?{rewrite.raw_query}" if has_query else rewrite.raw_path
    return RouteMatch(route, found, sent, path, changes)


def _is_actuator(path: str) -> bool:
    if is_plain(path) and path[1 : len(_ACTUATOR) + 1].lower() != _ACTUATOR:
        return False
    return any(is_or_has_suffix(reading[0], _ACTUATOR) for reading in readings_of(path) if reading)
