"""What a client observes: one value per request, response, stream event and end.

All times are seconds on the crowd's own monotonic clock. ``at`` is when the client knew. ``sent`` is
taken before the request's first byte leaves, so the server acted between ``sent`` and ``at``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


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
    """How a visit ended, from the visitor's view. The value is what the summary shows."""

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


def outcome_is_proven(outcome: Outcome | None, *, admitted: bool, left: bool, gone: bool) -> bool:
    """Whether observations prove the ``outcome`` of a person who lined up.

    ``admitted``: the person was let in. ``left``: a leave was granted, or had no answer. ``gone``: the person found the
    place gone, and the rule for that has been checked at that time.
    """
    return (
        outcome is Outcome.CLOSED_TAB
        or (outcome in PROVEN_BY_ADMISSION and admitted)
        or (outcome in PROVEN_BY_LEAVE and left)
        or (outcome is Outcome.PLACE_GONE and gone)
    )


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """What a response or an event says about the caller; None or "" where it says nothing."""

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
class RequestSent:
    """A request is about to leave."""

    person: int
    at: float
    call: Call


@dataclass(frozen=True, slots=True)
class ResponseReceived:
    """A request was answered. ``identity`` is the user whom the service saw ("" if it does not say)."""

    person: int
    at: float
    call: Call
    sent: float
    status: int
    queue_status: QueueStatus = QueueStatus()
    identity: str = ""
    retry_after: float | None = None

    @property
    def passed(self) -> bool:
        """Whether the service behind the gate answered: with a success, or with 409 for a taken seat."""
        return self.status in (200, 201, 409)


# ``RequestFailed.why`` if the client itself cancelled the request.
INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class RequestFailed:
    """A request ended without an answer. Its effect is unknown."""

    person: int
    at: float
    call: Call
    sent: float
    why: str


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """A stream request was answered with ``status``. ``stream`` numbers the person's streams from 1."""

    person: int
    at: float
    stream: int
    sent: float
    status: int


@dataclass(frozen=True, slots=True)
class EventReceived:
    """An event arrived on a stream."""

    person: int
    at: float
    stream: int
    name: str
    id: str = ""
    queue_status: QueueStatus = QueueStatus()

    @property
    def last(self) -> bool:
        """Whether this kind of event ends its stream."""
        return self.name in ("ALLOWED_IN", "ERROR")


@dataclass(frozen=True, slots=True)
class StreamClosed:
    """A stream is over; ``by_us``: the client closed it."""

    person: int
    at: float
    stream: int
    by_us: bool


@dataclass(frozen=True, slots=True)
class VisitFinished:
    """A visit is over."""

    person: int
    at: float
    outcome: Outcome


Observation = (
    RequestSent
    | ResponseReceived
    | RequestFailed
    | StreamOpened
    | EventReceived
    | StreamClosed
    | VisitFinished
)
