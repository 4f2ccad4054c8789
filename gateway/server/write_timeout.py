"""Clients that do not take what was written for them.

A leaky bucket measures each client for whom bytes wait here: the *patience* begins at ``reader_seconds``. Waiting
drains it, each byte that the client takes fills it at the minimum rate, and it never holds more than it began with. If
it is empty, the connection is ended.

Relies on inner parts of aiohttp 3.14: ``RequestHandler.start``, ``force_close``, ``pause_writing``, ``resume_writing``,
``_payload_parser``, ``transport``.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from functools import partial
from typing import Any, Final

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from gateway.server.acknowledged import acknowledged
from gateway.server.deadlines import Deadlines

_SOON_SECONDS: Final = 0.25


async def linger(transport: asyncio.Transport, seconds: float) -> None:
    """Ends our side and drops what still comes for so long: closed at once, the connection would be reset, and the
    answer with it. Cancelled when the client has gone."""
    with contextlib.suppress(OSError, RuntimeError):
        transport.write_eof()
    await asyncio.sleep(seconds)


def what_came(transport: asyncio.BaseTransport, size: int, flags: int = 0) -> bytes:
    """What has come on a connection and was not read yet, ``size`` bytes at most; with ``MSG_PEEK`` as one of ``flags``
    it stays there."""
    sock = transport.get_extra_info("socket")
    if sock is None or sock.fileno() < 0:
        return b""
    # uvloop's stand-in for a socket can't read; what family the socket is said to have does not matter for that.
    bare = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, sock.fileno())
    try:
        return bare.recv(size, socket.MSG_DONTWAIT | flags)
    except OSError:
        return b""
    finally:
        bare.detach()


class ReaderWatch(RequestHandler):
    """A connection that is cut off once its client is behind ``reader_rate`` by ``reader_seconds``, answered or not.

    ``reader_rate`` is in bytes per second, 0 for no minimum: then any byte restores the patience. That also holds for a
    WebSocket. Without a bound, such a client would keep its connection, and what is written for it, for ever: closing
    waits until all has been sent.
    """

    __slots__ = (
        "_deadlines",
        "_patience",
        "_pending",
        "_reader_rate",
        "_reader_seconds",
        "_taken",
        "_waiting_since",
        "lost",
    )

    def __init__(
        self,
        server: web.Server,
        deadlines: Deadlines,
        reader_seconds: float,
        reader_rate: int,
        **options: Any,
    ) -> None:
        super().__init__(server, **options)
        self._deadlines = deadlines
        self._reader_seconds = reader_seconds
        self._reader_rate = reader_rate
        self._patience = reader_seconds
        self._waiting_since: float | None = None
        """When bytes began to wait, or when that was last looked at; None: none wait, as far as is known."""
        self._pending = 0
        self._taken: int | None = None
        """How many bytes waited at the last look, and how many the client had taken."""
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

    def resume_writing(self) -> None:
        """The client has taken most of what waited."""
        super().resume_writing()
        since = self._waiting_since
        if since is not None and self.transport is not None:
            # A look costs a call of the system, and a fast client pauses and goes on all the time.
            if self._loop.time() - since > _SOON_SECONDS:
                self._look_at_reader(self.transport)
            self._waiting_since = self._loop.time()

    def _watch_reader(self, transport: asyncio.Transport) -> None:
        """Bytes may wait for the client. Those that waited before, and that it was not waited for, do not count."""
        pending = transport.get_write_buffer_size()
        if not pending:
            return
        if self._waiting_since is None:
            self._patience = self._reader_seconds
            self._pending, self._taken = pending, acknowledged(transport)
        self._waiting_since = self._loop.time()
        self._deadlines.set((self,), self._patience, partial(self._reader_may_be_late, transport))

    def _reader_may_be_late(self, transport: asyncio.Transport) -> None:
        if not transport.get_write_buffer_size():
            self._waiting_since = None
            return
        self._look_at_reader(transport)
        if self._patience > 0:
            self._watch_reader(transport)
        else:
            transport.abort()

    def _look_at_reader(self, transport: asyncio.Transport) -> None:
        now = self._loop.time()
        pending, taken = transport.get_write_buffer_size(), acknowledged(transport)
        moved, rate = max(0, self._pending - pending), 0
        if taken is not None and self._taken is not None:
            moved = taken - self._taken
            rate = 0 if self._payload_parser is not None else self._reader_rate
        gained = moved / rate if rate else moved * self._reader_seconds
        waited = now - (now if self._waiting_since is None else self._waiting_since)
        self._patience = min(self._reader_seconds, self._patience - waited + gained)
        self._pending, self._taken, self._waiting_since = pending, taken, now
