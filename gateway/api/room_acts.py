"""``POST /actuator/rooms/{room}/…``: operators' acts that are no settings: pausing, closing, selling out, emptying, and
putting a user in front."""

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
from gateway.api.rooms import MAX_BYTES, MAX_REASON, is_reason, requested_room, room_shown, user_object
from gateway.auth.visitors import key_of
from gateway.context import CONTEXT, OPERATOR, UPLOADS
from gateway.errors import BadRequest, FieldError, NotInQueue
from gateway.settings.model import Settings
from gateway.waiting_room.operations import DoorAct
from gateway.waiting_room.room import Room
from gateway.waiting_room.state import Summary

PAUSES: Final = {"pause": True, "resume": False}
DOORS: Final[dict[str, DoorAct]] = {
    "close": "close",
    "reopen": "reopen",
    "sold-out": "sold_out",
    "empty": "empty",
}
"""The last segment of the path, and what the room calls it."""

FRONT: Final = "front"
MAX_USER: Final = 300
"""In characters: an id of 255 bytes, and ``visitor:`` before that of a visitor."""
_USER: Final = "a user's id as in the token, or visitor:ID, without control characters"
_UNTIL: Final = (
    "a moment in the future with a time zone, as 2026-12-01T20:00:00+09:00, or in epoch milliseconds"
)


class Order(NamedTuple):
    """What an operator says besides the act itself. ``until`` in epoch milliseconds; 0: not given. ``user``: whom it is
    about."""

    reason: str = ""
    until: int = 0
    user: str = ""


def parse_order(body: bytes, act: str, now: float) -> Order:
    """Reads ``{"reason", "until", "user"}``: ``until`` is for ``close`` only, and ``front`` needs ``user``. For other
    acts the body may be empty. ``now``: seconds since the epoch. Raises BadRequest with every fault."""
    if not body and act != FRONT:
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
        elif name == "user" and act == FRONT:
            if not (value and is_reason(value, MAX_USER)):
                faults.append(FieldError(name, str(value)[:64], f"allowed is {_USER}"))
        elif name != "reason":
            faults.append(FieldError(name[:64], str(value)[:64], "unknown"))
        elif not is_reason(value):
            allowed = f"a text of at most {MAX_REASON} characters without control characters"
            faults.append(FieldError(name, str(value)[:64], f"allowed is {allowed}"))
    if act == FRONT and "user" not in given:
        faults.append(FieldError("user", "", f"must be given: {_USER}"))
    if faults:
        raise BadRequest("the order is not valid", tuple(faults))
    return Order(given.get("reason", ""), until, given.get("user", ""))


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
    acts = {act: partial(_act, act) for act in (*PAUSES, *DOORS)} | {FRONT: front}
    return tuple(
        Endpoint("POST", f"{room}/{act}", handler, auth="management", label="actuator.rooms")
        for act, handler in acts.items()
    )


async def front(request: web.Request) -> web.StreamResponse:
    """Puts a user in line in front of all others. Raises NotInQueue for a user without a place in line."""
    room = await requested_room(request)
    body = await read_body(request, MAX_BYTES, request.app[UPLOADS], request[CONTEXT].client)
    order = parse_order(body, FRONT, time.time())
    user = key_of(order.user)
    if not await room.operations.front(user, by=request[OPERATOR].name, reason=order.reason):
        raise NotInQueue
    return success(request[CONTEXT], "room.found", data=user_object(user, await room.operations.find(user)))


async def _act(act: str, request: web.Request) -> web.StreamResponse:
    room = await requested_room(request, make=True)
    body = await read_body(request, MAX_BYTES, request.app[UPLOADS], request[CONTEXT].client)
    order = parse_order(body, act, time.time())
    summary = await _carry_out(room, act, order, request[OPERATOR].name)
    return success(request[CONTEXT], "room.changed", data=await room_shown(room, summary))


async def _carry_out(room: Room, act: str, order: Order, by: str) -> Summary:
    if act in PAUSES:
        return await room.operations.set_limits(paused=PAUSES[act], by=by, reason=order.reason)
    return await room.operations.set_doors(DOORS[act], until=order.until, by=by, reason=order.reason)
