"""The outermost middleware: every request gets a trace id, exactly one answer, and one line in the log."""

from __future__ import annotations

import asyncio
import logging
import time

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from gateway.errors import GatewayError
from gateway.observe.logs import AccessLog
from gateway.observe.tracing import trace_of
from gateway.proxy.forwarded import origin
from gateway.web.context import Context
from gateway.web.envelope import refusal
from gateway.web.exchange import EXCHANGE, Exchange
from gateway.web.messages import choose_locale

log = logging.getLogger(__name__)

CLIENT_GONE = 499
"""Logged where the client did not wait for the answer; nobody is sent this."""


def accounting(context: Context, access_log: AccessLog) -> Middleware:
    """Makes the middleware. Errors of the tree become envelopes; anything else is a 500 that says nothing."""
    default_locale = context.settings.default_locale

    @web.middleware
    async def account(request: web.Request, handler: Handler) -> web.StreamResponse:
        headers = request.headers
        accept_language = headers.get("Accept-Language")
        exchange = Exchange(
            trace_id=trace_of(headers),
            locale=choose_locale(accept_language, default_locale) if accept_language else default_locale,
            client=_client(request, context),
        )
        request[EXCHANGE] = exchange
        status = CLIENT_GONE
        size = 0
        try:
            response = await _answered(request, handler, exchange)
            status = response.status
            size = response.body_length
        finally:
            seconds = time.perf_counter() - exchange.began
            context.metrics.request(exchange.label, request.method, status, seconds)
            if access_log.enabled:
                access_log.write(
                    method=request.method,
                    path=exchange.target.raw_path if exchange.target else "-",
                    label=exchange.label,
                    status=status,
                    seconds=seconds,
                    size=size,
                    trace_id=exchange.trace_id,
                    client=exchange.client,
                    user=exchange.principal.user_id if exchange.principal else None,
                    outcome=exchange.outcome,
                )
        return response

    return account


async def _answered(request: web.Request, handler: Handler, exchange: Exchange) -> web.StreamResponse:
    try:
        return await handler(request)
    except GatewayError as error:
        return refusal(exchange, error)
    except asyncio.CancelledError:
        raise
    except Exception:
        log.exception("%s %s failed, trace %s", request.method, exchange.label, exchange.trace_id)
        return refusal(exchange, GatewayError())


def _client(request: web.Request, context: Context) -> str:
    peer = request.remote or ""
    if peer not in context.trusted:
        return peer
    return origin(
        request.raw_headers, peer=peer, scheme=request.scheme, host=request.host, trusted=context.trusted
    ).address
