"""The outermost middleware: every request gets a trace id, exactly one answer, and one line in the access log."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from aiohttp import web
from aiohttp.http_writer import StreamWriter
from aiohttp.typedefs import Handler

from gateway.api.i18n import choose_locale
from gateway.context import (
    CONFIGURATION,
    CONTEXT,
    OBSERVERS,
    UNTRUSTED_PROXIES,
    AccountedCall,
    Configuration,
    Observers,
    RequestContext,
)
from gateway.errors import NoInstance, UpstreamTimeout, UpstreamUnreachable
from gateway.observability.logging import ABORTED
from gateway.observability.tracing import TRACE_ID
from gateway.proxy.forwarded import origin
from gateway.proxy.response import BEGUN
from gateway.server.whole_response import SERVER_NAME, WholeAnswer

CLIENT_GONE: Final = 499
"""The status in the log if the client did not wait for the answer. No client is sent this."""

_OF_SERVICES: Final = frozenset({UpstreamUnreachable.code, UpstreamTimeout.code, NoInstance.code})


@web.middleware
async def access_log(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Starts the request's trace and context, writes answers of the gateway's own, then counts and logs the request."""
    app = request.app
    configuration, observers = app[CONFIGURATION], app[OBSERVERS]
    context = request[CONTEXT] = new_context(request, configuration, observers)
    context.recorded = context.trace.sampled and observers.tracer.enter(context.trace)
    untrusted = app[UNTRUSTED_PROXIES]
    if untrusted.watching:
        untrusted.look(request.remote or "", request.headers, configuration.trusted)
    observers.metrics.under_way += 1
    sent = _Sent()
    try:
        response = await handler(request)
        if context.detached:
            pass
        elif response.prepared:
            sent.take(response)
        else:
            complete(response, context)
            await sent.write(request, response)
    except asyncio.CancelledError:
        begun = request.get(BEGUN)
        if begun is not None:
            sent.take(begun)
        raise
    finally:
        if not context.detached:
            observers.metrics.under_way -= 1
            account(observers, request.method, context, sent.status, sent.size, sent.end)
    return response


class DetachedAnswer(AccountedCall):
    """An answer that goes on without its request: it is under way, and in no log, until ``ended`` is called.

    It keeps what the log needs and nothing else of the request. ``RequestContext.detached`` tells the middleware.
    """

    __slots__ = ("_method", "_observers")

    def __init__(self, request: web.Request) -> None:
        context, self._observers, self._method = request[CONTEXT], request.app[OBSERVERS], request.method
        self.trace, self.client, self.began = context.trace, context.client, context.began
        self.match, self.principal, self.target = context.match, context.principal, context.target
        self.label, self.recorded, self.outcome = context.label, context.recorded, context.outcome
        if self.target is not None and self.target.raw_query:
            # A token may be in it, and long.
            self.target = self.target._replace(raw_query="")

    def ended(self, status: int, size: int, end: str) -> None:
        """Counts and logs the answer. Call it once."""
        self._observers.metrics.under_way -= 1
        account(self._observers, self._method, self, status, size, end)


def new_context(
    request: web.BaseRequest, configuration: Configuration, observers: Observers
) -> RequestContext:
    """The context of a request that has just come: its trace, language and client."""
    headers, settings = request.headers, configuration.settings
    locale: str = settings.forced_locale or settings.default_locale
    if settings.forced_locale is None and (accept_language := headers.get("Accept-Language")):
        locale = choose_locale(accept_language, settings.default_locale)
    peer = request.remote or ""
    context = RequestContext(observers.tracer.begin(headers), locale, peer)
    context.security = configuration.security
    if peer in configuration.trusted:
        # Read once, for all who ask.
        context.origin = origin(
            request.raw_headers,
            peer=peer,
            scheme=request.scheme,
            host=headers.get("Host", ""),
            trusted=configuration.trusted,
        )
        context.client = context.origin.address
        if context.security is not None and context.origin.scheme == "https":
            context.security = context.security.over_tls
    return context


def complete(answer: web.StreamResponse, context: RequestContext) -> None:
    """Adds the headers that every answer of the gateway's own has: CORS, trace id, and those for browsers."""
    if context.cors_headers:
        answer.headers.extend(context.cors_headers)
    answer.headers[TRACE_ID] = context.trace_id
    if context.security is not None:
        # What a service or a route's filter says about caching stays.
        own = context.match is None or isinstance(answer, WholeAnswer)
        context.security.complete(answer.headers, answer.status, own=own)


def account(
    observers: Observers,
    method: str,
    call: AccountedCall,
    status: int,
    size: int,
    end: str = "",
) -> None:
    """Counts the answer and writes its line of the log. Called once for each request."""
    metrics, trace = observers.metrics, call.trace
    seconds = time.perf_counter() - call.began
    metrics.request(call.label, method, status, seconds)
    if call.outcome:
        metrics.rejected(call.outcome)
        if call.outcome in _OF_SERVICES:
            metrics.upstream_error(call.label, call.outcome)
    if observers.spring_metrics is not None:
        uri = call.match.route.upstream.uri if call.match else None
        observers.spring_metrics.request(call.label, method, status, seconds, call.outcome, uri)
    if call.recorded:
        observers.tracer.leave(
            trace,
            label=call.label,
            method=method,
            status=status,
            seconds=seconds,
            code=call.outcome,
        )
    if observers.access_log.enabled:
        observers.access_log.write(
            method=method,
            path=call.target.raw_path if call.target else "-",
            label=call.label,
            status=status,
            seconds=seconds,
            size=size,
            trace_id=trace.trace_id,
            client=call.client,
            user=call.principal.user_id if call.principal else None,
            outcome=call.outcome,
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
        """The handler has written the answer itself."""
        self.status = response.status
        self.size = response.body_length
        self.end = getattr(response, "end", "")

    async def write(self, request: web.Request, response: web.StreamResponse) -> None:
        """Writes an answer of the gateway's own; a small one is left to the server, which writes it in one piece."""
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
