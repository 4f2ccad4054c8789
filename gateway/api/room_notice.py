"""``POST /actuator/rooms/{room}/notice``: what operators tell all users of a room."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from aiohttp import web

from gateway.api.actuator import BASE
from gateway.api.body import read_body
from gateway.api.endpoints import Endpoint
from gateway.api.envelope import success
from gateway.api.i18n import LOCALES
from gateway.api.notices import EVERYONE
from gateway.api.rooms import MAX_BYTES, MAX_REASON, is_reason, requested_room, room_shown
from gateway.context import CONTEXT, OPERATOR, UPLOADS
from gateway.errors import BadRequest, FieldError
from gateway.settings.model import Settings
from gateway.waiting_room.notices import MAX_CHARACTERS


class Wanted(NamedTuple):
    """What an operator wants to be told. ``text``: empty to take it back. ``language``: whom; empty: everyone without a
    text of their own, or, to take it back, everyone."""

    text: str
    language: str = EVERYONE
    reason: str = ""


def parse_wanted(body: bytes) -> Wanted:
    """Reads ``{"text", "lang", "reason"}``, or ``{"clear": true, "lang", "reason"}``. Raises BadRequest with every
    fault."""
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):  # RecursionError: JSON that is nested too deeply
        raise BadRequest("the body is not JSON") from None
    if not isinstance(given, dict):
        raise BadRequest("the body is not a JSON object")
    faults = [
        FieldError(
            name[:64], str(value)[:64], f"allowed is {_ALLOWED[name]}" if name in _ALLOWED else "unknown"
        )
        for name, value in given.items()
        if not _is_allowed(name, value)
    ]
    if ("text" in given) is ("clear" in given):
        faults.append(FieldError("body", "", "allowed is either text or clear"))
    if faults:
        raise BadRequest("the notice is not valid", tuple(faults))
    return Wanted(given.get("text", ""), given.get("lang", EVERYONE), given.get("reason", ""))


_ALLOWED: Final[Mapping[str, str]] = {
    "text": f"a text of 1 to {MAX_CHARACTERS} characters without control characters",
    "clear": "true, to take the notice back",
    "lang": "one of " + ", ".join(LOCALES),
    "reason": f"a text of at most {MAX_REASON} characters without control characters",
}


def _is_allowed(name: str, value: Any) -> bool:
    if name == "text":
        return is_reason(value, MAX_CHARACTERS) and bool(value.strip())
    if name == "clear":
        return value is True
    if name == "lang":
        return isinstance(value, str) and value in LOCALES
    return name == "reason" and is_reason(value)


def endpoints(settings: Settings) -> tuple[Endpoint, ...]:
    """The endpoint of this module."""
    path = f"{BASE}/rooms/{{room}}/notice"
    return (Endpoint("POST", path, set_notice, auth="management", label="actuator.rooms"),)


async def set_notice(request: web.Request) -> web.StreamResponse:
    """Tells all users of a room something, or takes it back."""
    room = await requested_room(request, make=True)
    wanted = parse_wanted(await read_body(request, MAX_BYTES, request.app[UPLOADS], request[CONTEXT].client))
    summary, texts = await room.operations.set_notice(
        wanted.language,
        wanted.text,
        drop_all=not wanted.text and not wanted.language,
        by=request[OPERATOR].name,
        reason=wanted.reason,
    )
    shown = await room_shown(room, summary, texts)
    return success(request[CONTEXT], "room.changed", data=shown)
