"""CORS: answers preflights, refuses forbidden calls, and sets the headers that let pages of other origins read answers.

It comes right after ``resolve``, so that a page of another origin can read every later refusal. ``routing.cors``
decides what such a page may do.
"""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.auth.access import LEAVE_CALL
from gateway.context import CONTEXT, LiveTable, RequestContext
from gateway.errors import CorsRejected, CsrfRejected
from gateway.proxy.forwarded import direct_origin
from gateway.routing.cors import Asked, acts_for_user, is_own, judge
from gateway.server.head import RequestHead


@web.middleware
async def cors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answers preflights, and refuses calls that the page may not make. Raises CorsRejected, CsrfRejected."""
    if apply_cors(request, request[CONTEXT]):
        # A preflight never has a token, and does not concern the service.
        return web.Response()
    return await handler(request)


def apply_cors(request: RequestHead, context: RequestContext) -> bool:
    """Sets the answer's CORS headers. Returns whether the request is a preflight.

    Raises CorsRejected or CsrfRejected for a call that the page may not make.
    """
    rule = context.cors
    if not context.cors_enabled or (rule is None and request.method != "OPTIONS"):
        return False
    asked = _asked(request, context)
    if rule is not None:
        allowed, context.cors_headers = judge(rule, asked)
        if not allowed:
            raise _refusal(request, context)
    return asked.is_preflight


def acting(tables: LiveTable) -> Callable[[str], bool]:
    """Returns a check whether pages of an origin may act with a cookie, by the current CORS rule of that call."""
    _, path = LEAVE_CALL
    return lambda page: acts_for_user(tables.now.table.cors_for(path), page)


def _asked(request: RequestHead, context: RequestContext) -> Asked:
    headers = request.headers
    origins = headers.getall("Origin", ())
    if not origins:
        return Asked(request.method, ())
    return Asked(
        request.method,
        origins,
        _is_own(request, context, origins[0]),
        headers.get("Access-Control-Request-Method"),
        ",".join(headers.getall("Access-Control-Request-Headers", ())),
        headers.get("Access-Control-Request-Private-Network", "").lower() == "true",
    )


def _is_own(request: RequestHead, context: RequestContext, named: str) -> bool:
    """Whether the page has the gateway's own origin. Browsers state this in a header that pages can't forge. For older
    browsers the gateway compares origins, so a proxy that ends TLS in front must be a trusted one."""
    if list(request.headers.getall("Sec-Fetch-Site", ())) == ["same-origin"]:
        return True
    seen = context.origin or direct_origin(
        request.remote or "", request.scheme, request.headers.get("Host", "")
    )
    return is_own(named, seen.scheme, seen.host, seen.port)


def _refusal(request: RequestHead, context: RequestContext) -> CorsRejected | CsrfRejected:
    # A target that can't be read is not a known call.
    path = context.target.path if context.target is not None else ""
    # A beacon's request from a page of another origin gets this error, with or without CORS rules.
    return CsrfRejected() if (request.method, path) == LEAVE_CALL else CorsRejected()
