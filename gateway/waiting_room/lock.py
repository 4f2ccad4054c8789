"""A lock that saves work and guards nothing: two sweeps at once would be wasteful, never wrong."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from gateway.waiting_room.link import Link
from gateway.waiting_room.scripts import Script


class SweepLock:
    """``SET NX PX`` under ``key``, with a token that lets the holder, and nobody else, hold it for longer.

    It is never released: it runs out after ``period_ms``. Released at once, it would let each of N instances do
    the work of the same second in turn.
    """

    def __init__(self, link: Link, scripts: Mapping[str, Script], key: str, period_ms: int) -> None:
        self._link = link
        self._scripts = scripts
        self._key = key
        self._period_ms = period_ms
        self._token = secrets.token_hex(8)

    async def acquire(self) -> bool:
        """Whether this instance is the one for this period. Raises QueueUnavailable."""
        return await self._run("lock")

    async def extend(self) -> bool:
        """Holds it for another period; False if it has run out meanwhile. Raises QueueUnavailable."""
        return await self._run("hold")

    async def _run(self, script: str) -> bool:
        return bool(await self._link.run(self._scripts[script], (self._key,), (self._token, self._period_ms)))
