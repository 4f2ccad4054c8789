"""Warnings about rooms: names that are probably misspelled, sessions and openings that are hardly meant."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import urlsplit

from gateway.errors import BadRequest
from gateway.query import values_of
from gateway.room_names import STAR, RoomEntries
from gateway.routing.gates import RoomLimits
from gateway.routing.spec.issues import Issues
from gateway.routing.spec.template_warnings import warn_of_templates
from gateway.routing.table import RouteTable
from gateway.settings.spelling import nearest

_MAX_SESSION_SECONDS: Final = 86_400.0
_REDIRECTION: Final = re.compile(r"\[RedirectTo \d+ = (.*), includeRequestParams = (?:true|false)\]")
_QUEUE: Final = "/api/v1/queue/"


def warn_of_rooms(
    table: RouteTable, gates: Mapping[str, int], rooms: Mapping[str, int], issues: Issues
) -> None:
    """Adds these warnings. ``gates`` and ``rooms``: the rooms that gates and ``rooms:`` name, with their lines."""
    listed, gated = ["default", *rooms], sorted(gates)
    warn_of_templates(gates, rooms, issues)
    _warn_of_redirections(table, {*listed, *gated}, issues)
    for room, line in gates.items():
        if STAR not in room and room not in listed and (near := nearest(room, listed)) is not None:
            message = (
                f"the gate's room {room!r} is not listed under rooms and is nearly {near!r}: a place in one is none in "
                f"the other. Correct the name, or list {room!r} under rooms if it is meant"
            )
            issues.warn(line, "room-name", message)
    for room, line in rooms.items():
        near = nearest(room, gated)
        if STAR not in room and room not in gated and near is not None and near in listed:
            message = f"room {room!r} has no gate and is nearly {near!r}, which has one: correct its name or remove it"
            issues.warn(line, "room-name", message)
        seconds = table.rooms[room].duration
        if seconds is not None and seconds > _MAX_SESSION_SECONDS:
            message = (
                f"a session in room {room!r} lasts {seconds:g} s ({seconds / 86_400:.1f} days): a duration without a "
                "unit is in seconds, not in milliseconds"
            )
            issues.warn(line, "room-duration", message)
        elif seconds is not None and seconds < 1:
            message = (
                f"a session in room {room!r} lasts {seconds:g} s: it is over before a user can do anything"
            )
            issues.warn(line, "room-duration", message)
        _warn_of_opening(room, table.rooms[room], line, issues)
        for rule in table.rooms[room].bypass:
            if any(network.prefixlen == 0 for network in rule.networks):
                message = f"every client is in a network of bypass {rule.name!r}, so room {room!r} holds no one back"
                issues.warn(line, "bypass-everyone", message)


def _warn_of_opening(room: str, limits: RoomLimits, line: int, issues: Issues) -> None:
    """Warn about a pre-queue that never begins unless an operator sets the moment, and about a draw that proves
    less."""
    if limits.prequeue is None:
        return
    if not limits.opens_at:
        message = f"room {room!r} has a pre-queue but no opens_at, so no user can register until an operator sets one"
        issues.warn(line, "room-opening", message)
    if limits.prequeue.order == "draw" and not limits.prequeue.beacon:
        message = (
            f"the draw of room {room!r} has no beacon: it proves only that nothing was changed after the close, not "
            "that no one could choose the order"
        )
        issues.warn(line, "room-opening", message)


def _warn_of_redirections(table: RouteTable, known: Iterable[str], issues: Issues) -> None:
    """Warn about redirections to the gateway's own calls whose ``?room=`` is nearly the name of a room."""
    entries, names = RoomEntries(known), sorted(each for each in known if STAR not in each)
    for route in table.routes:
        for address in (found[1] for each in route.filters if (found := _REDIRECTION.fullmatch(str(each)))):
            for room in _rooms_of(address):
                if entries.of(room) is None and (near := nearest(room, names)) is not None:
                    message = (
                        f"it redirects to {address}, and there is no room {room!r}: its calls get 404 ROOM_NOT_FOUND. "
                        f"The nearest is {near!r}"
                    )
                    issues.warn(route.line, "room-name", message, route.id)


def _rooms_of(address: str) -> list[str]:
    """The rooms that a URL names by ``?room=``, if it is that of a call of the queue."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return []
    try:
        return values_of(parts.query, "room") if parts.path.startswith(_QUEUE) else []
    except BadRequest:
        return []
