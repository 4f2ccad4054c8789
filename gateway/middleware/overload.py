"""Overload: while an instance is behind, it asks new users to come back later, so that arrivals never starve buyers."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.api.envelope import error_response
from gateway.api.queue import room_name
from gateway.context import CONFIGURATION, CONTEXT, LOOP_LAG, OBSERVERS, ROOMS, RequestContext
from gateway.errors import GatewayError, Overloaded
from gateway.middleware.access_log import add_common_headers, new_context
from gateway.middleware.cors import apply_cors
from gateway.middleware.resolve import RESOLVER, Resolver
from gateway.observability.loop_lag import LoopLag
from gateway.request_accounting import account
from gateway.routing.cors import Headers
from gateway.server.arrivals import RefusalOf
from gateway.server.head import RequestHead
from gateway.server.whole_response import SERVER_NAME, WholeResponse
from gateway.waiting_room.rooms import Rooms

RETRY_SECONDS: Final = (2.0, 8.0)


@web.middleware
async def overload(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuses new users before any work on tokens, while the event loop or Redis is behind. Raises Overloaded."""
    context = request[CONTEXT]
    if context.sheddable:
        app = request.app
        limit = app[CONFIGURATION].settings.overload_lag_ms
        check_overload(context, request.method, limit, app[LOOP_LAG], app[ROOMS])
    return await handler(request)


def check_overload(
    context: RequestContext, method: str, limit: float, loop_lag: LoopLag, rooms: Rooms
) -> None:
    """Raises Overloaded for a new user if the event loop is ``limit`` milliseconds behind (0: no limit), or Redis."""
    if limit and context.sheddable and (loop_lag.milliseconds > limit or _is_crowded(rooms, method, context)):
        raise overloaded()


def overloaded() -> Overloaded:
    """The refusal of a new user, with a random time to come back."""
    return Overloaded(random.uniform(*RETRY_SECONDS))


def _is_crowded(rooms: Rooms, method: str, context: RequestContext) -> bool:
    """Whether Redis can't keep up with the lineups of the call's room."""
    if method != "POST":
        # A stream works without Redis, and an EventSource that is refused does not come back.
        return False
    try:
        return rooms[room_name(context)].crowded
    except GatewayError:  # no such room: only callers with a token may learn that
        return False


def refuse_arrival(app: web.Application, resolver: Resolver) -> RefusalOf:
    """Creates the function that refuses a request straight from the arrivals queue, outside the middlewares.

    It returns the answer, counted and logged, or None if the request does not bring a new user. It does only what a
    readable refusal needs, because an overloaded instance must not spend its time on refusals.
    """

    def refuse(head: RequestHead) -> WholeResponse | None:
        configuration, observers = app[CONFIGURATION], app[OBSERVERS]
        context = new_context(head, configuration, observers)
        try:
            resolver.resolve(configuration, head, context)
            apply_cors(head, context)
            if not context.sheddable:
                return None
            response = error_response(context, overloaded())
            add_common_headers(response, context)
        except Exception:
            # The middlewares will raise the same error, and answer, count and log it.
            return None
        response.headers["Server"] = SERVER_NAME
        account(observers, head.method, context, response.status, response.content_length or 0)
        return response

    return refuse


def cors_headers_of(app: web.Application) -> Callable[[RequestHead], Headers]:
    """Creates the function that returns the CORS headers of an answer that no middleware creates."""

    def headers(head: RequestHead) -> Headers:
        configuration = app[CONFIGURATION]
        context = new_context(head, configuration, app[OBSERVERS])
        try:
            app[RESOLVER].resolve(configuration, head, context)
            apply_cors(head, context)
        except GatewayError:
            # CORS may already have been decided for a call that is refused.
            pass
        return context.cors_headers

    return headers
