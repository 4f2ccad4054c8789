"""Pages of other origins: preflights are answered, what they may not do is refused, and answers say what they may read.

A step of its own behind locating and before anything else, so that every refusal that follows can be read by the page
it is for. What may be done is decided in ``routing.crossing``.
"""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from gateway.auth.access import LEAVE_CALL
from gateway.context import Context, Exchange, LiveTable, Step
from gateway.errors import CorsRejected, CsrfRejected
from gateway.proxy.forwarded import direct_origin
from gateway.routing.cors import Asked, acts_for_user, is_own, judge


def crossing(context: Context) -> Step:
    """Makes the step."""

    def cross(request: web.BaseRequest, exchange: Exchange) -> None:
        rule = exchange.cors
        if not exchange.crosses or (rule is None and request.method != "OPTIONS"):
            return
        asked = _asked(request, exchange)
        if rule is not None:
            allowed, exchange.cors_headers = judge(rule, asked)
            if not allowed:
                raise _refusal(request, exchange)
        if asked.is_preflight:
            # Nobody else is asked: a preflight never has a token, so no gate either, and is none of the service's
            # business.
            exchange.endpoint = _answer
            exchange.needs = "nothing"

    return cross


def acting(tables: LiveTable) -> Callable[[str], bool]:
    """Tells whether a page of an origin may act with a cookie: as the CORS rule of that call says at the moment."""
    _, path = LEAVE_CALL
    return lambda page: acts_for_user(tables.now.table.cors_for(path), page)


def _asked(request: web.BaseRequest, exchange: Exchange) -> Asked:
    headers = request.headers
    origins = headers.getall("Origin", ())
    if not origins:
        return Asked(request.method, ())
    return Asked(
        request.method,
        origins,
        _is_own(request, exchange, origins[0]),
        headers.get("Access-Control-Request-Method"),
        ",".join(headers.getall("Access-Control-Request-Headers", ())),
        headers.get("Access-Control-Request-Private-Network", "").lower() == "true",
    )


def _is_own(request: web.BaseRequest, exchange: Exchange, named: str) -> bool:
    """Browsers say so themselves, and pages can't; older ones leave it to a comparison, for which proxies that end
    TLS in front must be trusted ones."""
    if list(request.headers.getall("Sec-Fetch-Site", ())) == ["same-origin"]:
        return True
    seen = exchange.origin or direct_origin(
        request.remote or "", request.scheme, request.headers.get("Host", "")
    )
    return is_own(named, seen.scheme, seen.host, seen.port)


def _refusal(request: web.BaseRequest, exchange: Exchange) -> CorsRejected | CsrfRejected:
    # A target that can't be read is no call.
    path = exchange.target.path if exchange.target is not None else ""
    # What a foreign page asks for by way of a beacon has this name, with CORS rules or without.
    return CsrfRejected() if (request.method, path) == LEAVE_CALL else CorsRejected()


async def _answer(_request: web.BaseRequest, _exchange: Exchange) -> web.StreamResponse:
    return web.Response()
