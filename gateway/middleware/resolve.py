"""From the request line to what answers: one canonical path, own calls first, then the routes."""

from __future__ import annotations

import re
from collections.abc import Callable

from aiohttp import HttpVersion11, web

from gateway.api.endpoints import Endpoint, Endpoints, is_for_operators
from gateway.auth.access import Access
from gateway.context import Context, Exchange, Handler, Located, Serving, Step
from gateway.errors import (
    BadRequest,
    GatewayError,
    MethodNotAllowed,
    NotConfigured,
    RequestTimeout,
    RouteNotFound,
)
from gateway.routing.facts import RequestFacts
from gateway.routing.gates import GateRule
from gateway.routing.matcher import GaveUp
from gateway.routing.path import MAX_TARGET, Target, parse_target
from gateway.routing.table import Match, RouteTable
from gateway.server.framing import HEAD_TOO_LATE, fault_in

_NOT_FOR_SERVICES = frozenset({"TRACE", "TRACK"})
"""Routes forward every other method. The answer to these repeats the request, credentials included."""

_ALLOWED = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
"""What ``Allow`` names then: the usual methods."""

_WRITING_ELSEWHERE = frozenset({"COPY", "MOVE"})
"""Methods of WebDAV that write to the path that ``Destination`` names."""

_ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")
_NO_ACCESS = Access(())


Choose = Callable[[str, Match, str], Handler]
"""Who answers a call that a route matches, by method, match and path; asked once for each call that is remembered."""


def locating(context: Context, endpoints: Endpoints, forward: Choose | None) -> Step:
    """Makes the step. ``forward`` says who answers what a route matches; None: there are no routes here."""

    # Own calls as they are nearly always written: there are no more of these than own calls.
    plain: dict[tuple[str, str], tuple[Target, Endpoint]] = {}

    def locate(request: web.BaseRequest, exchange: Exchange) -> None:
        hosts = request.headers.getall("Host", ())
        if len(hosts) != 1 and (hosts or request.version >= HttpVersion11):
            fault = fault_in(request)
            if fault == HEAD_TOO_LATE:
                raise RequestTimeout(fault)
            raise BadRequest(fault or "there must be exactly one Host")
        call = request.method, request.raw_path
        if forward is not None:
            serving = context.tables.now
            located = serving.located.get(call)
            if located is not None:
                _take(exchange, serving, located)
                return
        if call in plain:
            exchange.target, endpoint = plain[call]
            _take_own(context, exchange, exchange.target, endpoint)
            return
        host = hosts[0] if hosts else ""
        target = _target(context, request, exchange, host)
        if target is None:
            return
        try:
            own = endpoints.find(request.method, target.path)
        except GatewayError as error:
            # Later: a preflight is answered all the same, and this answer too is for the page that asked.
            # Without a path, for it is not to be remembered: callers can make up as many as they like.
            own = Endpoint(request.method, "", refusing(error), "nothing", exchange.label), {}
        if own is not None:
            endpoint, exchange.parameters = own
            if call == (endpoint.method, endpoint.path):
                plain[call] = target, endpoint
            _take_own(context, exchange, target, endpoint)
        elif forward is None:
            raise RouteNotFound
        else:
            _route(context, request, exchange, target, host, forward)

    return locate


def _target(context: Context, request: web.BaseRequest, exchange: Exchange, host: str) -> Target | None:
    """What is asked for; None if that can't be read, and a page of another origin is to read why. Raises BadRequest."""
    try:
        exchange.target = parse_target(request.raw_path, host or None)
    except BadRequest as error:
        path = request.raw_path.partition("?")[0]
        if "Origin" not in request.headers or len(path) > MAX_TARGET or is_for_operators(path):
            raise
        # The rule for a path that can't be read lets its page read the refusal, and nothing else.
        _refuse(exchange, error, context.tables.now.table, path)
    return exchange.target


def _refuse(exchange: Exchange, error: GatewayError, table: RouteTable, path: str) -> None:
    """Refuses the request whoever calls, but later: a page of another origin is to read why."""
    exchange.needs = "nothing"
    exchange.endpoint = refusing(error)
    exchange.cors = table.cors_for(path)


def _take_own(context: Context, exchange: Exchange, target: Target, endpoint: Endpoint) -> None:
    exchange.endpoint = endpoint.handler
    exchange.needs = endpoint.needs
    exchange.label = endpoint.label
    exchange.sheds = endpoint.sheds
    exchange.streams = endpoint.streams
    exchange.crosses = not is_for_operators(target.path)
    table = context.tables.now.table
    exchange.cors = table.cors_for(target.path) if exchange.crosses else None
    if table.unready and endpoint.needs == "token":
        _put_off(exchange)


def _put_off(exchange: Exchange) -> None:
    """Nothing is known yet that a caller could be checked with."""
    exchange.needs = "nothing"
    exchange.endpoint = refusing(NotConfigured())


def refusing(error: GatewayError) -> Handler:
    """A handler that answers with this error."""

    async def refuse(_request: web.BaseRequest, _exchange: Exchange) -> web.StreamResponse:
        raise error

    return refuse


def _route(
    context: Context,
    request: web.BaseRequest,
    exchange: Exchange,
    target: Target,
    host: str,
    forward: Choose,
) -> None:
    try:
        _choose_route(context, request, exchange, target, host, forward)
    except GaveUp:
        # Looking for a CORS rule would cost as much again.
        raise
    except GatewayError as error:
        _refuse(exchange, error, context.tables.now.table, target.path)


def _choose_route(
    context: Context,
    request: web.BaseRequest,
    exchange: Exchange,
    target: Target,
    host: str,
    forward: Choose,
) -> None:
    serving = context.tables.now
    if request.method in _NOT_FOR_SERVICES:
        raise MethodNotAllowed(_ALLOWED)
    match = serving.table.resolve(
        RequestFacts(request.method, target, request.headers, exchange.client, host, request.scheme)
    )
    if match is None:
        # Not before the caller is known: without a token nobody learns which paths there are.
        exchange.access = serving.access
        exchange.endpoint = refusing(RouteNotFound())
        exchange.cors = serving.table.cors_for(target.path) if serving.table.cors_unrouted else None
        if serving.table.unready:
            _put_off(exchange)
        return
    gate = serving.table.gate_for(request.method, target.path, match.upstream_path)
    destination = _destination(request)
    if destination is not None:
        gate = _stricter(gate, _gate_of_destination(serving.table, request.method, destination))
    endpoint = forward(request.method, match, target.path)
    located = Located(target, match, endpoint, gate, serving.table.cors_for(target.path, match.route))
    # An absolute target means what it means only together with the Host it came with.
    if request.raw_path.startswith("/") and request.method not in _WRITING_ELSEWHERE:
        serving.remember(request.method, request.raw_path, located)
    _take(exchange, serving, located)
    if destination is not None and not serving.table.is_public(request.method, destination):
        exchange.access = _NO_ACCESS


def _destination(request: web.BaseRequest) -> str | None:
    """The canonical path that a COPY or MOVE writes to; None if it names none. Raises BadRequest for one that is not
    sound. Its host does not count: services may look at the path alone."""
    if request.method not in _WRITING_ELSEWHERE:
        return None
    values = request.headers.getall("Destination", ())
    if len(values) > 1:
        raise BadRequest("there must be at most one Destination")
    if not values:
        return None
    try:
        return parse_target(_ORIGIN.sub("", values[0].strip(" \t"), count=1) or "/").path
    except BadRequest as error:
        raise BadRequest(f"Destination: {error.reason}") from None


def _gate_of_destination(table: RouteTable, method: str, path: str) -> GateRule | None:
    """The gate of what is written, be it for this method or for the PUT that would write the same."""
    return _stricter(table.gate_for(method, path, path), table.gate_for("PUT", path, path))


def _stricter(one: GateRule | None, other: GateRule | None) -> GateRule | None:
    """The rule that both calls pass. Raises BadRequest for two rooms: a call is let in by one."""
    if one is None or other is None or one.renews_only or other.renews_only:
        return other if one is None or (one.renews_only and other is not None) else one
    if one.room != other.room:
        raise BadRequest("its path and its Destination are behind the gates of two rooms")
    return one


def _take(exchange: Exchange, serving: Serving, located: Located) -> None:
    exchange.target, exchange.match, exchange.endpoint, gate, exchange.cors = located
    exchange.access = serving.access
    exchange.label = located.match.route.id
    if gate is not None:
        exchange.room = gate.room
        exchange.renews_only = gate.renews_only
