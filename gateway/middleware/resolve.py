"""Resolution: from the request line to the handler, on the one canonical path that access rules and gate decide on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.typedefs import Handler as AiohttpHandler

from gateway.api.endpoints import Endpoint, Endpoints, is_for_operators
from gateway.api.negotiation import wants_page
from gateway.api.queue import room_name
from gateway.auth.access import Access
from gateway.auth.visitors import Identity
from gateway.context import (
    CONFIGURATION,
    CONTEXT,
    ChooseHandler,
    Configuration,
    DescribedTarget,
    Handler,
    RequestContext,
    ResolvedCall,
    RoutingState,
)
from gateway.errors import (
    BadRequest,
    GatewayError,
    LoopDetected,
    MethodNotAllowed,
    NotConfigured,
    RouteNotFound,
)
from gateway.proxy.via import MAX_PASSES, passes, pseudonym_of
from gateway.routing.attributes import RequestAttributes
from gateway.routing.gates import GateRule, RoomPage
from gateway.routing.matcher import MatchingTimeout
from gateway.routing.path import MAX_TARGET, Target, parse_target
from gateway.routing.table import RouteTable
from gateway.server.head import RequestHead

_FORBIDDEN_METHODS = frozenset({"TRACE", "TRACK"})
"""Methods that routes never forward, because the answer repeats the request, credentials included."""

_ALLOWED = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
"""The value of ``Allow`` in that refusal: the usual methods."""

_DESTINATION_METHODS = frozenset({"COPY", "MOVE"})
"""Methods of WebDAV that write to the path that ``Destination`` names."""

_ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*+://[^/?#]*")
_NO_ACCESS = Access(())


class Resolver:
    """Resolves requests: one canonical path, the gateway's own endpoints first, then the routes.

    ``choose`` returns the handler of a call that a route matches, by method, match and path. It is called once for each
    call that is cached. None: there are no routes here, as on the management port. ``forward`` is the handler of
    aiohttp's catch-all route.
    """

    def __init__(self, endpoints: Endpoints, forward: Handler, choose: ChooseHandler | None) -> None:
        self._endpoints = endpoints
        self._forward = forward
        self._choose = choose
        # The gateway's own calls in their usual spelling, so no more entries than endpoints.
        self._endpoint_cache: dict[tuple[str, str], tuple[Target, Endpoint]] = {}

    def resolve(self, configuration: Configuration, request: RequestHead, context: RequestContext) -> None:
        """Fills in ``context``: target, handler, route, gate, CORS rule, and what the call needs.

        Raises BadRequest, RouteNotFound, or MethodNotAllowed.
        """
        fault = getattr(request, "fault", None)
        if fault is not None:
            raise BadRequest(fault)
        hosts = request.headers.getall(hdrs.HOST, ())
        if len(hosts) != 1 and (hosts or request.version >= HttpVersion11):
            raise BadRequest("there must be exactly one Host")
        call = request.method, request.raw_path
        serving = configuration.tables.current
        if hdrs.VIA in request.headers and _comes_round(request, configuration):
            self._refuse(context, LoopDetected(), serving.table, request.raw_path.partition("?")[0])
            return
        if self._choose is not None:
            resolved = serving.resolved.get(call)
            if resolved is not None:
                self._apply(request, context, serving, resolved)
                return
        if call in self._endpoint_cache:
            context.target, endpoint = self._endpoint_cache[call]
            _apply_endpoint(serving.table, request, context, context.target, endpoint)
            return
        host = hosts[0] if hosts else ""
        if not self._read_target(serving.table, request, context, host):
            return
        target = context.target
        assert target is not None  # noqa: S101 - it could be read
        try:
            own = self._endpoints.find(request.method, target.path)
        except GatewayError as error:
            # Not raised here: preflights are still answered, and a page of another origin may read this refusal.
            context.refusal = error
            cors = self._endpoints.may_be_called_by_pages(target.path)
            own = (
                Endpoint(request.method, target.path, self._forward, "nothing", context.label, cors=cors),
                {},
            )
        if own is not None:
            endpoint, context.parameters = own
            if call == (endpoint.method, endpoint.path) and context.refusal is None:
                self._endpoint_cache[call] = target, endpoint
            _apply_endpoint(serving.table, request, context, target, endpoint)
        elif self._choose is None:
            raise RouteNotFound
        else:
            self._route(serving, request, context, target, host, self._choose)

    def _read_target(
        self, table: RouteTable, request: RequestHead, context: RequestContext, host: str
    ) -> bool:
        """Whether the target can be read. Raises BadRequest if not, unless a page of another origin should read the
        reason."""
        try:
            context.target = parse_target(request.raw_path, host or None)
        except BadRequest as error:
            path = request.raw_path.partition("?")[0]
            if "Origin" not in request.headers or len(path) > MAX_TARGET or is_for_operators(path):
                raise
            # The CORS rule for an unreadable path lets the page read the refusal, and nothing else.
            self._refuse(context, error, table, path)
            return False
        return True

    def _refuse(self, context: RequestContext, error: GatewayError, table: RouteTable, path: str) -> None:
        """Refuses the request for every caller, but later, so that a page of another origin can read the reason."""
        context.auth, context.refusal, context.handler = "nothing", error, self._forward
        context.cors_enabled = not is_for_operators(path)
        context.cors = table.cors_for(path) if context.cors_enabled else None

    def _route(
        self,
        serving: RoutingState,
        request: RequestHead,
        context: RequestContext,
        target: Target,
        host: str,
        choose: ChooseHandler,
    ) -> None:
        try:
            self._choose_route(serving, request, context, target, host, choose)
        except MatchingTimeout:
            # Looking up a CORS rule would double the cost.
            raise
        except GatewayError as error:
            self._refuse(context, error, serving.table, target.path)

    def _choose_route(
        self,
        serving: RoutingState,
        request: RequestHead,
        context: RequestContext,
        target: Target,
        host: str,
        choose: ChooseHandler,
    ) -> None:
        table = serving.table
        if request.method in _FORBIDDEN_METHODS:
            raise MethodNotAllowed(_ALLOWED)
        match = table.resolve(
            RequestAttributes(request.method, target, request.headers, context.client, host, request.scheme)
        )
        if match is None:
            context.access = serving.access
            context.handler = self._forward
            context.refusal = RouteNotFound()
            context.cors = table.cors_for(target.path) if table.cors_unrouted else None
            if table.unready:
                _refuse_unready(context)
            return
        gate, enough, destination = _gate_of(table, request, target, match.upstream_path)
        chosen = choose(request.method, match, target.path)
        cors = table.cors_for(target.path, match.route)
        resolved = ResolvedCall(target, match, chosen, gate, cors, enough)
        # The meaning of an absolute target also depends on its Host header.
        if request.raw_path.startswith("/") and request.method not in _DESTINATION_METHODS:
            serving.cache_call(request.method, request.raw_path, resolved)
        self._apply(request, context, serving, resolved)
        if destination is not None and not table.is_public(request.method, destination):
            context.access = _NO_ACCESS

    def _apply(
        self, request: RequestHead, context: RequestContext, serving: RoutingState, resolved: ResolvedCall
    ) -> None:
        context.target, context.match, context.forward, gate, context.cors, enough = resolved
        context.handler = self._forward
        context.access = serving.access
        context.label = resolved.match.route.id
        if gate is not None:
            _apply_gate(request, context, serving.table, gate, place_is_enough=enough)

    def describe(self, configuration: Configuration, call: RequestHead, context: RequestContext) -> None:
        """Fills in ``context`` for a call that another proxy describes: what it would meet here, but for a route.

        Raises BadRequest, RouteNotFound for a call that is the gateway's own, MethodNotAllowed, or NotConfigured.
        """
        serving = configuration.tables.current
        table = serving.table
        context.described, context.target = True, None
        if table.unready:
            raise NotConfigured
        if call.method in _FORBIDDEN_METHODS:
            raise MethodNotAllowed(_ALLOWED)
        known = serving.described.get((call.method, call.raw_path))
        if known is not None:
            self._apply_described(call, context, serving, known)
            return
        target = context.target = parse_target(call.raw_path, call.headers.get("Host") or None)
        if self._is_own(call.method, target.path):
            raise RouteNotFound
        gate, enough, destination = _gate_of(table, call, target, target.path)
        described = DescribedTarget(target, gate, table.cors_for(target.path), enough)
        # As for routes: other targets depend on a header as well.
        if call.raw_path.startswith("/") and call.method not in _DESTINATION_METHODS:
            serving.cache_described(call.method, call.raw_path, described)
        self._apply_described(call, context, serving, described)
        if destination is not None and not table.is_public(call.method, destination):
            context.access = _NO_ACCESS

    def _apply_described(
        self, call: RequestHead, context: RequestContext, serving: RoutingState, described: DescribedTarget
    ) -> None:
        context.target, gate, context.cors, enough = described
        context.access = serving.access
        if gate is not None:
            _apply_gate(call, context, serving.table, gate, place_is_enough=enough)

    def _is_own(self, method: str, path: str) -> bool:
        try:
            return self._endpoints.find(method, path) is not None
        except GatewayError:
            return True


RESOLVER: Final[web.AppKey[Resolver]] = web.AppKey("resolver", Resolver)


@web.middleware
async def resolve(request: web.Request, handler: AiohttpHandler) -> web.StreamResponse:
    """Resolves the request, and refuses a path that aiohttp's router understands differently."""
    app, context = request.app, request[CONTEXT]
    app[RESOLVER].resolve(app[CONFIGURATION], request, context)
    if request.match_info.handler != context.handler and context.refusal is None:
        # Access rules and gate decide on the canonical path, so the handler must be the one for that path.
        context.auth, context.refusal = "nothing", BadRequest("the path can be understood in two ways")
    return await handler(request)


def _apply_gate(
    request: RequestHead, context: RequestContext, table: RouteTable, gate: GateRule, *, place_is_enough: bool
) -> None:
    context.room = gate.room
    context.renews_only, context.outlives = gate.renews_only, gate.outlives
    context.bypasses = table.bypass_of(gate.room)
    if (visitor_rooms := table.visitor_rooms) and gate.room in visitor_rooms:
        context.identity = visitor_rooms[gate.room]
        context.place_is_enough = place_is_enough
    if (pages := table.pages) and gate.room in pages and not gate.renews_only:
        context.page, context.as_page = pages[gate.room], wants_page(request.headers)
        # HEAD is no visit of a person, so it takes no place.
        context.lines_up = context.as_page and request.method != "HEAD"


def _gate_of(
    table: RouteTable, request: RequestHead, target: Target, upstream_path: str
) -> tuple[GateRule | None, bool, str | None]:
    """The gate of a call to a service, whether a place of a visitor stands for the token there, and the path that a
    COPY or MOVE writes to. Raises BadRequest."""
    gate = table.gate_for(request.method, target.path, upstream_path, raw_query=target.raw_query)
    ends = [(target.path, gate)]
    destination = _destination(request)
    if destination is not None:
        of_destination = _gate_of_destination(table, request.method, destination)
        ends.append((destination, of_destination))
        gate = _stricter(gate, of_destination)
    return gate, _place_is_enough(table, request.method, ends), destination


def _apply_endpoint(
    table: RouteTable, request: RequestHead, context: RequestContext, target: Target, endpoint: Endpoint
) -> None:
    context.handler = endpoint.handler
    context.auth = endpoint.auth
    context.label = endpoint.label
    context.sheddable = endpoint.sheddable
    context.streams = endpoint.streams
    if endpoint.security is not None:
        context.security = endpoint.security
    for_pages = endpoint.cors and endpoint.auth not in {"desk", "desk_open"}
    context.cors_enabled = for_pages and not is_for_operators(target.path)
    context.cors = table.cors_for(target.path) if context.cors_enabled else None
    if endpoint.of_room and table.visitor_rooms:
        context.identity = _identity_of(table, context)
    if endpoint.may_be_page and table.pages:
        context.page = _page_of(table, context)
        context.as_page = context.page is not None and wants_page(request.headers)
    if table.unready and endpoint.auth == "token":
        _refuse_unready(context)


def _identity_of(table: RouteTable, context: RequestContext) -> Identity:
    """Who may have a place in the room that a call of the queue API names. An unusable name is reported later, to
    callers with a token."""
    try:
        return table.visitor_rooms.get(room_name(context), "token")
    except BadRequest:
        return "token"


def _comes_round(request: RequestHead, configuration: Configuration) -> bool:
    """Whether the request has passed this gateway so often that a route must lead back to it."""
    pseudonym = pseudonym_of(configuration.settings.spring_application_name)
    return passes(request.headers.getall(hdrs.VIA, ()), pseudonym) >= MAX_PASSES


def _page_of(table: RouteTable, context: RequestContext) -> RoomPage | None:
    """The page of the room that a call of the queue API names. An unusable name is reported later."""
    try:
        return table.pages.get(room_name(context))
    except BadRequest:
        return None


def _refuse_unready(context: RequestContext) -> None:
    """Refuses the request: the gateway is not ready, so there are no rules yet to check a caller against."""
    context.auth = "nothing"
    context.refusal = NotConfigured()


def _destination(request: RequestHead) -> str | None:
    """The canonical path that a COPY or MOVE writes to; None if the request names none. Raises BadRequest for an
    invalid one. The host in it does not count: services may look at the path alone."""
    if request.method not in _DESTINATION_METHODS:
        return None
    values = request.headers.getall("Destination", ())
    if len(values) > 1:
        raise BadRequest("there must be at most one Destination")
    if not values:
        return None
    destination = values[0].strip(" \t")
    origin = _ORIGIN.match(destination)
    target = destination[origin.end() :] if origin else destination
    try:
        return parse_target(target or "/").path
    except BadRequest as error:
        raise BadRequest(f"Destination: {error.reason}") from None


def _gate_of_destination(table: RouteTable, method: str, path: str) -> GateRule | None:
    """The gate of the path written to, for this method or for the PUT that would write the same."""
    return _stricter(table.gate_for(method, path, path), table.gate_for("PUT", path, path))


def _place_is_enough(table: RouteTable, method: str, ends: Sequence[tuple[str, GateRule | None]]) -> bool:
    """Whether a place of a visitor stands for the token. ``ends``: the path of the call, and of a COPY or MOVE the
    other one, each with its gate. Raises BadRequest if it does for one of them only, and the other needs a token."""
    if not table.visitor_rooms:
        return False
    enough = [gate is not None and table.place_stands_for_token(gate, method, path) for path, gate in ends]
    if not any(enough):
        return False
    if not all(each or table.is_public(method, path) for each, (path, _) in zip(enough, ends, strict=True)):
        raise BadRequest("its path and its Destination are for visitors and for users with a token")
    return True


def _stricter(one: GateRule | None, other: GateRule | None) -> GateRule | None:
    """The rule that satisfies both gates. Raises BadRequest for two different rooms: only one room can admit a call."""
    if one is None or other is None or one.renews_only or other.renews_only:
        return other if one is None or (one.renews_only and other is not None) else one
    if one.room != other.room:
        raise BadRequest("its path and its Destination are behind the gates of two rooms")
    return one
