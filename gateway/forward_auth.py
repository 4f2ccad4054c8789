"""``/api/v1/queue/authorize``: decides for a call that another proxy describes, and forwards nothing.

The decision is that of the middlewares, by the same functions in the same order: canonical path, access rules, token or
visitor, gate, and renewal of the session. Routes are not asked, since the other proxy knows where the call goes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from aiohttp import web
from multidict import istr

from gateway.api.endpoints import Endpoint
from gateway.api.forwarding import headers_of_caller
from gateway.api.queue import QUEUE
from gateway.api.refusals import refusal_response
from gateway.auth.csrf import Headers
from gateway.context import (
    AUTHENTICATOR,
    CONFIGURATION,
    CONTEXT,
    OBSERVERS,
    ROOMS,
    VISITORS,
    Configuration,
    Handler,
    RequestContext,
)
from gateway.errors import BadRequest, GatewayError, ProxyNotTrusted, RouteNotFound
from gateway.middleware.authentication import counts_token, identify_visitor
from gateway.middleware.cors import RequestOrigins, apply_cors
from gateway.middleware.gate import check_gate
from gateway.middleware.resolve import RESOLVER, Resolver
from gateway.observability.metrics import METHODS
from gateway.observability.tracing import TRACE_ID
from gateway.query import values_of
from gateway.routing.path import Target
from gateway.server.head import RequestHead
from gateway.server.whole_response import SERVER_NAME, PlainAnswer, WholeResponse
from gateway.settings.model import Settings

AUTHORIZE: Final = f"{QUEUE}/authorize"
EXT: Final = f"{AUTHORIZE}/ext"
STATUS: Final = "X-Queue-Status"
"""The true status of a refusal that is answered with another one."""

_FAMILIES: Final = (
    (istr("X-Forwarded-Method"), istr("X-Forwarded-Uri")),
    (istr("X-Original-Method"), istr("X-Original-URI")),
)
"""Method and address of the described call: as Traefik and Caddy name them, and as NGINX's users do."""
_METHOD: Final = re.compile(r"[A-Z][A-Z-]{0,63}")
_UNSUPPORTED: Final = frozenset({"CONNECT", "PRI"})
_OWN_ADDRESS: Final = re.compile(r"/(?![/\\])[!-~]*")
_OWN_FIELDS: Final = ((b"Content-Type", b"text/plain; charset=utf-8"), (b"Cache-Control", b"no-store"))
_OWN_HEADERS: Final = {"Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-store"}
_TRACE_ID: Final = TRACE_ID.encode()
_SERVER: Final = (b"Server", SERVER_NAME.encode())
_CODES: Final = ("", "nginx", "page")
_PASSED_BY_NGINX: Final = frozenset({401, 403})


def endpoints(settings: Settings) -> tuple[Endpoint, ...]:
    """The endpoints of this module, unless the settings turn them off. No page may call them: they are for proxies."""
    if not settings.forward_auth:
        return ()
    return (
        Endpoint("GET", AUTHORIZE, authorize, auth="nothing", label="queue.authorize", cors=False),
        Endpoint("*", EXT, authorize_ext, auth="nothing", label="queue.authorize", cors=False, below=True),
    )


class DescribedCall:
    """The described call, in the form that decisions read of a request: its method and address, and all else of the
    request that describes it."""

    __slots__ = ("headers", "method", "raw_headers", "raw_path", "remote", "scheme", "version")

    def __init__(self, request: RequestHead, method: str, raw_path: str) -> None:
        self.method = method
        self.raw_path = raw_path
        self.version = request.version
        self.headers = request.headers
        self.raw_headers = request.raw_headers
        self.remote = request.remote
        self.scheme = request.scheme


class AuthorizationCheck:
    """What a proxy asks: the call that it describes, and the form of the answer. Pure: the middlewares and the fast
    path both use it, around the same decisions.

    ``by_path``: the rest of the path and the method are the call. ``call`` is the request itself until it is described.
    """

    __slots__ = ("_by_path", "_codes", "_context", "_request", "call")

    def __init__(self, request: RequestHead, context: RequestContext, *, by_path: bool) -> None:
        self._request = request
        self._context = context
        self._by_path = by_path
        self._codes = ""
        self.call: RequestHead = request

    def describe(self, configuration: Configuration, resolver: Resolver) -> None:
        """Reads the description, and fills in the context with what the call would meet. Raises ProxyNotTrusted,
        BadRequest, and the errors of ``Resolver.describe`` and of CORS."""
        request, context = self._request, self._context
        if (request.remote or "") not in configuration.trusted:
            raise ProxyNotTrusted
        if self._by_path:
            self.call = _described_by_path(request)
        else:
            self._codes = _codes(context.target)
            self.call = _described(request)
        resolver.describe(configuration, self.call, context)
        if self.call.method != "OPTIONS":
            # A preflight is a call like any other here: the site answers it, if the rules let it pass.
            context.cors_enabled = True
            apply_cors(self.call, context)

    def admission(self, settings: Settings) -> WholeResponse:
        """The call may go on. The headers say who calls, as they would to a service behind this gateway. With
        ``?codes=page`` the answer is for the client, and sends it to the address."""
        if self._codes == "page":
            return _to_address(self._context)
        headers = dict(_OWN_HEADERS)
        call = self.call
        for name, value in headers_of_caller(call.method, self._context, call.raw_path, settings):
            headers[name.decode()] = value.decode("utf-8", "surrogateescape")
        return WholeResponse(b"\n", status=200, headers=headers)

    def plain_admission(self, settings: Settings) -> PlainAnswer | None:
        """``admission`` with the headers that ``add_common_headers`` adds, if these are the usual ones; else None."""
        context, call = self._context, self.call
        if (
            self._codes == "page"
            or context.security is not None
            or context.cors_headers
            or context.limit_headers
            or context.visitor_cookie is not None
            or context.queue_pass is not None
        ):
            return None
        of_caller = headers_of_caller(call.method, context, call.raw_path, settings)
        for _, value in of_caller:
            if not value.isascii():
                return None
        trace = _TRACE_ID, context.trace_id.encode()
        return PlainAnswer(b"\n", (*_OWN_FIELDS, *of_caller, trace, _SERVER))

    def refusal(self, error: GatewayError) -> WholeResponse:
        """The answer to ``error``, as the asking proxy understands it."""
        context = self._context
        if isinstance(error, RouteNotFound):
            # The proxy passes calls of the queue through; it need not ask about them.
            context.target = None
        response = refusal_response(self.call, context, error)
        if self._by_path:
            return _for_envoy(response, page=context.as_page)
        return _for_nginx(response, self._codes)


async def authorize(request: web.Request) -> web.StreamResponse:
    """Decides for the call that headers describe. ``?codes=nginx``: refusals are 401 and 403 only. ``?codes=page``: the
    answer is for the client, so a call that may go on meanwhile is sent to its address."""
    return await _answer(request, by_path=False)


async def authorize_ext(request: web.Request) -> web.StreamResponse:
    """Decides for the call that the rest of the path and the method are: Envoy's ``ext_authz``."""
    return await _answer(request, by_path=True)


BY_PATH: Final[Mapping[Handler | None, bool]] = {authorize: False, authorize_ext: True}
"""The handlers of this module, and whether the path is the call."""


async def _answer(request: web.Request, *, by_path: bool) -> WholeResponse:
    app, context = request.app, request[CONTEXT]
    check = AuthorizationCheck(request, context, by_path=by_path)
    try:
        check.describe(app[CONFIGURATION], app[RESOLVER])
        await _decide(request, check.call, context)
    except GatewayError as error:
        return check.refusal(error)
    return check.admission(app[CONFIGURATION].settings)


def _codes(target: Target | None) -> str:
    given = values_of(target.raw_query, "codes") if target is not None and target.has_query else []
    if len(given) > 1 or not set(given) <= set(_CODES):
        raise BadRequest("codes must be nginx or page, or missing")
    return given[0] if given else ""


def _described(request: RequestHead) -> DescribedCall:
    headers = request.headers
    (of_method, of_address), (other_method, other_address) = _FAMILIES
    forwarded = of_method in headers or of_address in headers
    original = other_method in headers or other_address in headers
    if forwarded == original:
        raise BadRequest(
            "method and address of the call must come in X-Forwarded-Method and X-Forwarded-Uri, or in "
            "X-Original-Method and X-Original-URI"
        )
    if original:
        of_method, of_address = other_method, other_address
    method, address = _once(headers, of_method), _once(headers, of_address)
    if method not in METHODS and (_METHOD.fullmatch(method) is None or method in _UNSUPPORTED):
        raise BadRequest(f"{of_method} is no method")
    return DescribedCall(request, method, address)


def _once(headers: Headers, name: str) -> str:
    values = headers.getall(name, ())
    if len(values) != 1 or not values[0]:
        raise BadRequest(f"{name} must be given exactly once")
    return values[0]


def _described_by_path(request: RequestHead) -> DescribedCall:
    if any(name in request.headers for family in _FAMILIES for name in family):
        raise BadRequest("the path and the method are the call here, so no header may name another one")
    if not request.raw_path.startswith(f"{EXT}/"):
        raise BadRequest("the path can be understood in two ways")
    return DescribedCall(request, request.method, request.raw_path[len(EXT) :])


async def _decide(request: web.Request, call: RequestHead, context: RequestContext) -> None:
    """Who calls, and whether the gate lets the call pass. Raises the errors of the middlewares."""
    app, target, access = request.app, context.target, context.access
    assert target is not None  # noqa: S101 - ``Resolver.describe`` has set both
    assert access is not None  # noqa: S101
    if counts_token(context):
        authenticator = app[AUTHENTICATOR]
        context.principal = authenticator.from_cache(call.headers) or await authenticator.identify(
            access,
            call.method,
            target.path,
            call.headers,
            query=target.raw_query,
            gated=context.gate_needs_token,
            identity=context.identity,
            place_is_enough=context.place_is_enough,
            origins=RequestOrigins(call, context),
        )
    if context.identity != "token":
        identify_visitor(call, context, app[VISITORS], app[ROOMS], app[OBSERVERS].metrics)
    await check_gate(request, context)


def _to_address(context: RequestContext) -> WholeResponse:
    target = context.target
    asked = "" if target is None else target.raw_path + (f"?{target.raw_query}" if target.has_query else "")
    address = asked if _OWN_ADDRESS.fullmatch(asked) else "/"
    return WholeResponse(b"\n", status=302, headers={**_OWN_HEADERS, "Location": address})


def _for_nginx(response: WholeResponse, codes: str) -> WholeResponse:
    """NGINX's ``auth_request`` knows 401 and 403, and takes all else for a fault."""
    if codes == "nginx":
        response.headers[STATUS] = str(response.status)
        if response.status not in _PASSED_BY_NGINX:
            response.set_status(403)
    return response


def _for_envoy(response: WholeResponse, *, page: bool) -> WholeResponse:
    """Envoy takes a 5xx for a fault of the authorizer, and answers with a bare 403."""
    response.headers[STATUS] = str(response.status)
    if response.status >= 500:
        response.set_status(429 if page else 403)
    return response
