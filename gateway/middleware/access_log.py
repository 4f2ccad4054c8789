"""The outermost middleware: every request gets a trace id, exactly one answer, and one line in the access log."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

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
from gateway.proxy.headers import keep_private
from gateway.proxy.response import STARTED_RESPONSE
from gateway.proxy.untrusted_proxies import UntrustedProxies
from gateway.request_accounting import CLIENT_GONE, account
from gateway.server.head import RequestHead
from gateway.server.whole_response import SERVER_NAME, WholeResponse


@web.middleware
async def access_log(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Starts the request's trace and context, writes the gateway's own answers, then counts and logs the request."""
    app = request.app
    configuration, observers = app[CONFIGURATION], app[OBSERVERS]
    context = request[CONTEXT] = new_context(request, configuration, observers)
    begin(request, context, configuration, observers, app[UNTRUSTED_PROXIES])
    sent = _SentResponse()
    try:
        response = await handler(request)
        if context.detached:
            pass
        elif response.prepared:
            sent.record(response)
        else:
            add_common_headers(response, context)
            await sent.write(request, response)
    except asyncio.CancelledError:
        started = request.get(STARTED_RESPONSE)
        if started is not None:
            sent.record(started)
        raise
    finally:
        if not context.detached:
            observers.metrics.in_progress -= 1
            account(observers, request.method, context, sent.status, sent.size, sent.end)
    return response


_MAX_LANGUAGES_LENGTH: Final = 200
"""Characters of ``Accept-Language`` that count."""
MAX_SHARED_LANGUAGES: Final = 1024
# Values of ``Accept-Language`` that requests share. ``sys.intern`` would keep each one for ever in Python 3.12.0 to
# 3.12.5, whichever a client invents.
_shared_languages: dict[str, str] = {}


def new_context(request: RequestHead, configuration: Configuration, observers: Observers) -> RequestContext:
    """The context of a request that has just arrived: its trace, language and client."""
    headers, settings = request.headers, configuration.settings
    locale: str = settings.forced_locale or settings.default_locale
    accept_language = headers.get(hdrs.ACCEPT_LANGUAGE)
    if settings.forced_locale is None and accept_language:
        locale = choose_locale(accept_language, settings.default_locale)
    peer = request.remote or ""
    context = RequestContext(observers.tracer.begin(headers), locale, peer)
    if settings.pass_:
        context.cookies = headers.getall(hdrs.COOKIE, ())
    if settings.forced_locale is None and accept_language:
        # Shared, because each stream keeps it.
        context.languages = _shared(accept_language[:_MAX_LANGUAGES_LENGTH])
    context.secure, context.security = request.scheme == "https", configuration.security
    if peer in configuration.trusted:
        # Read once and shared by all later code.
        context.origin = origin(
            request.raw_headers,
            peer=peer,
            scheme=request.scheme,
            host=headers.get(hdrs.HOST, ""),
            trusted=configuration.trusted,
        )
        context.client = context.origin.address
    if context.security is not None and context.over_tls:
        context.security = context.security.over_tls
    return context


def _shared(languages: str) -> str:
    """The same object for the same text, as a rule. Clients use few; a client that invents many only empties this."""
    if len(_shared_languages) >= MAX_SHARED_LANGUAGES and languages not in _shared_languages:
        _shared_languages.clear()
    return _shared_languages.setdefault(languages, languages)


def begin(
    request: RequestHead,
    context: RequestContext,
    configuration: Configuration,
    observers: Observers,
    untrusted: UntrustedProxies,
) -> None:
    """From now on the request is under way: it counts as such, and this task's work belongs to its trace."""
    context.recorded = observers.tracer.enter(context.trace)
    if untrusted.active:
        untrusted.check(request.remote or "", request.headers, configuration.trusted)
    observers.metrics.in_progress += 1


def add_common_headers(response: web.StreamResponse, context: RequestContext) -> None:
    """Adds the headers that each of the gateway's own answers has: CORS, trace id, and security headers."""
    if context.cors_headers:
        response.headers.extend(context.cors_headers)
    if context.limit_headers:
        response.headers.extend(context.limit_headers)
    if context.queue_pass is not None:
        keep_private(response.headers)
        response.headers.extend(("Set-Cookie", cookie) for cookie in context.pass_cookies)
    response.headers[TRACE_ID] = context.trace_id
    own = context.match is None or isinstance(response, WholeResponse)
    if context.visitor_cookie is not None and own and "no-store" in response.headers.get("Cache-Control", ""):
        response.headers.add("Set-Cookie", context.visitor_cookie)
    if context.security is not None:
        # A cache header from a service or a route's filter stays.
        context.security.add_missing(response.headers, response.status, own=own)


class _SentResponse:
    """What was sent of an answer: its ``status``, bytes of its body, and its ``end`` if it is not complete."""

    __slots__ = ("end", "size", "status")

    def __init__(self) -> None:
        self.status = CLIENT_GONE
        self.size = 0
        self.end = ABORTED

    def record(self, response: web.StreamResponse) -> None:
        """Takes the numbers of an answer that the handler has written itself."""
        self.status = response.status
        self.size = response.body_length
        self.end = getattr(response, "end", "")

    async def write(self, request: web.Request, response: web.StreamResponse) -> None:
        """Writes one of the gateway's own answers. A small one is left to the server, which writes it in one piece."""
        transport = request.transport
        if isinstance(response, WholeResponse):
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
            pass  # the server notices the same error, and ends the connection
        finally:
            # All bytes written minus the head, which aiohttp does not count by itself.
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
