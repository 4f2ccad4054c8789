"""What a client can see: one small fact per request, answer, stream event and end.

All times are seconds on the crowd's own monotonic clock. ``at`` is when the client knew; a request's
``sent`` is taken before its first byte leaves, so the server acted between ``sent`` and ``at``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from gateway.demo.sse import Event


class Call(StrEnum):
    """The kinds of request the crowd makes."""

    LOGIN = "login"
    BROWSE = "browse"
    LINEUP = "lineup"
    STATUS = "status"
    GATED = "gated"
    ANONYMOUS = "gated, without a token"
    PAY = "pay"
    LEAVE_LINE = "leave the line"
    LEAVE_SLOT = "leave the room"
    LEAVE = "leave"


LEAVING = frozenset({Call.LEAVE_LINE, Call.LEAVE_SLOT, Call.LEAVE})


class Outcome(StrEnum):
    """How a visit ended, as the visitor would tell it."""

    BOUGHT = "bought"
    SOLD_OUT = "found it sold out"
    GAVE_UP = "gave up in line"
    CLOSED_TAB = "closed the tab in line"
    WALKED_OFF = "walked off while in"
    TIMED_OUT = "ran out of time while in"
    STILL_WAITING = "still waiting at close"
    CUT_SHORT = "in at close"
    PLACE_GONE = "came back too late for the place in line"
    NEVER_IN_LINE = "came too late to line up"
    LOST = "could not even get in line"


PROVEN_BY_ADMISSION = frozenset(
    {Outcome.BOUGHT, Outcome.SOLD_OUT, Outcome.WALKED_OFF, Outcome.TIMED_OUT, Outcome.CUT_SHORT}
)
PROVEN_BY_LEAVE = frozenset({Outcome.GAVE_UP, Outcome.STILL_WAITING})


def adds_up(outcome: Outcome | None, *, admitted: bool, left: bool, gone: bool) -> bool:
    """Whether how the visit of somebody who lined up is said to have ended fits the evidence.

    ``gone``: the place was found gone, and whether that was in order has been judged then.
    """
    return (
        outcome is Outcome.CLOSED_TAB
        or (outcome in PROVEN_BY_ADMISSION and admitted)
        or (outcome in PROVEN_BY_LEAVE and left)
        or (outcome is Outcome.PLACE_GONE and gone)
    )


@dataclass(frozen=True, slots=True)
class Standing:
    """What an answer or an event says about the caller; None or "" where it says nothing."""

    state: str = ""
    ticket: int | None = None
    position: int | None = None
    total: int | None = None
    behind: int | None = None
    expires_in: float | None = None
    code: str = ""
    reason: str = ""
    estimated_wait: float | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """A request is about to leave."""

    person: int
    at: float
    call: Call


@dataclass(frozen=True, slots=True)
class Answered:
    """A request was answered. ``identity`` is whom the service behind says it saw ("" if it says nothing)."""

    person: int
    at: float
    call: Call
    sent: float
    status: int
    standing: Standing = Standing()
    identity: str = ""
    retry_after: float | None = None

    @property
    def passed(self) -> bool:
        """Whether the service behind the gate answered: it accepts, or says that a seat is taken."""
        return self.status in (200, 201, 409)


# Why a request has no answer, if the client itself broke off.
INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A request ended without an answer: what it asked for may or may not have happened."""

    person: int
    at: float
    call: Call
    sent: float
    why: str


@dataclass(frozen=True, slots=True)
class Opened:
    """A stream request was answered with ``status``. ``stream`` numbers the person's streams from 1."""

    person: int
    at: float
    stream: int
    sent: float
    status: int


@dataclass(frozen=True, slots=True)
class Heard:
    """An event arrived on a stream."""

    person: int
    at: float
    stream: int
    name: str
    id: str = ""
    standing: Standing = Standing()

    @property
    def last(self) -> bool:
        """Whether this kind of event ends its stream."""
        return self.name in ("ALLOWED_IN", "ERROR")


@dataclass(frozen=True, slots=True)
class Ended:
    """A stream is over; ``by_us`` tells whether the client closed it."""

    person: int
    at: float
    stream: int
    by_us: bool


@dataclass(frozen=True, slots=True)
class Finished:
    """A visit is over."""

    person: int
    at: float
    outcome: Outcome


Seen = Sent | Answered | Unanswered | Opened | Heard | Ended | Finished


def standing_of(body: Any) -> Standing:
    """Read the envelope of a queue answer or of a refusal; anything else says nothing."""
    if not isinstance(body, Mapping):
        return Standing()
    data = body.get("data")
    error = body.get("error")
    place = data if isinstance(data, Mapping) else {}
    return Standing(
        state=str(body.get("state", "")),
        ticket=place.get("ticket"),
        position=place.get("userQueuePosition"),
        total=place.get("totalQueueSize"),
        behind=place.get("usersBehind"),
        expires_in=body.get("expiresInSeconds"),
        code=str(error.get("code", "")) if isinstance(error, Mapping) else "",
        estimated_wait=place.get("estimatedWaitSeconds"),
    )


def heard(person: int, at: float, stream: int, event: Event) -> Heard:
    """Read one stream event. Data that is no JSON object says nothing."""
    try:
        data = json.loads(event.data)
    except ValueError:
        data = {}
    if not isinstance(data, Mapping):
        data = {}
    standing = Standing(
        state={"STATUS_UPDATE": "WAITING", "ALLOWED_IN": "ALLOWED_IN"}.get(event.name, ""),
        ticket=data.get("ticket"),
        position=data.get("userQueuePosition"),
        total=data.get("totalQueueSize"),
        behind=data.get("usersBehind"),
        expires_in=data.get("expiresInSeconds"),
        code=str(data.get("code", "")),
        reason=str(data.get("reason", "")),
        estimated_wait=data.get("estimatedWaitSeconds"),
    )
    return Heard(person, at, stream, event.name, event.id, standing)
