"""The gate: a gated call passes only for a user who is allowed in, and renews the session in the same Redis call."""

from __future__ import annotations

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.api.envelope import NotInQueueAtGate
from gateway.context import CONFIGURATION, CONTEXT, OBSERVERS, ROOMS
from gateway.errors import QueueUnavailable, QueueWaiting


@web.middleware
async def gate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Checks a gated call with its room. It is the last middleware: passing the gate renews a session, so only a call
    that will be served may do so. Raises QueueWaiting, NotInQueueAtGate, or QueueUnavailable while Redis is
    unavailable."""
    context = request[CONTEXT]
    if context.room is not None and context.principal is not None:
        await _pass_gate(request.app, context.room, context.principal.user_id, context.renews_only)
    return await handler(request)


async def _pass_gate(app: web.Application, room: str, user: str, renews_only: bool) -> None:
    settings = app[CONFIGURATION].settings
    try:
        state = await app[ROOMS][room].enter(user)
    except QueueUnavailable:
        if not (settings.queue_fail_open or renews_only):
            raise
        app[OBSERVERS].metrics.passed_unchecked()
        return
    if state.allowed_in or renews_only:
        return
    if state.waiting:
        raise QueueWaiting(state, retry_after=settings.queue_status_interval_seconds)
    raise NotInQueueAtGate
