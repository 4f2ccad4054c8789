"""Warnings about rooms for visitors: settings without effect, and rooms that any visitor makes."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.room_names import STAR
from gateway.routing.filters.rate_limiter import RateLimiterFilter
from gateway.routing.spec.issues import Issues
from gateway.routing.table import RouteTable


def warn_of_visitors(table: RouteTable, lines: Mapping[str, int], issues: Issues) -> None:
    """Adds these warnings. ``lines``: where each room is listed."""
    for room, line in lines.items():
        if room in table.checked_rooms and room not in table.visitor_rooms:
            message = (
                f"room {room!r} has places_per_address or challenge, and identity token: that has no effect, since "
                "both are for visitors. Set identity to visitor or either"
            )
            issues.warn(line, "room-identity", message)
        if table.rooms[room].eligible is not None and table.visitor_rooms.get(room) == "visitor":
            message = (
                f"room {room!r} has eligible, and identity visitor: visitors have no claims, so only invitations let "
                "them line up. Set identity to either or token if users with the claim are meant"
            )
            issues.warn(line, "room-identity", message)
        limits = table.rooms[room]
        if (
            STAR in room
            and room in table.visitor_rooms
            and limits.challenge is None
            and limits.eligible is None
        ):
            message = (
                f"any visitor makes rooms of {room!r} by lining up, also for names that do not exist. Visitors at one "
                "address make up to QUEUE_ROOMS_PER_CLIENT, and when many addresses have made QUEUE_MAX_ROOMS, users "
                "can't line up in a further room. Set challenge or eligible"
            )
            issues.warn(line, "rooms-by-name", message)
    if table.visitor_rooms:
        return
    for route in table.routes:
        if any(
            isinstance(each, RateLimiterFilter) and each.policy.key == "visitor" for each in route.filters
        ):
            issues.warn(
                route.line,
                "rate-limit",
                "RequestRateLimiter has key: visitor, and no room is for visitors, so no caller has a key. Set a "
                "room's identity to visitor or either, or take the key user or address",
                route.id,
            )
