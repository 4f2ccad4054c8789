"""How many things are left to sell, as services say it: the last of many numbers is written, a few times a second."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from gateway.background import end_task
from gateway.errors import QueueUnavailable
from gateway.waiting_room.operations import Run

PAUSE_SECONDS: Final = 0.1
"""The shortest time between two numbers that are written."""


class StockWriter:
    """Writes what services say by ``run``. A number that can't be written is lost: the next one is newer."""

    def __init__(self, run: Run, room: str) -> None:
        self._run = run
        self._room = room
        self._left: int | None = None
        self._task: asyncio.Task[None] | None = None

    def say(self, left: int) -> None:
        """A service says that so many things are left. Does not wait for Redis."""
        self._left = left
        if self._task is None:
            self._task = asyncio.create_task(self._write(), name=f"stock {self._room}")

    async def close(self) -> None:
        """Writes nothing more."""
        if self._task is not None:
            await end_task(self._task)

    async def _write(self) -> None:
        try:
            while (left := self._left) is not None:
                self._left = None
                with contextlib.suppress(QueueUnavailable):
                    await self._run("stock", left, link="sweep")
                await asyncio.sleep(PAUSE_SECONDS)
        finally:
            self._task = None
