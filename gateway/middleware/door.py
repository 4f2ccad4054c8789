"""The door: every request gets a trace id, exactly one answer, and one line in the log."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Final

from aiohttp import web
from aiohttp.http_writer import StreamWriter

from gateway.api.envelope import refusal
from gateway.api.i18n import choose_locale
from gateway.context import Context, Exchange, Step
from gateway.errors import GatewayError, NoInstance, UpstreamTimeout, UpstreamUnreachable
from gateway.middleware.admit import overloaded
from gateway.observability.logging import ABORTED, AccessLog
from gateway.observability.tracing import TRACE_ID
from gateway.proxy.forwarded import origin
from gateway.proxy.response import BEGUN
from gateway.routing.cors import Headers
from gateway.server.arrivals import Lane
from gateway.server.whole_response import SERVER_NAME, WholeAnswer

log = logging.getLogger(__name__)

CLIENT_GONE = 499
"""Logged where the client did not wait for the answer; nobody is sent this."""


_OF_SERVICES: Final = frozenset({UpstreamUnreachable.code, UpstreamTimeout.code, NoInstance.code})


class Door:
    """What the server calls for each request: the steps in their order, then whoever answers.

    ``finding``: the first steps, which find out what is asked for; ``judging``: the others. Errors of the tree become
    envelopes; anything else is a 500 that says nothing.
    """

    def __init__(
        self, context: Context, access_log: AccessLog, finding: Sequence[Step], judging: Sequence[Step]
    ) -> None:
        self._context = context
        self.settings = context.settings
        self._access_log = access_log
        self._finding = finding
        self._steps = (*finding, *judging)
        self._languages = context.settings.forced_locale, context.settings.default_locale
        self.lane = Lane(context.settings.overload_lag_ms / 1000, self.turn_away)
        """Where this door's newcomers wait for their turn."""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """The answer to ``request``, which may have been sent already."""
        context = self._context
        exchange = _exchange(request, context, *self._languages)
        trace = exchange.trace
        recorded = trace.sampled and context.tracer.enter(trace)
        if context.untrusted.watching:
            context.untrusted.look(request.remote or "", request.headers, context.trusted)
        context.metrics.under_way += 1
        sent = _Sent()
        try:
            response = await _answered(request, exchange, self._steps)
            if response.prepared:
                sent.take(response)
            else:
                # An answer of our own, which has not been written yet.
                _complete(response, exchange)
                await sent.write(request, response)
        except asyncio.CancelledError:
            begun = request.get(BEGUN)
            if begun is not None:
                sent.take(begun)
            raise
        finally:
            context.metrics.under_way -= 1
            self._account(request, exchange, sent.status, sent.size, recorded, sent.end)
        return response

    def turn_away(self, request: web.BaseRequest) -> WholeAnswer | None:
        """What a newcomer gets for whom there is no time; None if this is no newcomer's call. No more is done than it
        takes to say so in a way that the caller can read."""
        exchange = _exchange(request, self._context, *self._languages)
        try:
            for step in self._finding:
                step(request, exchange)
            if not exchange.sheds:
                return None
            answer = refusal(exchange, overloaded())
            _complete(answer, exchange)
        except Exception:
            # The usual way meets it again, and answers, counts and logs it.
            return None
        answer.headers["Server"] = SERVER_NAME
        self._account(request, exchange, answer.status, answer.content_length or 0, recorded=False)
        return answer

    def cors_headers(self, request: web.BaseRequest) -> Headers:
        """What the answer to ``request`` says about pages of other origins, for an answer that is not made here."""
        exchange = _exchange(request, self._context, *self._languages)
        try:
            for step in self._finding:
                step(request, exchange)
        except GatewayError:
            # What is refused may have been judged before.
            pass
        return exchange.cors_headers

    def _account(
        self,
        request: web.BaseRequest,
        exchange: Exchange,
        status: int,
        size: int,
        recorded: bool,
        end: str = "",
    ) -> None:
        """Every answer is counted once and has one line in the log."""
        context, trace = self._context, exchange.trace
        seconds = time.perf_counter() - exchange.began
        context.metrics.request(exchange.label, request.method, status, seconds)
        if exchange.outcome:
            context.metrics.rejected(exchange.outcome)
            if exchange.outcome in _OF_SERVICES:
                context.metrics.upstream_error(exchange.label, exchange.outcome)
        if context.spring_metrics is not None:
            uri = exchange.match.route.upstream.uri if exchange.match else None
            context.spring_metrics.request(
                exchange.label, request.method, status, seconds, exchange.outcome, uri
            )
        if recorded:
            context.tracer.leave(
                trace,
                label=exchange.label,
                method=request.method,
                status=status,
                seconds=seconds,
                code=exchange.outcome,
            )
        if self._access_log.enabled:
            self._access_log.write(
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
                end=end,
            )


class _Sent:
    """What was written of an answer: its ``status``, bytes of its body, and its ``end`` if it is not complete."""

    __slots__ = ("end", "size", "status")

    def __init__(self) -> None:
        self.status = CLIENT_GONE
        self.size = 0
        self.end = ABORTED

    def take(self, response: web.StreamResponse) -> None:
        """The answer has been written by who made it."""
        self.status = response.status
        self.size = response.body_length
        self.end = getattr(response, "end", "")

    async def write(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        """Writes an answer of our own; a small one is left to the server, which writes it in one piece."""
        transport = request.transport
        if isinstance(response, WholeAnswer):
            if transport is None or transport.is_closing():
                return
            self.status, self.end = response.status, ""
            self.size = 0 if request.method == "HEAD" else response.content_length or 0
            return
        response.headers.setdefault("Server", SERVER_NAME)
        head = 0
        try:
            writer = await response.prepare(request)
            if isinstance(writer, StreamWriter):
                head = len(writer._headers_buf or b"") or writer.output_size
            self.status = response.status
            await response.write_eof()
            self.end = ""
        except ConnectionError:
            pass  # the server finds out as well, and ends the connection
        finally:
            self.size = max(0, getattr(request.writer, "output_size", head) - head)


def _complete(answer: web.StreamResponse, exchange: Exchange) -> None:
    if exchange.cors_headers:
        answer.headers.extend(exchange.cors_headers)
    answer.headers[TRACE_ID] = exchange.trace_id
    if exchange.security is not None:
        # What a service or a route's filter says about caching stays.
        own = exchange.match is None or isinstance(answer, WholeAnswer)
        exchange.security.complete(answer.headers, answer.status, own=own)


def _exchange(
    request: web.BaseRequest, context: Context, forced_locale: str | None, default_locale: str
) -> Exchange:
    # Not in ``handle``, which would keep the headers for as long as it takes to answer.
    headers = request.headers
    locale = forced_locale or default_locale
    if forced_locale is None and (accept_language := headers.get("Accept-Language")):
        locale = choose_locale(accept_language, default_locale)
    peer = request.remote or ""
    exchange = Exchange(context.tracer.begin(headers), locale, peer)
    exchange.security = context.security
    if peer in context.trusted:
        # Read once, for all who ask.
        exchange.origin = origin(
            request.raw_headers,
            peer=peer,
            scheme=request.scheme,
            host=headers.get("Host", ""),
            trusted=context.trusted,
        )
        exchange.client = exchange.origin.address
        if exchange.security is not None and exchange.origin.scheme == "https":
            exchange.security = exchange.security.over_tls
    return exchange


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
