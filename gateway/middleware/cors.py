"""CORS: answers preflights, refuses forbidden calls, and sets the headers that let pages of other origins read answers.

It comes right after ``resolve``, so that a page of another origin can read every later refusal. ``routing.cors``
decides what such a page may do.
"""

from __future__ import annotations

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.api.own_origin import is_own
from gateway.auth.access import LEAVE_CALL
from gateway.context import CONTEXT, RequestContext
from gateway.errors import CorsRejected, CsrfRejected
from gateway.routing.cors import CorsRequest, allows_credentials, evaluate_cors
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
    cors_request = _cors_request(request, context)
    if rule is not None:
        allowed, context.cors_headers = evaluate_cors(rule, cors_request)
        if not allowed:
            raise _refusal(request, context)
    return cors_request.is_preflight


class RequestOrigins:
    """What origins mean for one resolved request: see ``gateway.auth.csrf``."""

    __slots__ = ("_context", "_request")

    def __init__(self, request: RequestHead, context: RequestContext) -> None:
        self._request = request
        self._context = context

    def is_own(self, origin: str, /) -> bool:
        """Whether ``origin`` is that of the gateway as the client sees it; a trusted proxy may say which one it is."""
        return is_own(self._request, self._context, origin)

    def may_act(self, origin: str, /) -> bool:
        """Whether the CORS rule of this call allows pages of ``origin`` to make it with credentials."""
        return allows_credentials(self._context.cors, origin)


def _cors_request(request: RequestHead, context: RequestContext) -> CorsRequest:
    headers = request.headers
    origins = headers.getall("Origin", ())
    if not origins:
        return CorsRequest(request.method, ())
    return CorsRequest(
        request.method,
        origins,
        _is_same_origin(request, context, origins[0]),
        headers.get("Access-Control-Request-Method"),
        ",".join(headers.getall("Access-Control-Request-Headers", ())),
        headers.get("Access-Control-Request-Private-Network", "").lower() == "true",
    )


def _is_same_origin(request: RequestHead, context: RequestContext, named: str) -> bool:
    """Whether the page has the gateway's own origin. Browsers state this in a header that pages can't forge. For older
    browsers the gateway compares origins, so a proxy that ends TLS in front must be a trusted one."""
    if list(request.headers.getall("Sec-Fetch-Site", ())) == ["same-origin"]:
        return True
    return is_own(request, context, named)


def _refusal(request: RequestHead, context: RequestContext) -> CorsRejected | CsrfRejected:
    # A target that can't be read is not a known call.
    path = context.target.path if context.target is not None else ""
    # A beacon's request from a page of another origin gets this error, with or without CORS rules.
    return CsrfRejected() if (request.method, path) == LEAVE_CALL else CorsRejected()
