"""``GET /api/v1/queue/history``: what happened to the caller in a room."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gateway.api.endpoints import Endpoint
from gateway.api.envelope import success
from gateway.api.queue import QUEUE, caller, room_name
from gateway.context import CONTEXT, ROOMS
from gateway.settings.model import Settings
from gateway.waiting_room.history import HistoryEntry


def history_object(entry: HistoryEntry) -> dict[str, Any]:
    """An entry as clients and operators see it. ``reason`` and ``ticket`` are None where there is none."""
    return entry._asdict()


def endpoints(settings: Settings) -> tuple[Endpoint, ...]:
    """The endpoint of this module."""
    return (Endpoint("GET", f"{QUEUE}/history", own_history, label="queue.history", of_room=True),)


async def own_history(request: web.Request) -> web.StreamResponse:
    """What happened to the caller, the oldest entry first. It does not count as a sighting."""
    context = request[CONTEXT]
    room = await request.app[ROOMS].find(room_name(context))
    entries = await room.history(caller(context))
    return success(context, "history", data=[history_object(entry) for entry in entries])
