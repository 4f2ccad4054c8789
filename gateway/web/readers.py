"""Clients that do not take what was written for them.

Relies on inner parts of aiohttp 3.14: ``RequestHandler.start``, ``force_close``, ``pause_writing``, ``transport``.
"""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from gateway.proxy.deadlines import Deadlines


async def linger(transport: asyncio.Transport, seconds: float) -> None:
    """Ends our side and drops what still comes for so long: closed at once, the connection would be reset, and the
    answer with it. Cancelled when the client has gone."""
    with contextlib.suppress(OSError, RuntimeError):
        transport.write_eof()
    await asyncio.sleep(seconds)


class ReaderWatch(RequestHandler):
    """A connection that is cut off once its client takes no byte for ``reader_seconds``, answered or not.

    Without it, such a client would keep its connection, and what is written for it, for ever: closing waits until all
    has been sent.
    """

    __slots__ = ("_deadlines", "_reader_seconds", "lost")

    def __init__(
        self, server: web.Server, deadlines: Deadlines, reader_seconds: float, **options: Any
    ) -> None:
        super().__init__(server, **options)
        self._deadlines = deadlines
        self._reader_seconds = reader_seconds
        self.lost: BaseException | None = None
        """Why the connection has ended, if not in order."""

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forgets the deadlines."""
        self.lost = exc
        super().connection_lost(exc)
        self._deadlines.drop(self)
        self._deadlines.drop((self,))

    async def start(self) -> None:
        """Serves one request after the other."""
        await super().start()
        if self.transport is not None:
            self._watch_reader(self.transport)

    def force_close(self) -> None:
        """Closes the connection, once what was written is sent or the client's time for it is over."""
        transport = self.transport
        super().force_close()
        if transport is not None:
            self._watch_reader(transport)

    def pause_writing(self) -> None:
        """The client is slow: from now on it must show that it reads."""
        super().pause_writing()
        if self.transport is not None:
            self._watch_reader(self.transport)

    def _watch_reader(self, transport: asyncio.Transport) -> None:
        pending = transport.get_write_buffer_size()
        if pending:
            late = partial(self._reader_is_late, transport, pending)
            self._deadlines.set((self,), self._reader_seconds, late)

    def _reader_is_late(self, transport: asyncio.Transport, pending: int) -> None:
        if transport.get_write_buffer_size() < pending:
            self._watch_reader(transport)
        else:
            transport.abort()
