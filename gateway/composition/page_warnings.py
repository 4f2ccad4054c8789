"""Warnings about rooms with a page whose other settings spoil it. They depend on settings too."""

from __future__ import annotations

from typing import Final

from gateway.routing.spec.issues import Issue, Issues
from gateway.routing.table import RouteTable
from gateway.settings.model import Settings

LEAST_ABSENT: Final = 150.0
"""Browsers may run the timers of a hidden tab once a minute, and one of these calls may fail."""
LEAST_CLAIM: Final = 20.0
"""WCAG 2.2 (2.2.1) asks for at least so many seconds to extend a time limit."""


def warnings_of_pages(table: RouteTable, settings: Settings) -> tuple[Issue, ...]:
    """These warnings."""
    issues = Issues(table.source)
    for room, page in table.pages.items():
        limits = table.rooms[room]
        absent = settings.queue_absent_seconds if limits.absent is None else limits.absent
        if 0 < absent < LEAST_ABSENT:
            issues.warn(
                page.line,
                "page-absent",
                f"room {room!r} has a page, and users are parked after {absent:g} s (absent): browsers may run the "
                f"timers of a hidden tab once a minute, so set absent to {LEAST_ABSENT:g}s or more",
            )
        claim = settings.queue_claim_seconds if limits.claim is None else limits.claim
        if 0 < claim < LEAST_CLAIM:
            issues.warn(
                page.line,
                "page-claim",
                f"room {room!r} has a page, and a slot must be claimed within {claim:g} s: people need at least "
                f"{LEAST_CLAIM:g} s to ask for more time (WCAG 2.2), so set claim to {LEAST_CLAIM:g}s or more, or to 0",
            )
        by_token = table.visitor_rooms.get(room) is None
        if by_token and (settings.jwt_cookie_calls != "all" or not settings.jwt_cookie_name):
            issues.warn(
                page.line,
                "page-token",
                f"room {room!r} has a page and is for users with a token, and browsers that navigate send none: set "
                "JWT_COOKIE_NAME and JWT_COOKIE_CALLS=all, or the room's identity to visitor or either",
            )
    return issues.warnings()
