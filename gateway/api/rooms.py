"""``/actuator/rooms``: operators look at rooms, change their limits, pause them, and remove users."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from gateway.api.actuator import BASE
from gateway.api.body import read_body
from gateway.api.endpoints import Auth, Endpoint
from gateway.api.envelope import success
from gateway.context import CONFIGURATION, CONTEXT, ROOMS, UPLOADS
from gateway.errors import BadRequest, FieldError, NotConfigured, NotInQueue
from gateway.observability.logging import timestamp
from gateway.query import values_of
from gateway.routing.spec.value_types import RATE, TIME
from gateway.settings.model import Settings
from gateway.waiting_room.room import Room
from gateway.waiting_room.rules import RULE_NAMES, TIME_NAMES, Value
from gateway.waiting_room.state import REASONS, Following, Left, Summary

MAX_BYTES = 4096
MAX_CAPACITY = 10_000_000
MIN_SECONDS = 0.001
"""One millisecond, because Redis counts in milliseconds."""
MAX_SECONDS = 7 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Change:
    """The changes that an operator requests; None leaves a limit as it is."""

    capacity: int | None = None
    duration: float | None = None
    paused: bool | None = None
    lift: bool = False
    rules: Mapping[str, Value | None] = field(default_factory=dict)
    """Settings that the route file has, too; None lifts an operator's value."""


def parse_change(body: bytes) -> Change:
    """Reads ``{"capacity", "durationSeconds", "paused", "override": false}``, and settings by the names that they have
    in the route file. Raises BadRequest with every fault."""
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):  # RecursionError: JSON that is nested too deeply
        raise BadRequest("the body is not JSON") from None
    if not isinstance(given, dict):
        raise BadRequest("the body is not a JSON object")
    allowed = {
        "capacity": (_is_capacity, f"a whole number from 0 to {MAX_CAPACITY}"),
        "durationSeconds": (_is_duration, f"a number from {MIN_SECONDS} to {MAX_SECONDS}"),
        "paused": (lambda value: isinstance(value, bool), "true or false"),
        "override": (lambda value: value is False, "false, to go back to the limits of the settings"),
        **{
            name: (
                lambda value: value is None or _time(value) is not None,
                f"{TIME.wanted}, at most {MAX_SECONDS:g} s, or null to go back to the settings",
            )
            for name in TIME_NAMES
        },
        "rate": (
            lambda value: value is None or _rate(value) is not None,
            f"{RATE.wanted}, or null to go back to the settings",
        ),
    }
    faults = [
        FieldError(
            name[:64], str(value)[:64], f"allowed is {allowed[name][1]}" if name in allowed else "unknown"
        )
        for name, value in given.items()
        if name not in allowed or not allowed[name][0](value)
    ]
    if not given:
        faults.append(FieldError("body", "{}", "allowed are " + ", ".join(allowed)))
    if faults:
        raise BadRequest("the change is not valid", tuple(faults))
    capacity = given.get("capacity")
    return Change(
        None if capacity is None else int(capacity),
        given.get("durationSeconds"),
        given.get("paused"),
        lift="override" in given,
        rules={
            name: _rate(given[name]) if name == "rate" else _time(given[name])
            for name in RULE_NAMES
            if name in given
        },
    )


def room_object(
    name: str, summary: Summary, settings: Mapping[str, tuple[Value, str]] | None = None
) -> dict[str, Any]:
    """A room's numbers as operators see them, and its settings if they are known."""
    content: dict[str, Any] = {
        "room": name,
        "capacity": summary.capacity,
        "durationSeconds": summary.duration,
        "paused": summary.paused,
        "waiting": summary.waiting,
        "parked": summary.parked,
        "allowedIn": summary.allowed_in,
    }
    wait = summary.wait_at(summary.waiting + 1)
    if wait is not None:
        content["admissionsPerSecond"] = round(summary.rate, 3)
        content["estimatedWaitSeconds"] = round(wait)
    if summary.following is not None:
        content["following"] = following_object(summary.following)
        # With fewer streams than users in line, only the older system can notify some of them.
        content["waitingWithoutStreamHere"] = max(0, summary.waiting - summary.following.streams)
    if settings:
        content["settings"] = {
            name: {"value": value if isinstance(value, str) else f"{value:g}s", "from": source}
            for name, (value, source) in settings.items()
        }
    return content


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
    )


def _requested_room(request: web.Request) -> Room:
    """The room of the path. Raises RoomNotFound; while the gateway is not ready, and so does not know the rooms, raises
    NotConfigured."""
    if request.app[CONFIGURATION].tables.current.table.unready:
        raise NotConfigured
    return request.app[ROOMS][request[CONTEXT].parameters["room"]]


async def _shown(room: Room, summary: Summary) -> dict[str, Any]:
    return room_object(room.name, summary, await room.settings())


async def show_all(request: web.Request) -> web.StreamResponse:
    """Shows every room."""
    rooms = [await _shown(room, await room.overview()) for room in request.app[ROOMS]]
    return success(request[CONTEXT], "room.shown", data=rooms)


async def show(request: web.Request) -> web.StreamResponse:
    """Shows one room."""
    room = _requested_room(request)
    return success(request[CONTEXT], "room.shown", data=await _shown(room, await room.overview()))


async def change(request: web.Request) -> web.StreamResponse:
    """Sets new limits, for all instances at once."""
    room = _requested_room(request)
    body = await read_body(request, MAX_BYTES, request.app[UPLOADS], request[CONTEXT].client)
    change = parse_change(body)
    summary = await room.set_limits(
        capacity=change.capacity,
        duration=change.duration,
        paused=change.paused,
        lift=change.lift,
        rules=change.rules,
    )
    return success(request[CONTEXT], "room.changed", data=await _shown(room, summary))


async def remove(request: web.Request) -> web.StreamResponse:
    """Takes the slot or place from the user ``?id=``. The id is a parameter, because it may hold characters no path
    may."""
    room = _requested_room(request)
    target = request[CONTEXT].target
    assert target is not None  # noqa: S101 - resolved before
    users = values_of(target.raw_query, "id")
    if len(users) != 1 or not users[0]:
        raise BadRequest("id must be given once")
    if await room.remove([users[0]]) == [Left.NOTHING]:
        raise NotInQueue
    return success(request[CONTEXT], "room.removed")


def _is_capacity(value: object) -> bool:
    if isinstance(value, float):
        # JSON has only one kind of number, and 500.0 is a whole one.
        return value.is_integer() and 0 <= value <= MAX_CAPACITY
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_CAPACITY


def _is_duration(value: object) -> bool:
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and MIN_SECONDS <= value <= MAX_SECONDS
    )


def _time(value: object) -> float | None:
    """A time as the route file has it, in seconds; None if it is not allowed."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    seconds = TIME.read(f"{value:f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value))
    return seconds if seconds is not None and seconds <= MAX_SECONDS else None


def _rate(value: object) -> str | None:
    """A rate as the route file has it; None if it is not allowed."""
    return RATE.read(value) if isinstance(value, str) and value.lower() != "false" else None
