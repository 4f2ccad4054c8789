"""``GET /api/v1/queue/rooms/{room}``: what everyone may know of a room, without a token."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gateway.api.endpoints import Endpoint
from gateway.api.envelope import success
from gateway.api.notices import text_for
from gateway.api.queue import QUEUE
from gateway.api.rooms import requested_room
from gateway.context import CONTEXT
from gateway.settings.model import Settings
from gateway.waiting_room.notices import Notice
from gateway.waiting_room.state import Doors, Summary


def endpoints(settings: Settings) -> tuple[Endpoint, ...]:
    """The endpoint of this module."""
    path = f"{QUEUE}/rooms/{{room}}"
    return (Endpoint("GET", path, show_room, auth="nothing", label="queue.room"),)


async def show_room(request: web.Request) -> web.StreamResponse:
    """Shows the room, as it was within the last second."""
    room = await requested_room(request)
    summary = await room.recent.get()
    data = public_object(room.name, summary, room.notices.current, request[CONTEXT].languages)
    return success(request[CONTEXT], "room.public", data=data)


def public_object(name: str, summary: Summary, notice: Notice | None, languages: str) -> dict[str, Any]:
    """The room as everyone may see it. ``languages``: what the client asks for, as in ``Accept-Language``."""
    content: dict[str, Any] = {
        "name": name,
        "mode": summary.mode,
        "closed": Doors.CLOSED in summary.doors,
        "soldOut": Doors.SOLD_OUT in summary.doors,
        "serverTime": round(summary.now * 1000),
    }
    if summary.lanes:
        content["lanes"] = [{"name": lane.name, "share": lane.share} for lane in summary.lanes]
    opening = summary.opening
    if opening is not None:
        moments = {"opensAt": opening.opens_at, "closesAt": opening.closes_at}
        content |= {key: moment for key, moment in moments.items() if moment}
    if summary.closed_until:
        content["opensAt"] = summary.closed_until
    text = "" if notice is None else text_for(notice, languages)
    if text:
        content["notice"] = text
    return content
