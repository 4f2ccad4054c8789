"""``/api/v1/queue/**``: entering a room's line, reading one's state, leaving."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from aiohttp import web

from gateway.api.endpoints import Endpoint
from gateway.api.envelope import state_response, success
from gateway.context import ADMISSIONS, CONTEXT, ROOMS, RequestContext
from gateway.errors import BadRequest, NotAllowedIn, NotInQueue, QueueStorageFull
from gateway.query import values_of
from gateway.settings.model import Settings
from gateway.waiting_room.keys import DEFAULT_ROOM
from gateway.waiting_room.state import Left, StateKind

if TYPE_CHECKING:
    from gateway.waiting_room.room import Room, What

QUEUE = "/api/v1/queue"

STORAGE_FULL_RETRY_SECONDS = (5.0, 15.0)
"""Memory becomes free as users leave, or when an operator adds some. Each caller gets a random time from this range."""

_LINEUP_MESSAGES = {
    StateKind.ADMITTED: "lineup.admitted",
    StateKind.ALLOWED_IN: "lineup.already",
    StateKind.WAITING: "lineup.waiting",
}


def room_name(context: RequestContext) -> str:
    """The room of a call: ``?room=``, at most once, else ``default``. Raises BadRequest, also for a malformed query."""
    target = context.target
    if target is None or not target.has_query:
        return DEFAULT_ROOM
    names = values_of(target.raw_query, "room")
    if len(names) > 1:
        raise BadRequest("room is given several times")
    return names[0] if names else DEFAULT_ROOM


def caller(context: RequestContext) -> str:
    """The calling user. The gateway never answers these calls without one."""
    assert context.principal is not None  # noqa: S101 - the authentication middleware refused before
    return context.principal.user_id


def endpoints(settings: Settings) -> tuple[Endpoint, ...]:
    """The endpoints below ``/api/v1/queue``."""
    return (
        Endpoint("POST", f"{QUEUE}/lineup", lineup, label="queue.lineup", sheddable=True),
        Endpoint("GET", f"{QUEUE}/status", status, label="queue.status"),
        Endpoint("DELETE", f"{QUEUE}/allowed-in-token", drop_slot, label="queue.allowed-in-token"),
        Endpoint("DELETE", f"{QUEUE}/waiting-token", drop_place, label="queue.waiting-token"),
        Endpoint("POST", f"{QUEUE}/leave", leave, label="queue.leave"),
    )


async def lineup(request: web.Request) -> web.StreamResponse:
    """Lines the caller up, or admits the caller at once."""
    user = caller(request[CONTEXT])
    state = await _room(request).lineup(user)
    if state.kind is StateKind.FULL:
        raise QueueStorageFull(random.uniform(*STORAGE_FULL_RETRY_SECONDS))
    if state.waiting:
        request.app[ADMISSIONS].waits(state.room, user, state.ticket, request[CONTEXT].trace)
    return state_response(request[CONTEXT], _LINEUP_MESSAGES[state.kind], state)


async def status(request: web.Request) -> web.StreamResponse:
    """The caller's state."""
    state = await _room(request).status(caller(request[CONTEXT]))
    if state.kind is StateKind.NONE:
        raise NotInQueue
    key = "status.waiting" if state.waiting else "status.allowed_in"
    return state_response(request[CONTEXT], key, state)


async def drop_slot(request: web.Request) -> web.StreamResponse:
    """Gives up the caller's slot. The next user in line gets it at once."""
    if await _leave(request, "slot") is Left.NOTHING:
        raise NotAllowedIn
    return success(request[CONTEXT], "left.slot")


async def drop_place(request: web.Request) -> web.StreamResponse:
    """Gives up the caller's place in line."""
    if await _leave(request, "line") is Left.NOTHING:
        raise NotInQueue
    return success(request[CONTEXT], "left.place")


async def leave(request: web.Request) -> web.StreamResponse:
    """Gives up slot or place, whichever the caller has. Made for a page that is being closed, which reads no answer."""
    await _leave(request, "both")
    return web.Response(status=204, headers={"Cache-Control": "no-store"})


async def _leave(request: web.Request, what: What) -> Left:
    return await _room(request).leave(caller(request[CONTEXT]), what)


def _room(request: web.Request) -> Room:
    return request.app[ROOMS][room_name(request[CONTEXT])]
