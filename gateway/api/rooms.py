"""``/actuator/rooms``: operators look at rooms, change their limits, pause them, remove users, and read who did so."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Literal, TypeVar

from aiohttp import web

from gateway import __version__
from gateway.api.actuator import BASE
from gateway.api.body import read_body
from gateway.api.endpoints import Auth, Endpoint
from gateway.api.envelope import success
from gateway.api.history import history_object
from gateway.api.notices import EVERYONE_SHOWN
from gateway.auth.visitors import key_of, written
from gateway.context import CONFIGURATION, CONTEXT, OPERATOR, ROOMS, UPLOADS
from gateway.errors import BadRequest, FieldError, NotConfigured, NotInQueue, RoomNotFound
from gateway.observability.logging import timestamp
from gateway.query import values_of
from gateway.routing.spec.value_types import (
    COUNT,
    DURATION,
    LINEUP,
    LINEUPS,
    MODE,
    MOMENT,
    RATE,
    RELINEUP,
    TIME,
    ValueType,
)
from gateway.settings.model import Settings
from gateway.waiting_room.audit import MAX_ENTRIES, AuditEntry
from gateway.waiting_room.named_room import UnmadeRoom
from gateway.waiting_room.operations import Lift
from gateway.waiting_room.room import Room
from gateway.waiting_room.rules import RULE_NAMES, TIME_NAMES, Value, shown
from gateway.waiting_room.state import REASONS, Doors, Following, Left, Phase, Summary
from gateway.waiting_room.whereabouts import Whereabouts

T = TypeVar("T")

_WRITTEN: Final[Mapping[str, ValueType[Any]]] = {
    "rate": RATE,
    "relineup": RELINEUP,
    "lineup": LINEUP,
    "max_waiting": COUNT,
    "lineups_per_minute": LINEUPS,
    "mode": MODE,
    "opens_at": MOMENT,
    "closes_at": MOMENT,
}
"""Settings that are no times."""

MAX_BYTES = 4096
MAX_CAPACITY = 10_000_000
MIN_SECONDS = 0.001
"""One millisecond, because Redis counts in milliseconds."""
MAX_SECONDS = 7 * 24 * 3600
MAX_REASON = 200
"""In characters."""
_OR_NULL = "or null to go back to the settings"
SHOWN_ENTRIES = 100
"""Entries of the audit in an answer, unless the call wants another number."""


@dataclass(frozen=True, slots=True)
class Change:
    """The changes that an operator requests; None leaves a limit as it is."""

    capacity: int | Lift | None = None
    duration: float | Lift | None = None
    paused: bool | None = None
    lift: bool = False
    rules: Mapping[str, Value | None] = field(default_factory=dict)
    """Settings that the route file has, too; None lifts an operator's value."""
    stock: int | Literal["off"] | None = None
    """How many things are left to sell; ``off``: that is not known any more."""
    reason: str = ""
    """For the audit."""


def parse_change(body: bytes) -> Change:
    """Reads ``{"durationSeconds", "paused", "override": false, "reason"}``, and settings by the names and in the forms
    that they have in the route file; None lifts one. Raises BadRequest with every fault."""
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):  # RecursionError: JSON that is nested too deeply
        raise BadRequest("the body is not JSON") from None
    if not isinstance(given, dict):
        raise BadRequest("the body is not a JSON object")
    allowed = _allowed()
    faults = [
        FieldError(
            name[:64], str(value)[:64], f"allowed is {allowed[name][1]}" if name in allowed else "unknown"
        )
        for name, value in given.items()
        if name not in allowed or not allowed[name][0](value)
    ]
    if not given.keys() - {"reason"}:
        faults.append(FieldError("body", "{}", "allowed are " + ", ".join(allowed)))
    if "duration" in given and "durationSeconds" in given:
        faults.append(FieldError("duration", "", "is the same as durationSeconds; give one of them"))
    if faults:
        raise BadRequest("the change is not valid", tuple(faults))
    duration = "durationSeconds" if "durationSeconds" in given else "duration"
    return Change(
        _limit(given, "capacity", int),
        _limit(given, duration, _seconds),
        given.get("paused"),
        lift="override" in given,
        rules={
            name: _written(_WRITTEN[name], given[name]) if name in _WRITTEN else _time(given[name])
            for name in RULE_NAMES
            if name in given
        },
        stock=("off" if given["stock"] is None else _written(COUNT, given["stock"]))
        if "stock" in given
        else None,
        reason=given.get("reason", ""),
    )


def _allowed() -> dict[str, tuple[Callable[[object], bool], str]]:
    """What a change may contain: by name, whether a value is allowed, and which values are."""
    return {
        "capacity": (_is_capacity, f"a whole number from 0 to {MAX_CAPACITY}, {_OR_NULL}"),
        "duration": (_is_duration, f"{DURATION.wanted}, at most {MAX_SECONDS:g} s, {_OR_NULL}"),
        "durationSeconds": (
            lambda value: not isinstance(value, str) and _is_duration(value),
            f"a number from {MIN_SECONDS} to {MAX_SECONDS}, {_OR_NULL}",
        ),
        "paused": (lambda value: isinstance(value, bool), "true or false"),
        "reason": (is_reason, f"a text of at most {MAX_REASON} characters without control characters"),
        "override": (lambda value: value is False, "false, to go back to the limits of the settings"),
        "stock": (partial(_is_written, COUNT), f"{COUNT.wanted}, or null if it is not known any more"),
        **{
            name: (
                lambda value: value is None or _time(value) is not None,
                f"{TIME.wanted}, at most {MAX_SECONDS:g} s, {_OR_NULL}",
            )
            for name in TIME_NAMES
        },
        **{
            name: (partial(_is_written, kind), f"{kind.wanted}, {_OR_NULL}")
            for name, kind in _WRITTEN.items()
        },
    }


def _limit(given: Mapping[str, Any], name: str, read: Callable[[Any], T | None]) -> T | Lift | None:
    """The limit of this name, ``lift`` for a null, None if it is not given."""
    if name not in given:
        return None
    return "lift" if given[name] is None else read(given[name])


def room_object(
    name: str, summary: Summary, settings: Mapping[str, tuple[Value, str]] | None = None
) -> dict[str, Any]:
    """A room's numbers as operators see them, and its settings if they are known."""
    content: dict[str, Any] = {
        "room": name,
        "capacity": summary.capacity,
        "durationSeconds": summary.duration,
        "paused": summary.paused_by_operator,
        "closed": Doors.CLOSED in summary.doors,
        "soldOut": Doors.SOLD_OUT in summary.doors,
        "waiting": summary.waiting,
        "parked": summary.parked,
        "registered": summary.registered,
        "allowedIn": summary.allowed_in,
    }
    if summary.lanes:
        content["lanes"] = [
            {"name": lane.name, "share": lane.share, "waiting": lane.waiting} for lane in summary.lanes
        ]
    opening = summary.opening
    if opening is not None:
        moments = {"opensAt": opening.opens_at, "closesAt": opening.closes_at}
        content |= {name: moment for name, moment in moments.items() if moment}
        over = opening.phase in {Phase.NONE, Phase.OPEN}
        content["opening"] = opening.entrance if over else opening.phase.value
    if summary.closed_until:
        content["opensAt"] = summary.closed_until
    wait = summary.wait_for_newcomer()
    if wait is not None:
        content["admissionsPerSecond"] = round(summary.rate, 3)
        content["estimatedWaitSeconds"] = round(wait)
    if summary.following is not None:
        content["following"] = following_object(summary.following)
        # With fewer streams than users in line, only the older system can notify some of them.
        content["waitingWithoutStreamHere"] = max(0, summary.waiting - summary.following.streams)
    if settings:
        content["settings"] = {
            name: {"value": value if isinstance(value, int) else shown(name, value), "from": source}
            for name, (value, source) in settings.items()
        }
    return content


def audit_object(entry: AuditEntry) -> dict[str, Any]:
    """An entry of the audit as operators see it. ``user`` is there only in an act on a user."""
    content: dict[str, Any] = {
        "at": entry.at,
        "by": entry.by,
        "act": entry.act,
        "setting": entry.setting or None,
        "from": entry.before or None,
        "to": entry.after or None,
        "reason": entry.reason or None,
    }
    if entry.user:
        content["user"] = written(entry.user)
    return content


def user_object(user: str, found: Whereabouts) -> dict[str, Any]:
    """Where a user stands. Members that are unknown or do not apply are None."""
    return {
        "user": written(user),
        "state": found.state,
        "ticket": found.ticket,
        "lane": found.lane,
        "position": found.position,
        "since": found.since,
        "lastSeen": found.last_seen,
        "streams": [{"instance": name, "count": count} for name, count in found.streams.items()],
        "endings": [history_object(entry) for entry in found.endings],
    }


def following_object(following: Following) -> dict[str, str]:
    """Since when and why an older system is followed."""
    return {
        "since": timestamp(following.since),
        "lastSign": timestamp(following.last_sign),
        "sign": following.sign,
        "because": REASONS[following.sign],
    }


def endpoints(settings: Settings) -> tuple[Endpoint, ...]:
    """The endpoints below ``/actuator/rooms``."""
    reads: Auth = "management" if settings.management_reads == "token" else "nothing"
    room = f"{BASE}/rooms/{{room}}"
    return (
        Endpoint("GET", f"{BASE}/rooms", show_all, auth=reads, label="actuator.rooms"),
        Endpoint("GET", room, show, auth=reads, label="actuator.rooms"),
        Endpoint("POST", room, change, auth="management", label="actuator.rooms"),
        Endpoint("DELETE", f"{room}/users", remove, auth="management", label="actuator.rooms"),
        # What names users or operators is never open.
        Endpoint("GET", f"{room}/users", find, auth="management", label="actuator.rooms"),
        Endpoint("GET", f"{room}/history", history, auth="management", label="actuator.rooms"),
        Endpoint("GET", f"{room}/audit", audit, auth="management", label="actuator.rooms"),
    )


async def requested_room(request: web.Request, *, make: bool = False) -> Room:
    """The room of the path. ``make``: a room that calls may make, and none has made, is made. Raises RoomNotFound;
    while the gateway is not ready, and so does not know the rooms, raises NotConfigured."""
    if request.app[CONFIGURATION].tables.current.table.unready:
        raise NotConfigured
    name = request[CONTEXT].parameters["room"]
    if make:
        return await request.app[ROOMS].make(name)
    room = await request.app[ROOMS].find(name)
    if isinstance(room, UnmadeRoom):
        raise RoomNotFound(name)
    return room


async def room_shown(room: Room, summary: Summary, notice: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The room as operators see it, with its settings. ``notice``: if not that which this instance knows."""
    content = room_object(room.name, summary, await room.operations.settings())
    known = {} if room.notices.current is None else room.notices.current.texts
    if texts := known if notice is None else notice:
        content["notice"] = {language or EVERYONE_SHOWN: text for language, text in sorted(texts.items())}
    return content


async def _overview(room: Room) -> dict[str, Any]:
    """The room, and which instance was asked."""
    content = await room_shown(room, await room.overview())
    content["gateway"] = {"instance": room.presence.instance, "version": __version__}
    content["instances"] = [
        {"instance": each.name, "streams": each.streams, "version": each.version}
        for each in await room.operations.instances()
    ]
    return content


async def show_all(request: web.Request) -> web.StreamResponse:
    """Shows every room, but of those that calls have made only the ones with users in them."""
    rooms = [await _overview(room) for room in request.app[ROOMS]]
    return success(request[CONTEXT], "room.shown", data=rooms)


async def show(request: web.Request) -> web.StreamResponse:
    """Shows one room."""
    room = await requested_room(request)
    return success(request[CONTEXT], "room.shown", data=await _overview(room))


async def change(request: web.Request) -> web.StreamResponse:
    """Sets new limits, for all instances at once."""
    room = await requested_room(request, make=True)
    body = await read_body(request, MAX_BYTES, request.app[UPLOADS], request[CONTEXT].client)
    change = parse_change(body)
    summary = await room.operations.set_limits(
        capacity=change.capacity,
        duration=change.duration,
        paused=change.paused,
        lift=change.lift,
        rules=change.rules,
        stock=change.stock,
        by=request[OPERATOR].name,
        reason=change.reason,
    )
    return success(request[CONTEXT], "room.changed", data=await room_shown(room, summary))


async def find(request: web.Request) -> web.StreamResponse:
    """Shows where the user ``?id=`` stands, without ending an absence."""
    room = await requested_room(request)
    target = request[CONTEXT].target
    assert target is not None  # noqa: S101 - resolved before
    user = _requested_user(target.raw_query)
    return success(request[CONTEXT], "room.found", data=user_object(user, await room.operations.find(user)))


def _requested_user(query: str) -> str:
    """The key in the room of the user that the call names; a visitor is named as ``visitor:ID``."""
    users = values_of(query, "id")
    if len(users) != 1 or not users[0]:
        raise BadRequest("id must be given once")
    if any(character < " " or character == "\x7f" for character in users[0]):
        raise BadRequest("id must have no control characters, as no user's id has any")
    return key_of(users[0])


async def history(request: web.Request) -> web.StreamResponse:
    """What happened to the user ``?id=``, the oldest entry first."""
    room = await requested_room(request)
    target = request[CONTEXT].target
    assert target is not None  # noqa: S101 - resolved before
    entries = await room.history(_requested_user(target.raw_query))
    return success(request[CONTEXT], "room.history", data=[history_object(entry) for entry in entries])


async def remove(request: web.Request) -> web.StreamResponse:
    """Takes the slot or place from the user ``?id=``. The id is a parameter, because it may hold characters no path
    may."""
    room = await requested_room(request)
    target = request[CONTEXT].target
    assert target is not None  # noqa: S101 - resolved before
    user, reasons = _requested_user(target.raw_query), values_of(target.raw_query, "reason")
    if len(reasons) > 1 or not all(map(is_reason, reasons)):
        raise BadRequest(
            f"reason may be given once, with at most {MAX_REASON} characters and no control characters"
        )
    by, reason = request[OPERATOR].name, "".join(reasons)
    if await room.operations.remove([user], by=by, reason=reason) == [Left.NOTHING]:
        raise NotInQueue
    return success(request[CONTEXT], "room.removed")


async def audit(request: web.Request) -> web.StreamResponse:
    """The last changes of operators, the newest first."""
    room = await requested_room(request)
    target = request[CONTEXT].target
    assert target is not None  # noqa: S101 - resolved before
    given = values_of(target.raw_query, "limit") or [str(SHOWN_ENTRIES)]
    limit = int(given[0]) if len(given) == 1 and re.fullmatch("[0-9]{1,4}", given[0]) else 0
    if not 1 <= limit <= MAX_ENTRIES:
        raise BadRequest(f"limit must be given at most once, as a number from 1 to {MAX_ENTRIES}")
    entries = [audit_object(entry) for entry in await room.operations.audit(limit)]
    return success(request[CONTEXT], "room.audit", data=entries)


def is_reason(value: object, longest: int = MAX_REASON) -> bool:
    """Whether this is a text that may be an operator's, of at most ``longest`` characters."""
    return (
        isinstance(value, str)
        and len(value) <= longest
        # Cc are control characters, and a Cs can't be sent to Redis.
        and not any(unicodedata.category(character) in {"Cc", "Cs"} for character in value)
    )


def _is_capacity(value: object) -> bool:
    if isinstance(value, float):
        # JSON has only one kind of number, and 500.0 is a whole one.
        return value.is_integer() and 0 <= value <= MAX_CAPACITY
    return value is None or (
        isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_CAPACITY
    )


def _is_duration(value: object) -> bool:
    return value is None or _seconds(value) is not None


def _seconds(value: object) -> float | None:
    """The length of a session as the route file has it, in seconds; None if it is not allowed."""
    if isinstance(value, str):
        value = DURATION.read(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if MIN_SECONDS <= value <= MAX_SECONDS else None


def _time(value: object) -> float | None:
    """A time as the route file has it, in seconds; None if it is not allowed. A number may have any number of places;
    what rounds to no millisecond is not taken for 0, which switches something off."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str):
        seconds = TIME.read(value)
    else:
        seconds = round(float(value), 3) if value == 0 or MIN_SECONDS <= value <= MAX_SECONDS else None
    return seconds if seconds is not None and seconds <= MAX_SECONDS else None


def _is_written(kind: ValueType[Any], value: object) -> bool:
    return value is None or _written(kind, value) is not None


def _written(kind: ValueType[T], value: object) -> T | None:
    """A value as the route file has it; None if it is not allowed."""
    text = value if isinstance(value, str) else ""
    if isinstance(value, bool):
        text = str(value).lower() if kind is MODE else ""
    elif isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        # JSON has only one kind of number, and 500.0 is a whole one.
        text = str(int(value)) if "integer" in kind.types else ""
    elif (kind is RATE or kind is MOMENT) and text.lower() == "false":
        text = ""
    return kind.read(text)
