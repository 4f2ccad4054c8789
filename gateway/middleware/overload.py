"""Overload: while an instance is behind, new users are told to come back, so that arrivals never starve buyers."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.api.envelope import refusal
from gateway.api.queue import room_name
from gateway.context import CONFIGURATION, CONTEXT, LOOP_LAG, OBSERVERS, ROOMS, RequestContext
from gateway.errors import GatewayError, Overloaded
from gateway.middleware.access_log import account, complete, new_context
from gateway.middleware.cors import apply_cors
from gateway.middleware.resolve import Resolver
from gateway.server.whole_response import SERVER_NAME, WholeAnswer
from gateway.waiting_room.rooms import Rooms

RETRY_SECONDS: Final = (2.0, 8.0)


@web.middleware
async def overload(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuses new users before any work on tokens, while the event loop or Redis is behind. Raises Overloaded."""
    context = request[CONTEXT]
    if context.sheddable:
        app = request.app
        limit = app[CONFIGURATION].settings.overload_lag_ms
        if limit and (app[LOOP_LAG].milliseconds > limit or _is_crowded(app[ROOMS], request.method, context)):
            raise overloaded()
    return await handler(request)


def overloaded() -> Overloaded:
    """The refusal of a new user, each with a time of its own to come back."""
    return Overloaded(random.uniform(*RETRY_SECONDS))


def _is_crowded(rooms: Rooms, method: str, context: RequestContext) -> bool:
    """Whether Redis does not keep up with the lineups of the call's room."""
    if method != "POST":
        # A stream lives without Redis, and an EventSource that is refused does not come back.
        return False
    try:
        return rooms[room_name(context)].crowded
    except GatewayError:  # no such room: only callers with a token may learn that
        return False


def refuse_arrival(
    app: web.Application, resolver: Resolver
) -> Callable[[web.BaseRequest], WholeAnswer | None]:
    """Makes the function that refuses a request straight from the arrivals queue, outside the middlewares.

    It returns the answer, counted and logged, or None if the request brings no new user. It does no more than a
    readable refusal takes: refusing users must not be what an overloaded instance spends its time on.
    """

    def refuse(request: web.BaseRequest) -> WholeAnswer | None:
        configuration, observers = app[CONFIGURATION], app[OBSERVERS]
        context = new_context(request, configuration, observers)
        try:
            resolver.resolve(configuration, request, context)
            apply_cors(request, context)
            if not context.sheddable:
                return None
            answer = refusal(context, overloaded())
            complete(answer, context)
        except Exception:
            # The middlewares meet it again, and answer, count and log it.
            return None
        answer.headers["Server"] = SERVER_NAME
        account(observers, request.method, context, answer.status, answer.content_length or 0)
        return answer

    return refuse
