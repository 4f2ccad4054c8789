"""Calls to services by a route, and the fallbacks that answer when such a call fails."""

from __future__ import annotations

from collections.abc import Awaitable

from aiohttp import web

from gateway.api.forwarding import direct_response, execute_plan, plan_for, plan_of
from gateway.api.queue_commands import SERVICE_COMMANDS
from gateway.context import CONFIGURATION, CONTEXT, DOWNLOADS, FORWARDER, OBSERVERS
from gateway.errors import BadRequest, CircuitOpen, UpstreamError, UpstreamTimeout
from gateway.proxy.body import RequestBody
from gateway.proxy.plan import ForwardPlan
from gateway.resilience.failures import cause_of
from gateway.routing.attributes import RequestAttributes
from gateway.routing.filters.base import DirectResponse, Fallback
from gateway.routing.path import Target, parse_target
from gateway.routing.table import RouteMatch


def forward_to_service(request: web.Request) -> Awaitable[web.StreamResponse]:
    """Forwards a request according to its route, or gives the answer that the route defines itself."""
    match = request[CONTEXT].match
    assert match is not None  # noqa: S101 - only matched requests reach this handler
    changes = match.changes
    if changes.answer is not None:
        return _direct_answer(changes.answer)
    plan = plan_for(request, match)
    if changes.fallback is None:
        return execute_plan(request, plan)
    return _forward_or_fall_back(request, plan, changes.fallback)


async def _direct_answer(answer: DirectResponse) -> web.StreamResponse:
    return direct_response(answer)


async def _forward_or_fall_back(
    request: web.Request, plan: ForwardPlan, fallback: Fallback
) -> web.StreamResponse:
    """Carries out ``plan``; if that fails, ``fallback`` answers. The route of a fallback is called without access rules
    and gate, since the call has passed its own. If it fails too, its error is the answer."""
    body = await request.app[FORWARDER].read_body(request, plan)
    try:
        return await execute_plan(request, plan, body=body)
    except UpstreamError as error:
        # Of a body that has been sent in part, the rest alone could be sent again. An open breaker sends nothing.
        if not (body.repeatable or isinstance(error, CircuitOpen)):
            raise
        response = await _answer(request, fallback, error, body)
        if response is None:
            raise
        return response


async def _answer(
    request: web.Request, fallback: Fallback, error: UpstreamError, body: RequestBody
) -> web.StreamResponse | None:
    """The fallback's answer; None if it has none to this error."""
    context, metrics = request[CONTEXT], request.app[OBSERVERS].metrics
    if fallback.answer is not None:
        if fallback.for_errors_only and isinstance(error, UpstreamTimeout | CircuitOpen):
            return None
        metrics.fell_back(context.label)
        return direct_response(fallback.answer)
    found = _match(request, fallback, error)
    if found is None:
        return None
    target, match = found
    metrics.fell_back(context.label)
    if match.changes.answer is not None:
        return direct_response(match.changes.answer)
    app = request.app
    plan = plan_of(
        request, context, match, app[CONFIGURATION], app[DOWNLOADS], app[SERVICE_COMMANDS], target=target
    )
    return await execute_plan(request, plan, body=body)


def _match(
    request: web.Request, fallback: Fallback, error: UpstreamError
) -> tuple[Target, RouteMatch] | None:
    """The route that takes the fallback's path with the request's query; None if there is none."""
    context, host = request[CONTEXT], request.headers.get("Host", "")
    asked = context.target
    query = f"?{asked.raw_query}" if asked is not None and asked.has_query else ""
    try:
        target = parse_target(f"{fallback.raw_path}{query}", host or None)
    except BadRequest:
        # A variable of the path makes it ambiguous.
        return None
    attributes = RequestAttributes(
        request.method, target, request.headers, context.client, host, request.scheme, cause_of(error)
    )
    match = request.app[CONFIGURATION].tables.current.table.resolve(attributes)
    return None if match is None else (target, match)
