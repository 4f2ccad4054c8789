"""Room for new clients when there are as many connections as there may be: idle connections end, oldest first.

Otherwise whoever comes first keeps the others out: one client that opens all connections that there may be, and sends
nothing, would hold them for the time-out of idle connections.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from heapq import nsmallest
from typing import Final, Protocol

MIN_IDLE_SECONDS: Final = 1.0
"""A connection that has been idle for less may be about to carry the next request of a proxy, which could not repeat a
POST."""

LOOKED_AT: Final = 256
"""So many connections are looked at for each new one, at most: some 30 µs. With tens of thousands of them, a look at
all would take milliseconds, and in a crowd there is one for each new connection."""

MOST_LEAVING: Final = 16
"""At most so many connections above the limit are open at a time, because those that make room are not closed yet."""

_TRIED: Final = 4


class IdleConnection(Protocol):
    """A connection that is idle at times."""

    @property
    def idle_since(self) -> float:
        """Since when it has had no request, as a time of the loop's clock; infinite while it has one."""

    def displace(self) -> bool:
        """Ends the connection unless a request is arriving. Returns whether it did."""


class Displacement:
    """Ends idle ones of ``connections`` for new ones. Create it inside the loop."""

    def __init__(self, connections: Collection[IdleConnection]) -> None:
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._to_look_at: list[IdleConnection] = []
        """Those of ``connections`` that are looked at next. When the list is empty, it begins anew with all."""
        self._leaving: set[IdleConnection] = set()

    @property
    def leaving(self) -> int:
        """How many connections were ended for new ones and are not closed yet."""
        return len(self._leaving)

    def make_room(self) -> bool:
        """Ends the connection that has been idle longest, of those that it looks at. Returns whether there was one."""
        if len(self._leaving) >= MOST_LEAVING:
            return False
        self._to_look_at = self._to_look_at or list(self._connections)
        some = self._to_look_at[-LOOKED_AT:]
        del self._to_look_at[-LOOKED_AT:]
        before = self._loop.time() - MIN_IDLE_SECONDS
        idle = (one for one in some if one.idle_since <= before and one not in self._leaving)
        for one in nsmallest(_TRIED, idle, key=lambda one: one.idle_since):
            if one.displace():
                self._leaving.add(one)
                return True
        return False

    def forget(self) -> None:
        """There is room without it: drops what would keep connections that have ended in memory."""
        self._to_look_at.clear()

    def discard(self, connection: IdleConnection) -> None:
        """The connection has ended."""
        self._leaving.discard(connection)
