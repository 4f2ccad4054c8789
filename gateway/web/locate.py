"""From the request line to what answers: one canonical path, own calls first, then the routes."""

from __future__ import annotations

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from gateway.errors import BadRequest, MethodNotAllowed, RouteNotFound
from gateway.routing.facts import RequestFacts
from gateway.routing.path import parse_target
from gateway.web.context import Context
from gateway.web.endpoints import Endpoints
from gateway.web.exchange import EXCHANGE, Exchange
from gateway.web.exchange import Handler as Answerer


def locating(context: Context, endpoints: Endpoints, forward: Answerer | None) -> Middleware:
    """Makes the middleware. ``forward`` answers what a route matches; None: there are no routes here."""

    @web.middleware
    async def locate(request: web.Request, handler: Handler) -> web.StreamResponse:
        exchange = request[EXCHANGE]
        if len(request.headers.getall("Host", ())) != 1:
            raise BadRequest("there must be exactly one Host")
        exchange.target = target = parse_target(request.raw_path, request.headers["Host"])
        own = endpoints.find(request.method, target.path)
        if own is not None:
            endpoint, parameters = own
            exchange.endpoint = endpoint.handler
            exchange.needs = endpoint.needs
            exchange.label = endpoint.label
            exchange.sheds = endpoint.sheds
            exchange.parameters.update(parameters)
        elif forward is None:
            raise RouteNotFound
        else:
            _route(context, request, exchange)
            exchange.endpoint = forward
        return await handler(request)

    return locate


def _route(context: Context, request: web.Request, exchange: Exchange) -> None:
    table, exchange.access = context.tables.now
    target = exchange.target
    assert target is not None  # noqa: S101 - set by the caller
    if request.method in {"CONNECT", "TRACE"}:
        raise MethodNotAllowed(("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"))
    match = table.resolve(
        RequestFacts(
            method=request.method,
            target=target,
            headers=request.headers,
            client=exchange.client,
            host=request.headers["Host"],
            scheme=request.scheme,
        )
    )
    if match is None:
        raise RouteNotFound
    exchange.match = match
    exchange.label = match.route.id
    gate = table.gate_for(request.method, target.path, match.upstream_path)
    if gate is not None:
        exchange.room = gate.room
        exchange.renews_only = gate.renews_only
