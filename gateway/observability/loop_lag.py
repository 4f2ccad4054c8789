"""The lag of the event loop: the time between when a callback should have run and when it did."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

INTERVAL_SECONDS = 0.1
"""Half of the shortest lag that any part of the gateway acts upon. These wake-ups are nearly the only ones of an idle
process."""


class LoopLag:
    """Measures inside ``async with LoopLag() as lag``; ``lag.milliseconds`` may be read at any time.

    ``on_sample`` gets each measurement, in seconds, about ten times a second.
    """

    def __init__(self, on_sample: Callable[[float], None] | None = None) -> None:
        self._on_sample = on_sample
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._last = 0.0

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._schedule(self._loop)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer:
            self._timer.cancel()
        self._loop = self._timer = None
        self._last = 0.0

    @property
    def milliseconds(self) -> float:
        """The present lag in milliseconds: the last measurement, or the time by which the next one is already late; 0
        outside the block."""
        if self._loop is None:
            return 0.0
        return max(self._last, self._loop.time() - self._due) * 1000

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        self._due = loop.time() + INTERVAL_SECONDS
        self._timer = loop.call_at(self._due, self._measure, loop)

    def _measure(self, loop: asyncio.AbstractEventLoop) -> None:
        self._last = max(0.0, loop.time() - self._due)
        self._schedule(loop)
        if self._on_sample:
            self._on_sample(self._last)
