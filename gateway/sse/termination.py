"""Decides whether a stream goes on, and if not, what its last event is. Pure functions over values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway.sse.interfaces import UserEvent, UserState

MOVED: Final = "MOVED"
"""The reason of an event, and the code of a stream's end: the place has become another user's, or another device's."""
SOLD_OUT: Final = "SOLD_OUT"
"""Likewise: the room is sold out."""


@dataclass(frozen=True, slots=True)
class AllowedIn:
    """The user may enter; the session has ``expires_in`` seconds left. ``claim_by``: until when, in epoch milliseconds,
    the user must claim the slot; 0: need not."""

    expires_in: float
    claim_by: int = 0


@dataclass(frozen=True, slots=True)
class StreamRefused:
    """The user is not, or no longer, in line: ``code`` and, for a removal, its ``reason``."""

    code: str
    reason: str | None = None


StreamEnd = AllowedIn | StreamRefused


def concerns(event: UserEvent, ticket: int | None) -> bool:
    """Whether ``event`` is about the user's current place, for a user with this ``ticket``.

    An event with a higher ticket is about a newer place of the same user that this stream does not know yet. An event
    with a lower ticket is about a place that the user no longer holds, unless the user has just got the place of
    another user: tickets only grow otherwise.
    """
    return event.ticket is not None and event.ticket >= (ticket or 0)


def newer(pending_event: UserEvent | None, event: UserEvent) -> UserEvent | None:
    """Which of two events to keep while the stream's own ticket isn't known yet."""
    if event.ticket is None:
        return pending_event
    return pending_event if pending_event is not None and not concerns(event, pending_event.ticket) else event


def of_event(event: UserEvent) -> StreamEnd:
    """How a stream that ``event`` concerns ends."""
    if event.kind == "ADMITTED":
        return AllowedIn(event.expires_in, event.claim_by)
    if event.reason == SOLD_OUT:
        return StreamRefused(SOLD_OUT)
    if event.reason == MOVED:
        return StreamRefused(MOVED)
    return StreamRefused("REMOVED", event.reason)


def of_state(state: UserState, pending_event: UserEvent | None) -> StreamEnd | None:
    """How a stream ends whose user is in ``state``, or ``None`` if it goes on.

    ``pending_event`` is an event that came before the first state: the state may have been read before or after it.
    """
    if state.kind in {"WAITING", "REGISTERED"}:
        return (
            of_event(pending_event)
            if pending_event is not None and concerns(pending_event, state.ticket)
            else None
        )
    if state.kind == SOLD_OUT:
        return StreamRefused(SOLD_OUT)
    if state.kind != "NONE":
        return AllowedIn(state.expires_in, state.claim_by)
    if pending_event is not None and pending_event.kind == "REMOVED":
        return of_event(pending_event)
    return StreamRefused("NOT_IN_QUEUE")
