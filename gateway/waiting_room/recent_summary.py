"""A room's numbers for callers without a token: however many ask, Redis is asked once a second."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from time import monotonic
from typing import Any, Final

from gateway.waiting_room.state import Summary

MAX_AGE_SECONDS: Final = 1.0


class RecentSummary:
    """What ``read`` has returned within the last second. Callers that come meanwhile share the call."""

    def __init__(self, read: Callable[[], Coroutine[Any, Any, Summary]]) -> None:
        self._read = read
        self._reading: asyncio.Task[Summary] | None = None
        self._began = 0.0

    async def get(self) -> Summary:
        """The numbers. Raises QueueUnavailable."""
        reading = self._reading
        if reading is None or (reading.done() and self._is_over(reading)):
            self._began = monotonic()
            reading = self._reading = asyncio.create_task(self._read(), name="recent summary")
        # A caller who leaves must not cancel the call of the others.
        return await asyncio.shield(reading)

    def _is_over(self, reading: asyncio.Task[Summary]) -> bool:
        failed = reading.cancelled() or reading.exception() is not None
        return failed or monotonic() - self._began > MAX_AGE_SECONDS
