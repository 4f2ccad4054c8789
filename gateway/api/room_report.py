"""``GET /actuator/rooms/{room}/report``: a room's numbers minute by minute."""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final

from aiohttp import web

from gateway.api.actuator import BASE
from gateway.api.endpoints import Auth, Endpoint
from gateway.api.envelope import success
from gateway.api.rooms import requested_room
from gateway.context import CONTEXT
from gateway.errors import BadRequest
from gateway.query import values_of
from gateway.settings.model import Settings
from gateway.waiting_room.report import MAX_MINUTES, Minute

SHOWN_MINUTES: Final = 360
"""Minutes in an answer, unless the call wants another number: six hours."""


def minute_object(minute: Minute) -> dict[str, Any]:
    """A minute as operators see it. What is unknown is None."""
    return {
        "minute": minute.at,
        "arrivals": minute.arrivals,
        "admissions": minute.admissions,
        "waitP50": _rounded(minute.wait(0.5), 1),
        "waitP95": _rounded(minute.wait(0.95), 1),
        "left": minute.left,
        "parked": minute.parked,
        "evicted": minute.evicted,
        "estimateError": _rounded(minute.estimate_error, 3),
        "waiting": minute.waiting,
        "allowedIn": minute.inside,
    }


def endpoints(settings: Settings) -> tuple[Endpoint, ...]:
    """The endpoint of this module."""
    reads: Auth = "management" if settings.management_reads == "token" else "nothing"
    return (Endpoint("GET", f"{BASE}/rooms/{{room}}/report", report, auth=reads, label="actuator.rooms"),)


async def report(request: web.Request) -> web.StreamResponse:
    """The last minutes, the oldest first."""
    room = await requested_room(request)
    target = request[CONTEXT].target
    assert target is not None  # noqa: S101 - resolved before
    given = values_of(target.raw_query, "minutes") or [str(SHOWN_MINUTES)]
    count = int(given[0]) if len(given) == 1 and re.fullmatch("[0-9]{1,4}", given[0]) else 0
    if not 1 <= count <= MAX_MINUTES:
        raise BadRequest(f"minutes must be given at most once, as a number from 1 to {MAX_MINUTES}")
    found = await room.operations.report(count)
    # In a thread, since those of a day take more than ten milliseconds.
    minutes = await asyncio.to_thread(lambda: [minute_object(minute) for minute in found.minutes])
    return success(request[CONTEXT], "room.report", data=minutes)


def _rounded(value: float | None, places: int) -> float | None:
    return None if value is None else round(value, places)
