"""The outermost middleware: every request gets a trace id, exactly one answer, and one line in the access log."""

from __future__ import annotations

import asyncio

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.accounting import CLIENT_GONE, account
from gateway.api.i18n import choose_locale
from gateway.context import (
    CONFIGURATION,
    CONTEXT,
    OBSERVERS,
    UNTRUSTED_PROXIES,
    Configuration,
    Observers,
    RequestContext,
)
from gateway.observability.logging import ABORTED
from gateway.observability.tracing import TRACE_ID
from gateway.proxy.forwarded import origin
from gateway.proxy.response import BEGUN
from gateway.server.head import RequestHead
from gateway.server.whole_response import SERVER_NAME, WholeAnswer


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


def new_context(request: RequestHead, configuration: Configuration, observers: Observers) -> RequestContext:
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
        try:
            await response.prepare(request)
            self.status = response.status
            await response.write_eof()
            self.end = ""
        except ConnectionError:
            pass  # the server finds out as well, and ends the connection
        finally:
            # What was written less the head, which aiohttp does not count by itself.
            self.size = max(0, request.writer.output_size - _head_size(request, response))


def _head_size(request: web.Request, response: web.StreamResponse) -> int:
    """The bytes of an answer's head as aiohttp writes it."""
    version = request.version
    line = f"HTTP/{version.major}.{version.minor} {response.status} {response.reason}\r\n\r\n"
    fields = sum(
        len(name) + len(value.encode("utf-8", "surrogateescape")) + 4
        for name, value in response.headers.items()
    )
    return len(line) + fields
