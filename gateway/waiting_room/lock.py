"""A lock that saves work and guards nothing: two sweeps at once would be wasteful, never wrong."""

from __future__ import annotations

import secrets

from gateway.waiting_room.link import Link
from gateway.waiting_room.scripts import Script


class SweepLock:
    """``SET NX PX`` under ``key``, with a token that lets the holder, and nobody else, hold it for longer.

    It is never released: it runs out after ``period_ms``. Released at once, it would let each of N instances do
    the work of the same second in turn.
    """

    def __init__(self, link: Link, hold: Script, key: str, period_ms: int) -> None:
        self._link = link
        self._hold = hold
        self._key = key
        self._period_ms = period_ms
        self._token = secrets.token_hex(8)

    async def acquire(self) -> bool:
        """Whether this instance is the one for this period. Raises QueueUnavailable."""
        reply = await self._link.call("SET", self._key, self._token, "NX", "PX", self._period_ms)
        return reply is not None

    async def extend(self) -> bool:
        """Holds it for another period; False if it has run out meanwhile. Raises QueueUnavailable."""
        return bool(await self._link.run(self._hold, (self._key,), (self._token, self._period_ms)))
