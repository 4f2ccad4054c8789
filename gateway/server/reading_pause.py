"""Whether a connection is read for now."""

from __future__ import annotations

import asyncio


class ReadingPause:
    """Pauses reading from a client while aiohttp (``by_handler``), the guard's buffer (``by_buffer``), or both take no
    more."""

    __slots__ = ("by_buffer", "by_handler", "turn_over")

    def __init__(self) -> None:
        self.by_buffer = False
        self.by_handler = False
        self.turn_over = False
        """Whether the guard goes on with the bytes it holds in the next iteration of the loop, and not before."""

    def __bool__(self) -> bool:
        return self.by_buffer or self.by_handler

    def set(
        self,
        transport: asyncio.Transport | None,
        *,
        by_handler: bool | None = None,
        by_buffer: bool | None = None,
    ) -> None:
        """Changes one of the reasons, or both, and pauses or resumes ``transport`` accordingly."""
        if by_handler is None and by_buffer == self.by_buffer:
            return
        self.by_handler = self.by_handler if by_handler is None else by_handler
        self.by_buffer = self.by_buffer if by_buffer is None else by_buffer
        if transport is None or transport.is_closing():
            return
        if self:
            transport.pause_reading()
        else:
            transport.resume_reading()
