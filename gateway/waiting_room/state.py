"""What the room says: where a user stands, and the room's own numbers. Codes are those of the Lua scripts."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple


class Kind(StrEnum):
    """Where a user stands, in the order of the codes in ``includes/place.lua``."""

    NONE = "NONE"
    WAITING = "WAITING"
    ALLOWED_IN = "ALLOWED_IN"
    ADMITTED = "ADMITTED"
    """Allowed in, by the very call that says so."""


class Left(IntEnum):
    """What a user gave up; ``leave.lua`` has the same codes."""

    NOTHING = 0
    SLOT = 1
    PLACE = 2


class Summary(NamedTuple):
    """The room's numbers after a call, and what the call did; ``includes/summary.lua`` has the same order."""

    waiting: int
    allowed_in: int
    capacity: int
    duration: float
    """Length of a session, in seconds."""
    paused: bool
    rate: float
    """Admissions from the line per second; 0 until something has been measured."""
    more: bool
    """One call could not do it all: the sweep is to be called at once."""
    now: float
    """Redis's time, in seconds since the epoch."""
    admitted: int
    promoted: int
    expired: int
    evicted: int
    left: int
    removed: int
    lineups: int


class State(NamedTuple):
    """Where one user stands. Numbers that don't apply are 0."""

    room: str
    kind: Kind
    ticket: int
    position: int
    """1 is next."""
    total: int
    """How many are waiting, this user included."""
    expires_in: float
    """Seconds left of the session."""
    estimated_wait: float | None
    """Seconds, while waiting, once something has been measured."""

    @property
    def waiting(self) -> bool:
        """In line."""
        return self.kind is Kind.WAITING

    @property
    def allowed_in(self) -> bool:
        """Holds a slot."""
        return self.kind is Kind.ALLOWED_IN or self.kind is Kind.ADMITTED

    @property
    def behind(self) -> int:
        """How many stand behind this user."""
        return self.total - self.position


def parse_summary(reply: Sequence[Any]) -> Summary:
    """A script's summary as the Lua side wrote it."""
    return Summary(
        waiting=reply[0],
        allowed_in=reply[1],
        capacity=reply[2],
        duration=reply[3] / 1000,
        paused=reply[4] == 1,
        rate=float(reply[5]),
        more=reply[6] == 1,
        now=reply[7] / 1000,
        admitted=reply[8],
        promoted=reply[9],
        expired=reply[10],
        evicted=reply[11],
        left=reply[12],
        removed=reply[13],
        lineups=reply[14],
    )


_KINDS = tuple(Kind)


def parse_states(room: str, summary: Summary, answers: Sequence[Sequence[int]]) -> list[State]:
    """One state per answer; positions become estimates by the summary's rate."""
    rate = summary.rate
    states = []
    for code, ticket, position, total, left_ms in answers:
        kind = _KINDS[code]
        estimate = position / rate if rate > 0 and kind is Kind.WAITING else None
        states.append(State(room, kind, ticket, position, total, left_ms / 1000, estimate))
    return states
