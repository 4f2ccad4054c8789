"""Makes room for new clients when the limit of connections is reached: an idle connection ends.

Otherwise one client that opens all connections that there may be, and sends nothing, would keep all others out until
the time-out of idle connections.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from heapq import nsmallest
from typing import Final, Protocol

MIN_IDLE_SECONDS: Final = 1.0
"""A connection that has been idle for less may be about to carry the next request of a proxy, which could not repeat a
POST."""

MAX_EXAMINED: Final = 256
"""So many connections are looked at for each new one, at most: some 50 µs. With tens of thousands of them, a look at
all would take milliseconds, and in a crowd there is one for each new connection."""

MAX_LEAVING: Final = 32
"""At most so many connections above the limit are open at a time, because those that make room are not closed yet."""

_MAX_ATTEMPTS: Final = 4


class IdleConnection(Protocol):
    """A connection that is idle at times."""

    @property
    def idle_since(self) -> float:
        """Since when it has had no whole request, as a time of the loop's clock; infinite while it has one."""

    @property
    def had_request(self) -> bool:
        """Whether it ever had a whole request."""

    def displace(self) -> bool:
        """Ends the connection unless a request is arriving. Returns whether it did."""


class Displacement:
    """Ends idle ones of ``connections``, which hold none that has ended, for new ones. Create it inside the loop."""

    def __init__(self, connections: Collection[IdleConnection]) -> None:
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._candidates: list[IdleConnection] = []
        """The connections that are looked at next. When the list is empty, it begins anew with all."""
        self._leaving: set[IdleConnection] = set()

    @property
    def leaving(self) -> int:
        """How many connections were ended for new ones and are not closed yet."""
        return sum(one in self._connections for one in self._leaving)

    def make_room(self) -> bool:
        """Ends one of the connections that it looks at: the one that has been idle longest of those that never had a
        request, or else of the others. Returns whether there was one."""
        self._leaving = {one for one in self._leaving if one in self._connections}
        if len(self._leaving) >= MAX_LEAVING:
            return False
        self._candidates = self._candidates or list(self._connections)
        some = self._candidates[-MAX_EXAMINED:]
        del self._candidates[-MAX_EXAMINED:]
        before = self._loop.time() - MIN_IDLE_SECONDS
        idle = (
            (one.had_request, since, at)
            for at, one in enumerate(some)
            if (since := one.idle_since) <= before and one not in self._leaving
        )
        for _, _, at in nsmallest(_MAX_ATTEMPTS, idle):
            if some[at].displace():
                self._leaving.add(some[at])
                return True
        return False

    def release_candidates(self) -> None:
        """There is room without it: drops what would keep connections that have ended in memory."""
        self._candidates.clear()
