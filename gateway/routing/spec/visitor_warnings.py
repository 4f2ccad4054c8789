"""Warnings about settings for visitors in rooms that have none, and about rules that no visitor can meet."""

from __future__ import annotations

from collections.abc import Mapping

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
