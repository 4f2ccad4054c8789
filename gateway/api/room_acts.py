"""``POST /actuator/rooms/{room}/…``: operators' acts that are no settings: pausing, closing, selling out, emptying."""

from __future__ import annotations

import json
import time
from datetime import datetime
from functools import partial
from typing import Any, Final, NamedTuple

from aiohttp import web

from gateway.api.actuator import BASE
from gateway.api.body import read_body
from gateway.api.endpoints import Endpoint
from gateway.api.envelope import success
from gateway.api.rooms import MAX_BYTES, MAX_REASON, is_reason, requested_room, room_shown
from gateway.context import CONTEXT, OPERATOR, UPLOADS
from gateway.errors import BadRequest, FieldError
from gateway.settings.model import Settings
from gateway.waiting_room.room import DoorAct, Room
from gateway.waiting_room.state import Summary

PAUSES: Final = {"pause": True, "resume": False}
DOORS: Final[dict[str, DoorAct]] = {
    "close": "close",
    "reopen": "reopen",
    "sold-out": "sold_out",
    "empty": "empty",
}
"""The last segment of the path, and what the room calls it."""

_UNTIL: Final = (
    "a moment in the future with a time zone, as 2026-12-01T20:00:00+09:00, or in epoch milliseconds"
)


class Order(NamedTuple):
    """What an operator says besides the act itself. ``until`` in epoch milliseconds; 0: not given."""

    reason: str = ""
    until: int = 0


def parse_order(body: bytes, act: str, now: float) -> Order:
    """Reads ``{"reason", "until"}``; an empty body is allowed, and ``until`` only to close. ``now``: seconds since the
    epoch. Raises BadRequest with every fault."""
    if not body:
        return Order()
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):  # RecursionError: JSON that is nested too deeply
        raise BadRequest("the body is not JSON") from None
    if not isinstance(given, dict):
        raise BadRequest("the body is not a JSON object")
    faults = []
    until = 0
    for name, value in given.items():
        if name == "until" and act == "close":
            until = _moment(value, now)
            if not until:
                faults.append(FieldError(name, str(value)[:64], f"allowed is {_UNTIL}"))
        elif name != "reason":
            faults.append(FieldError(name[:64], str(value)[:64], "unknown"))
        elif not is_reason(value):
            allowed = f"a text of at most {MAX_REASON} characters without control characters"
            faults.append(FieldError(name, str(value)[:64], f"allowed is {allowed}"))
    if faults:
        raise BadRequest("the order is not valid", tuple(faults))
    return Order(given.get("reason", ""), until)


def _moment(value: Any, now: float) -> int:
    """A moment in the future in epoch milliseconds; 0 if it is none."""
    found = value if isinstance(value, int) and not isinstance(value, bool) else 0
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
            found = round(moment.timestamp() * 1000) if moment.tzinfo is not None else 0
        except (ValueError, OverflowError):
            return 0
    return found if now * 1000 < found <= _LAST else 0


_LAST: Final = 253_402_300_799_999
"""The end of the year 9999, in epoch milliseconds."""


def endpoints(settings: Settings) -> tuple[Endpoint, ...]:
    """The endpoints below ``/actuator/rooms/{room}`` for acts."""
    room = f"{BASE}/rooms/{{room}}"
    return tuple(
        Endpoint("POST", f"{room}/{act}", partial(_act, act), auth="management", label="actuator.rooms")
        for act in (*PAUSES, *DOORS)
    )


async def _act(act: str, request: web.Request) -> web.StreamResponse:
    room = requested_room(request)
    body = await read_body(request, MAX_BYTES, request.app[UPLOADS], request[CONTEXT].client)
    order = parse_order(body, act, time.time())
    summary = await _carry_out(room, act, order, request[OPERATOR].name)
    return success(request[CONTEXT], "room.changed", data=await room_shown(room, summary))


async def _carry_out(room: Room, act: str, order: Order, by: str) -> Summary:
    if act in PAUSES:
        return await room.set_limits(paused=PAUSES[act], by=by, reason=order.reason)
    return await room.set_doors(DOORS[act], until=order.until, by=by, reason=order.reason)
