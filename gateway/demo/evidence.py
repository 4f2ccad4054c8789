"""What one person's observations prove about where that person was, and when. No rules here.

A person is IN or WAITING only by evidence, OUT only when certain, and UNSURE between asking and knowing, so
that nobody takes a slow answer for a breach.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum, auto

from gateway.demo.plan import Limits
from gateway.demo.rules import DRIFT, EDGE, GRACE


class Place(Enum):
    """Where a person is, by that person's own evidence."""

    OUT = auto()
    UNSURE = auto()
    WAITING = auto()
    IN = auto()


@dataclass(slots=True)
class Wait:
    """One time in line under one ticket.

    ``asked`` to ``since``: the lineup request. ``polled``: the latest moment certainly still in line, as a
    request sent then was answered so. ``listened``: when an open stream would have told of an admission.
    """

    ticket: int
    asked: float
    since: float
    polled: float = -math.inf
    listened: list[tuple[float, float]] = field(default_factory=list)
    listening_since: float | None = None

    def listens(self, at: float) -> None:
        """A stream proved alive at ``at``."""
        if self.listening_since is None:
            self.listening_since = at

    def stops_listening(self, at: float) -> None:
        """From ``at`` on no stream tells this person anything."""
        if self.listening_since is not None:
            self.listened.append((self.listening_since, at))
            self.listening_since = None

    def unheard_until(self, now: float) -> list[tuple[float, float]]:
        """The spans in which a stream was open and told of no admission."""
        return self.listened + ([] if self.listening_since is None else [(self.listening_since, now)])


@dataclass(frozen=True, slots=True)
class Admission:
    """Let in: with ``ticket``, or (None) at once by a lineup request sent at ``asked``; known at ``at``."""

    ticket: int | None
    asked: float
    at: float


@dataclass(slots=True)
class Stay:
    """A time certainly spent in the room."""

    start: float
    end: float


class Evidence:
    """One person's place over time. ``sent`` is when a request left, ``at`` when its answer was read."""

    def __init__(self, limits: Limits) -> None:
        self.place = Place.OUT
        self.waits: list[Wait] = []
        self.admissions: list[Admission] = []
        self.stays: list[Stay] = []
        self.lined_up = False
        self.slipped_in = False  # known to be in only because a gated call passed
        self._limits = limits
        self._asked = -math.inf  # when the latest lineup request left …
        self._joined: float | None = None  # … and when the first since last certainly out
        self._out_since = -math.inf
        self._sure_until = -math.inf  # certainly in before this moment
        self._renewed_by = math.inf  # the session was renewed for the last time no later than this
        self._sighted = -math.inf  # the gateway saw this person no earlier than this …
        self._sighted_by = -math.inf  # … and no later than this
        self._asking_from = Place.OUT
        self._leaving_from = Place.OUT
        self._not_in_line = False

    @property
    def ticket(self) -> int | None:
        """The ticket of the present wait."""
        return self.waits[-1].ticket if self.waits and self.place in (Place.WAITING, Place.UNSURE) else None

    def certainly_in(self, at: float) -> bool:
        """Whether the session was alive at ``at`` beyond doubt."""
        return self.place is Place.IN and at < self._sure_until

    def certainly_out(self, sent: float) -> bool:
        """Whether everything from ``sent`` on happened outside the room beyond doubt."""
        if self.place is Place.IN:
            return sent > self._renewed_by + self._limits.duration + DRIFT
        return self.place is Place.OUT and sent >= self._out_since

    def unseen(self, at: float) -> tuple[float, float]:
        """For how long the gateway has at least, and at most, not seen this person by ``at``."""
        return at - self._sighted_by, at - self._sighted

    def may_be_gone(self, at: float) -> bool:
        """Whether an absence or a session's end explains being neither in line nor in at ``at``."""
        shortest = min(self._limits.absent, self._limits.duration)
        return at - self._sighted >= shortest - EDGE

    def sighted(self, sent: float, at: float) -> None:
        """The gateway saw this person at some moment between ``sent`` and ``at``."""
        self._sighted = max(self._sighted, sent)
        self._sighted_by = max(self._sighted_by, at)

    def asks(self, at: float) -> None:
        """A lineup request leaves. Lining up again may cost the present ticket."""
        self._asked = at
        self._asking_from = self.place
        if self._joined is None:
            self._joined = at
        if self.place is not Place.IN:
            self._stop_listening(at)
            self.place = Place.UNSURE

    def not_asked(self) -> None:
        """The lineup was turned away untouched."""
        if self.place is Place.UNSURE:
            self.place = self._asking_from

    def waits_with(self, ticket: int, at: float) -> None:
        """A lineup was answered with a ticket."""
        self.place = Place.WAITING
        self.lined_up = True
        self.waits.append(Wait(ticket, self._asked, at))

    def still_waiting(self, sent: float) -> None:
        """A request sent then was answered: in line."""
        if self.waits:
            self.waits[-1].polled = max(self.waits[-1].polled, sent)

    def listens(self, at: float) -> None:
        """A status update came on an open stream."""
        if self.place is Place.WAITING and self.waits:
            self.waits[-1].listens(at)

    def stops_listening(self, at: float) -> None:
        """The stream is over."""
        self._stop_listening(at)

    def admitted(self, at: float, expires_in: float | None, *, slipped: bool = False) -> None:
        """The client learned that it is in."""
        if self.place not in (Place.WAITING, Place.UNSURE):
            return
        listening = bool(self.waits) and self.waits[-1].listening_since is not None
        self._stop_listening(at)
        known = bool(self.waits) and self.waits[-1].asked == self._asked
        # Without a known ticket the first request tells whom this person may not overtake: with a
        # ticket got in between, or lost by asking again, all the more so.
        joined = self._asked if self._joined is None else self._joined
        self.admissions.append(Admission(self.waits[-1].ticket if known else None, joined, at))
        self.stays.append(Stay(at, at))
        self.place = Place.IN
        self.lined_up = True
        self.slipped_in = slipped
        self._sure_until = self._session_from(at, expires_in, listening=listening) - EDGE
        self._renewed_by = at

    def _session_from(self, at: float, expires_in: float | None, *, listening: bool) -> float:
        """When the session of somebody who learned of it at ``at`` ends at the earliest."""
        if not self.waits:
            return self._asked + self._limits.duration
        # Who was listening heard of it at once; who was not may have been let in some time before.
        if listening or expires_in is None:
            return at - GRACE + self._limits.duration
        return at - GRACE + min(expires_in, self._limits.duration)

    def renewed(self, sent: float, at: float) -> None:
        """A gated call went through: in at ``sent``, and for a session's length from then."""
        if self.place is not Place.IN:
            return
        end = sent + self._limits.duration - EDGE
        self._sure_until = max(self._sure_until, end)
        self._renewed_by = at
        self.stays[-1].end = max(self.stays[-1].end, sent, end)

    def leaves(self, at: float) -> None:
        """A request to leave departs: from now on nothing is certain."""
        if self.place is Place.UNSURE:
            return
        self._leaving_from = self.place
        if self.place is Place.IN:
            self.stays[-1].end = max(self.stays[-1].start, min(self.stays[-1].end, at))
        self._stop_listening(at)
        self.place = Place.UNSURE

    def may_have_left(self) -> None:
        """A request to leave has no answer: it may have worked, so being nowhere later proves nothing."""
        self._leaving_from = Place.OUT

    def left_room(self, sent: float, at: float) -> None:
        """Leaving the room was granted, so the person was still in when asking."""
        if self._leaving_from is Place.IN and self.stays:
            self.stays[-1].end = sent
        self.gone(at)

    def not_in_line(self) -> None:
        """Leaving the line was refused: not in it. Perhaps just let in."""
        self._not_in_line = True
        if self._leaving_from is Place.IN:
            self.place = Place.IN

    def not_in_room(self, at: float) -> bool:
        """Leaving the room was refused. True if the person was in line as far as known, and now is nowhere."""
        if self._leaving_from is Place.WAITING and not self._not_in_line:
            self.place = Place.WAITING
            return False
        nowhere = self._leaving_from is Place.WAITING
        self.gone(at)
        return nowhere

    def was_certainly_in(self, at: float) -> bool:
        """Like :meth:`certainly_in`, as things stood before the request to leave."""
        return self._leaving_from is Place.IN and at < self._sure_until

    def gone(self, at: float) -> None:
        """Certainly neither in line nor in, from ``at`` on."""
        self._stop_listening(at)
        self.place = Place.OUT
        self._out_since = at
        self._joined = None

    def _stop_listening(self, at: float) -> None:
        if self.waits:
            self.waits[-1].stops_listening(at)
