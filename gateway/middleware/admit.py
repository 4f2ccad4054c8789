"""Who may go on: overload, token, gate, in this order, each a step of its own."""

from __future__ import annotations

import hmac
import random
from collections.abc import Awaitable

from aiohttp import web

from gateway.api.body import form_values
from gateway.api.envelope import NotAdmitted
from gateway.api.queue import room_name
from gateway.auth.access import LEAVE_CALL, bearer
from gateway.context import Context, Exchange, Step
from gateway.errors import (
    GatewayError,
    Overloaded,
    QueueUnavailable,
    QueueWaiting,
    RouteNotFound,
    TokenInvalid,
    TokenRequired,
)

OVERLOADED_RETRY_SECONDS = (2.0, 8.0)


def shedding(context: Context) -> Step:
    """Arrivals never starve buyers: while the loop lags, or Redis doesn't keep up with those who line up, newcomers are
    told to come back before anything is done for them."""
    limit = context.settings.overload_lag_ms

    def shed(request: web.BaseRequest, exchange: Exchange) -> None:
        if exchange.sheds and limit and (context.lag_ms() > limit or _is_crowded(context, request, exchange)):
            raise overloaded()

    return shed


def overloaded() -> Overloaded:
    """The refusal of a newcomer, each with a time of its own to come back."""
    return Overloaded(random.uniform(*OVERLOADED_RETRY_SECONDS))


def _is_crowded(context: Context, request: web.BaseRequest, exchange: Exchange) -> bool:
    if request.method != "POST":
        # A stream lives without Redis, and an EventSource that is refused does not come back.
        return False
    try:
        return context.rooms[room_name(request, exchange)].crowded
    except GatewayError:  # no such room: that is for those to know who have a token
        return False


def authenticating(context: Context) -> Step:
    """Finds out who is calling, and refuses whoever must say so and does not."""
    token = context.settings.management_token
    recall = context.authenticator.recall

    def authenticate(request: web.BaseRequest, exchange: Exchange) -> Awaitable[None] | None:
        if exchange.needs == "token":
            exchange.principal = recall(request.headers)
            if exchange.principal is None or request.method == "POST":
                return _identify(context, request, exchange)
        if exchange.needs == "management":
            _check_management(request, token)
        return None

    return authenticate


def gating(context: Context) -> Step:
    """Lets gated calls pass only for those who are allowed in, and renews their session in the same Redis call."""

    def gate(request: web.BaseRequest, exchange: Exchange) -> Awaitable[None] | None:
        if exchange.room is None or exchange.principal is None:
            return None
        return _pass_gate(context, exchange, exchange.room, exchange.principal.user_id)

    return gate


async def _pass_gate(context: Context, exchange: Exchange, room: str, user: str) -> None:
    try:
        state = await context.rooms[room].enter(user)
    except QueueUnavailable:
        if not (context.settings.queue_fail_open or exchange.renews_only):
            raise
        context.metrics.passed_unchecked()
        return
    if state.allowed_in or exchange.renews_only:
        return
    if state.waiting:
        raise QueueWaiting(state, retry_after=context.settings.queue_status_interval_seconds)
    raise NotAdmitted


async def _identify(context: Context, request: web.BaseRequest, exchange: Exchange) -> None:
    target = exchange.target
    assert target is not None  # noqa: S101 - located before
    access = exchange.access or context.tables.now.access
    form: list[str] = []
    if (request.method, target.path) == LEAVE_CALL:
        # Even if nobody needs it: what follows on the connection comes behind it.
        form = await form_values(request, "access_token", context.uploads, exchange.client)
    if exchange.principal is not None:
        return
    exchange.principal = await context.authenticator.identify(
        access,
        request.method,
        target.path,
        request.headers,
        query=target.raw_query,
        form=form,
        gated=exchange.room is not None and not exchange.renews_only,
    )


def _check_management(request: web.BaseRequest, expected: str | None) -> None:
    """While no token is set, what changes something does not exist."""
    if not expected:
        raise RouteNotFound
    if not request.headers.getall("Authorization", ()):
        raise TokenRequired
    if not has_management_token(request, expected):
        raise TokenInvalid("not the management token")


def has_management_token(request: web.BaseRequest, expected: str | None) -> bool:
    """Whether the request has the management token, which is ``expected``; never, while none is set."""
    values = request.headers.getall("Authorization", ())
    if not expected or len(values) != 1:
        return False
    given = bearer(values)
    return given is not None and hmac.compare_digest(_encoded(given), _encoded(expected))


def _encoded(text: str) -> bytes:
    """As it came: a header may hold bytes that are no UTF-8."""
    return text.encode("utf-8", "surrogateescape")
