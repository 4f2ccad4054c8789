"""How long people stood in line, as spans of the traces in which they lined up.

All instances hear of each admission, and the one that put somebody in line notes it: once, whichever instance admits
and wherever the stream is. User ids are looked up here, in memory, and go nowhere.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from gateway.observe.tracer import Tracer
from gateway.observe.tracing import TraceContext

MOST_WAITING: Final = 4096
"""Sampled lineups whose end is waited for; past this the oldest is forgotten."""


class Event(Protocol):
    """Something that happened to somebody in line."""

    @property
    def room(self) -> str: ...
    @property
    def user(self) -> str: ...
    @property
    def ticket(self) -> int: ...
    @property
    def kind(self) -> str:
        """Equal to ``ADMITTED`` or ``REMOVED``."""


class _Lineup(NamedTuple):
    ticket: int
    trace: TraceContext
    since: float


class Admissions:
    """Remembers sampled lineups until they end. An end that was missed, because Redis was away or because the event
    was faster than the answer to the lineup, leaves an entry behind for a newer one to push out."""

    def __init__(self, tracer: Tracer, most: int = MOST_WAITING) -> None:
        self._tracer = tracer
        self._most = most
        self._waiting: dict[tuple[str, str], _Lineup] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def waits(self, room: str, user: str, ticket: int, trace: TraceContext) -> None:
        """The user has just been put in line by a request of this trace."""
        if not self._tracer.records(trace):
            return
        # Lining up again is a new wait, and the newest of all.
        self._waiting.pop((room, user), None)
        if len(self._waiting) >= self._most:
            del self._waiting[next(iter(self._waiting))]
        self._waiting[room, user] = _Lineup(ticket, trace, time.monotonic())

    def deliver(self, events: Sequence[Event]) -> None:
        """Some waits have ended, by admission or otherwise; those of older tickets have ended before."""
        if not self._waiting:
            return
        for event in events:
            lineup = self._waiting.get((event.room, event.user))
            if lineup is None or event.ticket < lineup.ticket:
                continue
            del self._waiting[event.room, event.user]
            if event.kind == "ADMITTED" and event.ticket == lineup.ticket:
                self._tracer.admitted(lineup.trace, event.room, time.monotonic() - lineup.since)
