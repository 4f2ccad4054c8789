"""The gate: a gated call passes only for a user who is allowed in, and renews the session in the same Redis call."""

from __future__ import annotations

from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.api.envelope import NotInQueueAtGate, status_of
from gateway.api.queue import is_prefetch, issue_pass, refusal_of
from gateway.auth.csrf import Headers
from gateway.context import CONFIGURATION, CONTEXT, OBSERVERS, PASSES, ROOMS, RequestContext
from gateway.errors import GatewayError, PrefetchRefused, QueueUnavailable, QueueWaiting
from gateway.observability.metrics import Metrics
from gateway.settings.model import Settings
from gateway.waiting_room.room import Room
from gateway.waiting_room.rooms import Rooms
from gateway.waiting_room.state import State

_BROKEN_SERVICE: Final = frozenset({502, 503, 504})


@web.middleware
async def gate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Checks a gated call with its room. It is the last middleware: passing the gate renews a session, so only a call
    that will be served may do so. Raises QueueWaiting, NotInQueueAtGate, PrefetchRefused, or QueueUnavailable
    while Redis is unavailable."""
    context = request[CONTEXT]
    if (
        context.room is not None
        and not passes_by_rule(context, request.app[OBSERVERS].metrics)
        and (member := context.member) is not None
        and not skips_gate(request.app[ROOMS][context.room], context, request.headers)
    ):
        await _pass_gate(request.app, context, context.room, member)
    try:
        return await handler(request)
    except GatewayError as error:
        note_failure(request.app[ROOMS], context, error)
        raise


def passes_by_rule(context: RequestContext, metrics: Metrics) -> bool:
    """Whether the caller passes the gate without a place. Then Redis is not asked, and the call is counted."""
    name = context.bypass
    if name is None or context.room is None:
        return False
    metrics.bypassed(context.room, name)
    return True


def skips_gate(room: Room, context: RequestContext, headers: Headers) -> bool:
    """Whether the call goes on without asking the room: it is loaded in advance, and needs no place. Raises
    PrefetchRefused if it needs one."""
    if not is_prefetch(headers):
        return False
    if room.mode == "on" and not context.renews_only:
        raise PrefetchRefused
    return True


async def _pass_gate(app: web.Application, context: RequestContext, room: str, user: str) -> None:
    settings, metrics = app[CONFIGURATION].settings, app[OBSERVERS].metrics
    entered = app[ROOMS][room]
    try:
        state = await entered.enter(user)
    except QueueUnavailable as error:
        check_unavailable(entered, error, settings, context.renews_only, metrics)
    else:
        check_place(entered, state, settings, context.renews_only, metrics)
        context.may_reopen_claim = state.may_reopen
        if (passes := app.get(PASSES)) is not None:
            issue_pass(passes, context, state)


def check_place(room: Room, state: State, settings: Settings, renews_only: bool, metrics: Metrics) -> None:
    """Whether a user in this state passes the gate. Raises QueueWaiting, NotInQueueAtGate or SoldOut if not."""
    if state.allowed_in or renews_only:
        return
    if state.pending:
        _refuse(room, QueueWaiting(state, retry_after=settings.queue_status_interval_seconds), metrics)
    else:
        _refuse(room, refusal_of(state) or NotInQueueAtGate(), metrics)


def note_failure(rooms: Rooms, context: RequestContext, error: GatewayError) -> None:
    """The gateway answers a gated call with ``error``. If that is a 502, 503 or 504, and the call is one of the first
    after a promotion, the call does not use up the user's claim window."""
    if context.may_reopen_claim and status_of(error) in _BROKEN_SERVICE:
        context.may_reopen_claim = False
        if context.room is not None and (member := context.member) is not None:
            rooms[context.room].reopen(member)


def check_unavailable(
    room: Room, error: QueueUnavailable, settings: Settings, renews_only: bool, metrics: Metrics
) -> None:
    """Whether a call passes the gate unchecked while Redis is unavailable. Raises ``error`` if not."""
    if room.mode != "off" and not (settings.queue_fail_open or renews_only):
        _refuse(room, error, metrics)
    metrics.passed_unchecked()


def _refuse(room: Room, error: GatewayError, metrics: Metrics) -> None:
    """Raises ``error``; a room that is only observed counts it."""
    if room.mode != "observe":
        raise error
    metrics.would_refuse(room.name, error.code)
