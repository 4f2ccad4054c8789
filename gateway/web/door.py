"""The door: every request gets a trace id, exactly one answer, and one line in the log."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from aiohttp import web

from gateway.errors import GatewayError, NoInstance, UpstreamTimeout, UpstreamUnreachable
from gateway.observe.logs import AccessLog
from gateway.observe.tracing import TRACE_ID
from gateway.proxy.forwarded import origin
from gateway.web.context import Context
from gateway.web.envelope import refusal
from gateway.web.exchange import Exchange, Step
from gateway.web.messages import choose_locale

log = logging.getLogger(__name__)

CLIENT_GONE = 499
"""Logged where the client did not wait for the answer; nobody is sent this."""


_OF_SERVICES: Final = frozenset({UpstreamUnreachable.code, UpstreamTimeout.code, NoInstance.code})

RequestHandler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def door(context: Context, access_log: AccessLog, steps: Sequence[Step]) -> RequestHandler:
    """What aiohttp's server calls for each request: the steps in their order, then whoever answers.

    Errors of the tree become envelopes; anything else is a 500 that says nothing.
    """
    default_locale = context.settings.default_locale
    metrics, spring = context.metrics, context.spring_metrics
    count, refused = metrics.request, metrics.rejected
    tracer = context.tracer

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        exchange = _exchange(request, context, default_locale)
        trace = exchange.trace
        recorded = trace.sampled and tracer.enter(trace)
        metrics.under_way += 1
        status = CLIENT_GONE
        size = 0
        try:
            response = await _answered(request, exchange, steps)
            if exchange.cors_headers and not response.prepared:
                response.headers.extend(exchange.cors_headers)
            status = response.status
            if not response.prepared:
                # An answer of our own, which has not been written yet; the others have it.
                response.headers[TRACE_ID] = trace.trace_id
            size = response.body_length or response.content_length or 0
        finally:
            metrics.under_way -= 1
            seconds = time.perf_counter() - exchange.began
            count(exchange.label, request.method, status, seconds)
            if exchange.outcome:
                refused(exchange.outcome)
                if exchange.outcome in _OF_SERVICES:
                    metrics.upstream_error(exchange.label, exchange.outcome)
            if spring is not None:
                uri = exchange.match.route.upstream.uri if exchange.match else None
                spring.request(exchange.label, request.method, status, seconds, exchange.outcome, uri)
            if recorded:
                tracer.leave(
                    trace,
                    label=exchange.label,
                    method=request.method,
                    status=status,
                    seconds=seconds,
                    code=exchange.outcome,
                )
            if access_log.enabled:
                access_log.write(
                    method=request.method,
                    path=exchange.target.raw_path if exchange.target else "-",
                    label=exchange.label,
                    status=status,
                    seconds=seconds,
                    size=size,
                    trace_id=trace.trace_id,
                    client=exchange.client,
                    user=exchange.principal.user_id if exchange.principal else None,
                    outcome=exchange.outcome,
                )
        return response

    return handle


def _exchange(request: web.BaseRequest, context: Context, default_locale: str) -> Exchange:
    # Not in ``handle``, which would keep the headers for as long as it takes to answer.
    headers = request.headers
    accept_language = headers.get("Accept-Language")
    return Exchange(
        context.tracer.begin(headers),
        choose_locale(accept_language, default_locale) if accept_language else default_locale,
        _client(request, context),
    )


async def _answered(
    request: web.BaseRequest, exchange: Exchange, steps: Sequence[Step]
) -> web.StreamResponse:
    try:
        for step in steps:
            pending = step(request, exchange)
            if pending is not None:
                await pending
        assert exchange.endpoint is not None  # noqa: S101 - the locating step has found one or refused
        return await exchange.endpoint(request, exchange)
    except GatewayError as error:
        return refusal(exchange, error)
    except asyncio.CancelledError:
        raise
    except Exception:
        log.exception("%s %s failed, trace %s", request.method, exchange.label, exchange.trace_id)
        return refusal(exchange, GatewayError())


def _client(request: web.BaseRequest, context: Context) -> str:
    peer = request.remote or ""
    if peer not in context.trusted:
        return peer
    return origin(
        request.raw_headers, peer=peer, scheme=request.scheme, host=request.host, trusted=context.trusted
    ).address
