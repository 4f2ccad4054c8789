"""``POST /actuator/rooms/{room}/invite``: an operator makes an invitation into a room."""

from __future__ import annotations

import json
import time
from typing import Any, Final, NamedTuple

from aiohttp import web

from gateway.api.actuator import BASE
from gateway.api.body import read_body
from gateway.api.endpoints import Endpoint
from gateway.api.envelope import success
from gateway.api.rooms import MAX_BYTES, MAX_REASON, is_reason, requested_room
from gateway.auth.invitations import MAX_USES
from gateway.auth.tokens import MAX_NAME_BYTES
from gateway.auth.visitors import key_of
from gateway.context import CONTEXT, INVITATIONS, OPERATOR, UPLOADS
from gateway.errors import BadRequest, FieldError
from gateway.routing.spec.value_types import DURATION
from gateway.settings.model import Settings

DEFAULT_SECONDS: Final = 24 * 3600.0
MAX_SECONDS: Final = 31 * 24 * 3600


class Request(NamedTuple):
    """The invitation that an operator asks for: for one user, or for any ``uses`` users."""

    user: str | None
    uses: int
    seconds: float
    """How long it is good."""
    reason: str


def parse_request(body: bytes) -> Request:
    """Reads ``{"user" | "uses", "expires", "reason"}``. Raises BadRequest with every fault."""
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):  # RecursionError: JSON that is nested too deeply
        raise BadRequest("the body is not JSON") from None
    if not isinstance(given, dict):
        raise BadRequest("the body is not a JSON object")
    allowed = {
        "user": (_is_user, f"a user's id of 1 to {MAX_NAME_BYTES} bytes"),
        "uses": (_is_uses, f"a whole number from 1 to {MAX_USES}"),
        "expires": (
            lambda value: _seconds(value) is not None,
            f"{DURATION.wanted}, at most {MAX_SECONDS // 86_400} days",
        ),
        "reason": (is_reason, f"a text of at most {MAX_REASON} characters without control characters"),
    }
    faults = [
        FieldError(
            name[:64], str(value)[:64], f"allowed is {allowed[name][1]}" if name in allowed else "unknown"
        )
        for name, value in given.items()
        if name not in allowed or not allowed[name][0](value)
    ]
    if ("user" in given) == ("uses" in given):
        faults.append(FieldError("body", "", "allowed is either user, or uses"))
    if faults:
        raise BadRequest("the invitation is not valid", tuple(faults))
    seconds = _seconds(given["expires"]) if "expires" in given else DEFAULT_SECONDS
    assert seconds is not None  # noqa: S101 - checked above
    return Request(given.get("user"), int(given.get("uses", 1)), seconds, given.get("reason", ""))


def endpoints(settings: Settings) -> tuple[Endpoint, ...]:
    """The endpoint of this module."""
    path = f"{BASE}/rooms/{{room}}/invite"
    return (Endpoint("POST", path, invite, auth="management", label="actuator.rooms"),)


async def invite(request: web.Request) -> web.StreamResponse:
    """Makes an invitation, and writes that into the audit."""
    room = await requested_room(request, make=True)
    asked = parse_request(await read_body(request, MAX_BYTES, request.app[UPLOADS], request[CONTEXT].client))
    invitations = request.app[INVITATIONS]
    if not invitations:
        missing = FieldError("INVITE_SECRETS", "", "it is not set, so there are no invitations")
        raise BadRequest("there are no invitations", (missing,))
    expires_at = round((time.time() + asked.seconds) * 1000)
    user = None if asked.user is None else key_of(asked.user)
    text = invitations.make(room.name, expires_at=expires_at, user=user, uses=asked.uses)
    await room.operations.note(
        "invite",
        user=user or "",
        what=f"{asked.uses} use{'s' if asked.uses > 1 else ''}",
        by=request[OPERATOR].name,
        reason=asked.reason,
    )
    content: dict[str, Any] = {
        "room": room.name,
        "invite": text,
        "uses": asked.uses,
        "expiresAt": expires_at,
    }
    if asked.user is not None:
        content["user"] = asked.user
    return success(request[CONTEXT], "room.invited", data=content)


def _is_user(value: object) -> bool:
    try:
        return isinstance(value, str) and 1 <= len(value.encode()) <= MAX_NAME_BYTES
    except UnicodeEncodeError:
        return False


def _is_uses(value: object) -> bool:
    if isinstance(value, float):
        # JSON has only one kind of number, and 5.0 is a whole one.
        return value.is_integer() and 1 <= value <= MAX_USES
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_USES


def _seconds(value: object) -> float | None:
    """A duration as the route file has it, in seconds; None if it is not allowed."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    seconds = DURATION.read(str(value))
    return seconds if seconds is not None and seconds <= MAX_SECONDS else None
