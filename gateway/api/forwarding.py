"""From a matched route to a plan for the proxy: adds the identity, and leaves everything else as the client sent it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Sequence
from functools import lru_cache, partial
from typing import Final

from aiohttp import hdrs, web
from multidict import CIMultiDict

from gateway.api.page_language import is_language_cookie
from gateway.api.queue_commands import SERVICE_COMMANDS, ServiceCommands
from gateway.api.rate_limits import check_rate
from gateway.auth.cookies import cookie_values, is_pass, without_cookies
from gateway.auth.desk import is_desk_cookie, is_desk_token
from gateway.auth.identity import PASS, ROOM, identity_headers, signature_header, strip_identity
from gateway.auth.visitors import is_visitor_cookie, is_visitor_value
from gateway.context import (
    CONFIGURATION,
    CONTEXT,
    DOWNLOADS,
    FORWARDER,
    OBSERVERS,
    SESSIONS,
    Configuration,
    RequestContext,
)
from gateway.errors import BadRequest, GatewayError
from gateway.observability.spans import TracedCalls, Tracer
from gateway.observability.tracing import TraceContext
from gateway.proxy.body import RequestBody
from gateway.proxy.downloads import Downloads
from gateway.proxy.forward import Forwarder
from gateway.proxy.forwarded import direct_origin
from gateway.proxy.headers import removed_prefix, upstream_headers, without_connection_headers
from gateway.proxy.plan import Edits, ForwardPlan
from gateway.proxy.response import SendResponse, send_response
from gateway.proxy.upstream import UpstreamBase
from gateway.proxy.via import pseudonym_of, via_header
from gateway.proxy.websocket import handshake_key
from gateway.routing.cors import Headers
from gateway.routing.filters.base import DirectResponse
from gateway.routing.filters.edits import AddIfBlank, HeaderEdit
from gateway.routing.own_headers import folded, is_forwarding_header
from gateway.routing.path import Target, is_authority
from gateway.routing.table import RouteMatch, RouteTable
from gateway.server.head import RequestHead
from gateway.settings.model import Settings

RawHeaders = Sequence[tuple[bytes, bytes]]

_YEAR_SECONDS: Final = 365.0 * 86400
"""Stands for a time-out that is infinite, that is, for none."""


async def forward(request: web.Request) -> web.StreamResponse:
    """The application's catch-all: forwards every request that is not for one of the gateway's own endpoints."""
    context = request[CONTEXT]
    answer, match = context.forward, context.match
    assert answer is not None  # noqa: S101 - the resolve middleware refused all other requests
    if match is not None and match.changes.rate_limits:
        await check_rate(request)
    return await answer(request)


def plan_for(request: web.Request, match: RouteMatch) -> ForwardPlan:
    """What is sent to the service, and how."""
    app = request.app
    context, commands = request[CONTEXT], app[SERVICE_COMMANDS]
    return plan_of(request, context, match, app[CONFIGURATION], app[DOWNLOADS], commands)


def execute_plan(
    request: web.Request,
    plan: ForwardPlan,
    respond: SendResponse = send_response,
    body: RequestBody | None = None,
) -> Awaitable[web.StreamResponse]:
    """Carries out ``plan``. In a recorded trace, each call to an instance becomes a span. ``body``: see
    ``Forwarder.forward``."""
    app, context = request.app, request[CONTEXT]
    if plan.websocket is not None and not context.outlives and context.session_user is not None:
        assert context.room is not None  # noqa: S101 - the session is one of that room
        plan = plan._replace(watch_session=partial(app[SESSIONS].watch, context.room, context.session_user))
    trace, tracer = context.trace, app[OBSERVERS].tracer
    if trace.sampled and tracer.records(trace):
        return _execute_traced(app[FORWARDER], tracer, request, plan, respond, body)
    return app[FORWARDER].forward(request, plan, respond, body)


async def _execute_traced(
    forwarder: Forwarder,
    tracer: Tracer,
    request: web.Request,
    plan: ForwardPlan,
    respond: SendResponse,
    body: RequestBody | None,
) -> web.StreamResponse:
    calls = traced_calls(tracer, request[CONTEXT].trace, request.method, plan)
    complete = False
    try:
        response = await forwarder.forward(request, plan._replace(calls=calls), respond, body)
        complete = response.complete
    except GatewayError as error:
        calls.failed(error.code)
        raise
    finally:
        calls.done(complete)
    return response


def traced_calls(tracer: Tracer, trace: TraceContext, method: str, plan: ForwardPlan) -> TracedCalls:
    """Records the calls to instances that a recorded request leads to."""
    return TracedCalls(
        tracer,
        trace,
        method=method,
        route=plan.route_id,
        service=plan.base if isinstance(plan.base, str) else "",
        headers=plan.headers,
    )


def plan_of(
    request: RequestHead,
    context: RequestContext,
    match: RouteMatch,
    configuration: Configuration,
    downloads: Downloads,
    commands: ServiceCommands,
    *,
    target: Target | None = None,
) -> ForwardPlan:
    """The same for any form of a request. ``target``: what ``match`` was found for, if that is not the request's own.
    Raises BadRequest if a filter makes a host of it that is none."""
    settings, changes, sent = configuration.settings, match.changes, request.headers
    table = configuration.tables.current.table
    # Before the filters run: a filter may add headers that name another call to the service, a client may not.
    raw = sent_by_client = strip_identity(request.raw_headers)
    if hdrs.COOKIE in sent:
        raw = sent_by_client = _without_own_cookies(raw, settings, table)
    host = sent.get("Host", "")
    # A client of HTTP/1.0 may have sent no Host. The service then gets its own, as if the route did not preserve it.
    upstream_host: str | None = host or None if changes.preserve_host else None
    if changes.request_headers:
        edited = _edited(without_connection_headers(raw), changes.request_headers)
        # A filter's change of Host takes effect only if the route preserves the Host at all.
        upstream_host = edited.get("Host") or None if changes.preserve_host else None
        if upstream_host is not None and not is_authority(upstream_host):
            raise BadRequest("the host that a filter makes of the request is none")
        # Identity comes from the token alone, never from the client or a filter.
        raw = strip_identity(_as_raw(edited), of_route=True)
    # If the peer is a trusted proxy, the context knows what the proxy reports.
    reported = context.origin
    headers = upstream_headers(
        raw,
        reported or direct_origin(request.remote or "", request.scheme, host),
        peer_trusted=reported is not None,
        upstream_host=None if upstream_host is None else _encode(upstream_host),
        extra=(
            *headers_of_caller(request.method, context, match.upstream_target, settings),
            *context.trace.headers(),
            via_header(pseudonym_of(settings.spring_application_name), sent_by_client, raw),
        ),
        prefix=_prefix(target or context.target, match) if match.route.filters else "",
        forwarded_fields=configuration.forwarded_fields,
    )
    if changes.forwarding_edits:
        headers = _apply_forwarding_edits(headers, changes.forwarding_edits)
    route = match.route
    upstream = route.upstream
    # Positional arguments, because this runs for every request.
    return ForwardPlan(
        route.id,
        upstream.service or UpstreamBase(upstream.scheme, upstream.host, upstream.port),
        match.upstream_target,
        headers,
        _response_edits(changes.response_headers) if changes.response_headers else None,
        settings.max_request_body_bytes
        if changes.body_limit is None
        else _effective_limit(settings.max_request_body_bytes, changes.body_limit),
        settings.proxy_connect_timeout_seconds
        if route.connect_timeout is None
        else min(route.connect_timeout, _YEAR_SECONDS),
        _response_timeout(settings, match),
        changes.status,
        context.trace.trace_id.encode(),
        _encoded(context.cors_headers) if context.cors_headers else None,
        handshake_key(request.method, request.version, sent) if hdrs.UPGRADE in sent else None,
        client=context.client,
        security=context.security,
        downloads=downloads,
        cookies=context.pass_cookies,
        extra=_encoded(context.limit_headers) if context.limit_headers else (),
        key=_instance_key(request, context, table, upstream.service) if table.service_policies else "",
        retry=changes.retry,
        breaker=changes.breaker,
        on_commands=partial(commands.wait, context),
        private=context.page is not None and context.room is not None,
        tls=route.tls,
    )


def headers_of_caller(
    method: str, context: RequestContext, target: str, settings: Settings
) -> tuple[tuple[bytes, bytes], ...]:
    """What the gateway tells a service about the caller: identity and its signature, the pass, and the room whose gate
    the call has passed."""
    headers = identity_headers(context.principal, context.visitor)
    if settings.identity_hmac_secret:
        signed = signature_header(
            settings.identity_hmac_secret,
            int(time.time()),
            method,
            target,
            context.principal,
            context.visitor,
        )
        headers = (*headers, signed)
    if context.queue_pass is not None:
        headers = (*headers, (PASS, context.queue_pass.token.encode()))
    if context.room is not None and not context.renews_only:
        headers = (*headers, (ROOM, context.room.encode()))
    return headers


def _instance_key(
    request: RequestHead, context: RequestContext, table: RouteTable, service: str | None
) -> str:
    """What a request has in common with others that go to the same instance; empty if nothing."""
    policy = table.service_policies.get(service or "")
    if policy is None or policy.hash_by is None:
        return ""
    if policy.hash_by == "user":
        return "" if context.principal is None else context.principal.user_id
    if policy.hash_by == "header":
        return ",".join(request.headers.getall(policy.hash_name, ()))
    return ",".join(cookie_values(request.headers.getall(hdrs.COOKIE, ()), policy.hash_name))


def _response_timeout(settings: Settings, match: RouteMatch) -> float:
    """The seconds that a service has for each attempt."""
    of_route, breaker = match.route.response_timeout, match.changes.breaker
    seconds = settings.proxy_response_timeout_seconds if of_route is None else of_route
    if breaker is not None and breaker.timeout is not None:
        # The breaker's own clock stands still while the client sends a long body; this one begins with its end.
        seconds = min(seconds, breaker.timeout)
    return min(seconds, _YEAR_SECONDS)


def _without_own_cookies(raw: RawHeaders, settings: Settings, table: RouteTable) -> RawHeaders:
    """A client's headers without the cookies that this gateway sets."""
    if settings.pass_:
        raw = without_cookies(raw, is_pass)
    raw = without_cookies(raw, is_desk_cookie, is_desk_token)
    if table.pages:
        raw = without_cookies(raw, is_language_cookie)
    # The cookies outlive the rooms for visitors, which a reload may remove. Without them, a site may have a cookie of
    # the same name.
    return without_cookies(raw, is_visitor_cookie, None if table.visitor_rooms else is_visitor_value)


def _apply_forwarding_edits(headers: RawHeaders, edits: Sequence[HeaderEdit]) -> list[tuple[bytes, bytes]]:
    """``headers`` for a service, with the route's own edits in place of the gateway's headers about the client.

    The edits start from no headers, so no value of a client is among them. Further headers from a trusted proxy have
    been edited earlier.
    """
    edited_headers: CIMultiDict[str] = CIMultiDict()
    there = {folded(_decode(name)) for name, value in headers if value}
    for edit in edits:
        if not (isinstance(edit, AddIfBlank) and folded(edit.name) in there):
            edit.apply(edited_headers)
    replaced = {
        form for form in map(folded, edited_headers) if is_forwarding_header(form) or form not in there
    }
    kept = [field for field in headers if folded(_decode(field[0])) not in replaced]
    return [
        *kept,
        *(
            (_encode(name), _encode(value))
            for name, value in edited_headers.items()
            if folded(name) in replaced
        ),
    ]


def _prefix(target: Target | None, match: RouteMatch) -> str:
    """The beginning of the path that the route's filters removed."""
    if target is None:
        return ""
    return removed_prefix(target.raw_path, match.upstream_target)


@lru_cache(maxsize=256)
def _encoded(headers: Headers) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((name.encode("ascii"), value.encode("ascii")) for name, value in headers)


def direct_response(answer: DirectResponse) -> web.Response:
    """An answer that a route defines itself."""
    return web.Response(status=answer.status, headers=CIMultiDict(answer.headers), body=answer.body or None)


def _effective_limit(of_settings: int, of_route: int) -> int:
    """The effective limit of bodies in bytes; 0 in the settings means no limit."""
    return min(of_settings, of_route) if of_settings else of_route


def _edited(raw: RawHeaders, edits: Sequence[HeaderEdit]) -> CIMultiDict[str]:
    headers = CIMultiDict((_decode(name), _decode(value)) for name, value in raw)
    for edit in edits:
        edit.apply(headers)
    return headers


def _as_raw(headers: CIMultiDict[str]) -> RawHeaders:
    return [(_encode(name), _encode(value)) for name, value in headers.items()]


def _response_edits(edits: Sequence[HeaderEdit]) -> Edits:
    def apply(headers: CIMultiDict[str]) -> None:
        for edit in edits:
            edit.apply(headers)

    return apply


def _decode(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def _encode(value: str) -> bytes:
    return value.encode("utf-8", "surrogateescape")
