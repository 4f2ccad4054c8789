"""What observations prove about who was in line and in the room, and when. No rules here.

Two sources: a client's own observations (``Inference``), and the gated requests that services receive (``Occupancy``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto

from gateway.demo.plan import Limits
from gateway.demo.rules import DRIFT, EDGE, GRACE


class Place(Enum):
    """Where a person is, as far as the person's own observations prove it."""

    OUT = auto()
    UNKNOWN = auto()
    WAITING = auto()
    IN = auto()


@dataclass(slots=True)
class Wait:
    """One time in line under one ticket.

    ``asked``: when the lineup request was sent. ``since``: when its response was read. ``polled``: when the latest
    request that was answered "waiting" was sent. ``streams``: when an open stream would have announced an admission.
    """

    ticket: int
    asked: float
    since: float
    polled: float = -math.inf
    streams: list[tuple[float, float]] = field(default_factory=list)
    stream_since: float | None = None

    def stream_alive(self, at: float) -> None:
        """A stream proved alive at ``at``."""
        if self.stream_since is None:
            self.stream_since = at

    def stream_ended(self, at: float) -> None:
        """No stream is open from ``at`` on."""
        if self.stream_since is not None:
            self.streams.append((self.stream_since, at))
            self.stream_since = None

    def streams_until(self, now: float) -> list[tuple[float, float]]:
        """The spans in which a stream was open and announced no admission."""
        return self.streams + ([] if self.stream_since is None else [(self.stream_since, now)])


@dataclass(frozen=True, slots=True)
class Admission:
    """An admission, known at ``at``: of ``ticket``, or (None) at once by a lineup request sent at ``asked``."""

    ticket: int | None
    asked: float
    at: float


@dataclass(slots=True)
class Stay:
    """A time certainly spent in the room."""

    start: float
    end: float


class Inference:
    """One person's place over time.

    A person is IN or WAITING only if observations prove it, and OUT only if that is certain. Between a request and its
    response the place is UNKNOWN, so that a slow response is never taken for a breach. ``sent``: when a request was
    sent; ``at``: when its response was read.
    """

    def __init__(self, limits: Limits) -> None:
        self.place = Place.OUT
        self.waits: list[Wait] = []
        self.admissions: list[Admission] = []
        self.stays: list[Stay] = []
        self.lined_up = False
        self.admitted_by_gate = False  # the only proof of the admission is a gated call that passed
        self._limits = limits
        self._lineup_sent_at = -math.inf  # when the latest lineup request was sent …
        self._first_lineup_at: float | None = (
            None  # … and the first one since the person was last certainly out
        )
        self._out_since = -math.inf
        self._in_until = -math.inf  # certainly in before this moment
        self._renewed_at = math.inf  # the session was renewed for the last time no later than this
        self._contact_from = -math.inf  # the gateway's last contact with the person was no earlier …
        self._contact_until = -math.inf  # … and no later than this
        self._place_before_lineup = Place.OUT
        self._place_before_leave = Place.OUT
        self._not_in_line = False

    @property
    def ticket(self) -> int | None:
        """The ticket of the present wait."""
        return self.waits[-1].ticket if self.waits and self.place in (Place.WAITING, Place.UNKNOWN) else None

    def certainly_in(self, at: float) -> bool:
        """Whether the session certainly was alive at ``at``."""
        return self.place is Place.IN and at < self._in_until

    def certainly_out(self, sent: float) -> bool:
        """Whether the person certainly was outside the room from ``sent`` on."""
        if self.place is Place.IN:
            return sent > self._renewed_at + self._limits.duration + DRIFT
        return self.place is Place.OUT and sent >= self._out_since

    def absence(self, at: float) -> tuple[float, float]:
        """Seconds without contact to the gateway by ``at``: at least, and at most."""
        return at - self._contact_until, at - self._contact_from

    def may_be_gone(self, at: float) -> bool:
        """Whether an absence or an expired session explains that the person has no place at ``at``."""
        shortest = min(self._limits.absent, self._limits.duration)
        return at - self._contact_from >= shortest - EDGE

    def contacted(self, sent: float, at: float) -> None:
        """The gateway had contact with the person at some moment between ``sent`` and ``at``."""
        self._contact_from = max(self._contact_from, sent)
        self._contact_until = max(self._contact_until, at)

    def lineup_sent(self, at: float) -> None:
        """A lineup request is sent. It may cost the present ticket."""
        self._lineup_sent_at = at
        self._place_before_lineup = self.place
        if self._first_lineup_at is None:
            self._first_lineup_at = at
        if self.place is not Place.IN:
            self._end_stream(at)
            self.place = Place.UNKNOWN

    def lineup_refused(self) -> None:
        """The lineup was refused and had no effect."""
        if self.place is Place.UNKNOWN:
            self.place = self._place_before_lineup

    def ticket_received(self, ticket: int, at: float) -> None:
        """A lineup was answered with a ticket."""
        self.place = Place.WAITING
        self.lined_up = True
        self.waits.append(Wait(ticket, self._lineup_sent_at, at))

    def still_waiting(self, sent: float) -> None:
        """A request sent at ``sent`` was answered "waiting"."""
        if self.waits:
            self.waits[-1].polled = max(self.waits[-1].polled, sent)

    def stream_alive(self, at: float) -> None:
        """A status update came on an open stream."""
        if self.place is Place.WAITING and self.waits:
            self.waits[-1].stream_alive(at)

    def stream_ended(self, at: float) -> None:
        """The stream is over."""
        self._end_stream(at)

    def admitted(self, at: float, expires_in: float | None, *, by_gate: bool = False) -> None:
        """The client learned that it is in."""
        if self.place not in (Place.WAITING, Place.UNKNOWN):
            return
        had_stream = bool(self.waits) and self.waits[-1].stream_since is not None
        self._end_stream(at)
        known = bool(self.waits) and self.waits[-1].asked == self._lineup_sent_at
        # Without a known ticket, the time of the first request decides whom this person may not overtake. A ticket
        # that was got in between, or lost by a new lineup, can only be a later place.
        joined = self._lineup_sent_at if self._first_lineup_at is None else self._first_lineup_at
        self.admissions.append(Admission(self.waits[-1].ticket if known else None, joined, at))
        self.stays.append(Stay(at, at))
        self.place = Place.IN
        self.lined_up = True
        self.admitted_by_gate = by_gate
        self._in_until = self._session_from(at, expires_in, had_stream=had_stream) - EDGE
        self._renewed_at = at

    def _session_from(self, at: float, expires_in: float | None, *, had_stream: bool) -> float:
        """When a session that the client learned of at ``at`` ends at the earliest."""
        if not self.waits:
            return self._lineup_sent_at + self._limits.duration
        # An open stream announces an admission at once. Without one, the admission may be some time ago.
        if had_stream or expires_in is None:
            return at - GRACE + self._limits.duration
        return at - GRACE + min(expires_in, self._limits.duration)

    def renewed(self, sent: float, at: float) -> None:
        """A gated call passed: the person was in at ``sent``, and stays in for a session's length."""
        if self.place is not Place.IN:
            return
        end = sent + self._limits.duration - EDGE
        self._in_until = max(self._in_until, end)
        self._renewed_at = at
        self.stays[-1].end = max(self.stays[-1].end, sent, end)

    def leave_sent(self, at: float) -> None:
        """A request to leave is sent. Until its response the place is unknown."""
        if self.place is Place.UNKNOWN:
            return
        self._place_before_leave = self.place
        if self.place is Place.IN:
            self.stays[-1].end = max(self.stays[-1].start, min(self.stays[-1].end, at))
        self._end_stream(at)
        self.place = Place.UNKNOWN

    def leave_unanswered(self) -> None:
        """A request to leave had no response. It may have worked, so a missing place proves nothing later."""
        self._place_before_leave = Place.OUT

    def left_room(self, sent: float, at: float) -> None:
        """Leaving the room was granted, so the person was in when the request was sent."""
        if self._place_before_leave is Place.IN and self.stays:
            self.stays[-1].end = sent
        self.gone(at)

    def not_in_line(self) -> None:
        """Leaving the line was refused: the person is not in it, and perhaps was just let in."""
        self._not_in_line = True
        if self._place_before_leave is Place.IN:
            self.place = Place.IN

    def not_in_room(self, at: float) -> bool:
        """Leaving the room was refused. Returns whether the person was in line before, and now has no place."""
        if self._place_before_leave is Place.WAITING and not self._not_in_line:
            self.place = Place.WAITING
            return False
        nowhere = self._place_before_leave is Place.WAITING
        self.gone(at)
        return nowhere

    def was_certainly_in(self, at: float) -> bool:
        """Like :meth:`certainly_in`, as things stood before the request to leave."""
        return self._place_before_leave is Place.IN and at < self._in_until

    def gone(self, at: float) -> None:
        """The person certainly is neither in line nor in from ``at`` on."""
        self._end_stream(at)
        self.place = Place.OUT
        self._out_since = at
        self._first_lineup_at = None

    def _end_stream(self, at: float) -> None:
        if self.waits:
            self.waits[-1].stream_ended(at)


def overlap_counts(spans: Iterable[tuple[float, float]]) -> Iterator[tuple[float, int]]:
    """At the start of each span: the time, and how many spans overlap. A span that ends at that time does not count."""
    edges = []
    for start, end in spans:
        if end > start:
            edges += [(start, 1), (end, -1)]
    inside = 0
    for at, step in sorted(edges):
        inside += step
        if step > 0:
            yield at, inside


@dataclass(slots=True)
class Occupancy:
    """How full the room was, as far as services can tell. ``duration``: the length of a session in seconds.

    Services see gated requests only, and trust the gateway for the user. From the first to the last gated request (none
    further apart than a session lasts) the user must have held a slot. So the most spans that overlap are a lower bound
    of the room's occupancy.
    """

    duration: float
    without_user: int = 0
    _spans: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def record_gated(self, user: str, user_type: str, at: float) -> None:
        """Record a gated request of ``user`` at ``at`` (seconds, monotonic).

        Only the crowd ("CUSTOMER") is timed, because each of its people comes once. A guest with curl may leave and
        return within a session's length, which would look like one long stay.
        """
        if user_type != "CUSTOMER":
            return
        spans = self._spans.setdefault(user, [])
        if spans and at - spans[-1][1] < self.duration:
            spans[-1] = (spans[-1][0], at)
        else:
            spans.append((at, at))

    def record_without_user(self) -> None:
        """Count a request that came without the user that the gateway should have named."""
        self.without_user += 1

    def peak(self) -> int:
        """The most users who were in the room at one moment, as far as gated requests prove it."""
        spans = [span for spans in self._spans.values() for span in spans]
        return max((inside for _, inside in overlap_counts(spans)), default=0)
