"""``/api/v1/queue/**``: lining up, asking, leaving."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from aiohttp import web

from gateway.api.endpoints import Endpoint
from gateway.api.envelope import standing, success
from gateway.context import Context, Exchange
from gateway.errors import BadRequest, NotAllowedIn, NotInQueue, QueueStorageFull
from gateway.query import values_of
from gateway.waiting_room.keys import DEFAULT_ROOM
from gateway.waiting_room.state import Kind, Left

if TYPE_CHECKING:
    from gateway.waiting_room.room import Room, What

QUEUE = "/api/v1/queue"

STORAGE_FULL_RETRY_SECONDS = (5.0, 15.0)
"""Memory comes back as users leave, or when an operator gives more. Each caller gets a time of its own."""

_LINEUP_MESSAGES = {
    Kind.ADMITTED: "lineup.admitted",
    Kind.ALLOWED_IN: "lineup.already",
    Kind.WAITING: "lineup.waiting",
}


def room_name(request: web.BaseRequest, exchange: Exchange) -> str:
    """The room a call is about: ``?room=``, once at most, else ``default``. Raises BadRequest, also for a query that
    is malformed."""
    target = exchange.target
    if target is None or not target.has_query:
        return DEFAULT_ROOM
    names = values_of(target.raw_query, "room")
    if len(names) > 1:
        raise BadRequest("room is given several times")
    return names[0] if names else DEFAULT_ROOM


def caller(exchange: Exchange) -> str:
    """The user who is calling. These calls are never answered without one."""
    assert exchange.principal is not None  # noqa: S101 - the authenticating middleware refused before
    return exchange.principal.user_id


class QueueApi:
    """The calls of the waiting room, but for the stream."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def endpoints(self) -> tuple[Endpoint, ...]:
        """What there is below ``/api/v1/queue``."""
        return (
            Endpoint("POST", f"{QUEUE}/lineup", self.lineup, label="queue.lineup", sheds=True),
            Endpoint("GET", f"{QUEUE}/status", self.status, label="queue.status"),
            Endpoint("DELETE", f"{QUEUE}/allowed-in-token", self.drop_slot, label="queue.allowed-in-token"),
            Endpoint("DELETE", f"{QUEUE}/waiting-token", self.drop_place, label="queue.waiting-token"),
            Endpoint("POST", f"{QUEUE}/leave", self.leave, label="queue.leave"),
        )

    async def lineup(self, request: web.BaseRequest, exchange: Exchange) -> web.StreamResponse:
        """Asks to enter."""
        user = caller(exchange)
        state = await self._room(request, exchange).lineup(user)
        if state.kind is Kind.FULL:
            raise QueueStorageFull(random.uniform(*STORAGE_FULL_RETRY_SECONDS))
        if state.waiting:
            self._context.admissions.waits(state.room, user, state.ticket, exchange.trace)
        return standing(exchange, _LINEUP_MESSAGES[state.kind], state)

    async def status(self, request: web.BaseRequest, exchange: Exchange) -> web.StreamResponse:
        """Where the caller stands."""
        state = await self._room(request, exchange).status(caller(exchange))
        if state.kind is Kind.NONE:
            raise NotInQueue
        key = "status.waiting" if state.waiting else "status.allowed_in"
        return standing(exchange, key, state)

    async def drop_slot(self, request: web.BaseRequest, exchange: Exchange) -> web.StreamResponse:
        """Gives up the slot, which goes to the next at once."""
        if await self._leave(request, exchange, "slot") is Left.NOTHING:
            raise NotAllowedIn
        return success(exchange, "left.slot")

    async def drop_place(self, request: web.BaseRequest, exchange: Exchange) -> web.StreamResponse:
        """Gives up the place in line."""
        if await self._leave(request, exchange, "line") is Left.NOTHING:
            raise NotInQueue
        return success(exchange, "left.place")

    async def leave(self, request: web.BaseRequest, exchange: Exchange) -> web.StreamResponse:
        """Gives up whatever there is. Made for a page that is being closed, which reads no answer."""
        await self._leave(request, exchange, "both")
        return web.Response(status=204, headers={"Cache-Control": "no-store"})

    async def _leave(self, request: web.BaseRequest, exchange: Exchange, what: What) -> Left:
        return await self._room(request, exchange).leave(caller(exchange), what)

    def _room(self, request: web.BaseRequest, exchange: Exchange) -> Room:
        return self._context.rooms[room_name(request, exchange)]
