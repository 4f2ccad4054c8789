"""The write time-out: ends the connection of a client that does not read what was written for it.

A leaky bucket measures each client for whom bytes wait here. Its level, the *patience*, begins at ``seconds``. Waiting
drains it, each byte that the client takes fills it at the minimum rate, and it never exceeds its initial level. When it
is empty, the gateway ends the connection.
"""

from __future__ import annotations

import asyncio
from typing import Final

from gateway.server.deadlines import Deadlines
from gateway.server.socket_buffer import unsent_bytes
from gateway.server.tcp_acknowledged import acknowledged

_MIN_CHECK_SECONDS: Final = 0.25


class WriteTimeout:
    """Ends a connection once its client is ``seconds`` behind ``rate``, whether or not its request has been answered.

    ``rate`` is in bytes per second. At 0 there is no minimum, and any byte restores the patience; this also holds for a
    WebSocket. Without a time-out, such a client would keep its connection, and the bytes written for it, for ever:
    closing waits until all bytes have been sent.
    """

    __slots__ = (
        "_deadlines",
        "_loop",
        "_patience",
        "_pending",
        "_rate",
        "_seconds",
        "_taken",
        "_transport",
        "_waiting_since",
    )

    def __init__(self, transport: asyncio.Transport, deadlines: Deadlines, seconds: float, rate: int) -> None:
        self._transport = transport
        self._deadlines = deadlines
        self._loop = asyncio.get_running_loop()
        self._seconds = seconds
        self._rate = rate
        self._patience = seconds
        self._waiting_since: float | None = None
        """When bytes began to wait, or the time of the last check; None: none wait, as far as is known."""
        self._pending = 0
        self._taken: int | None = None
        """How many bytes waited at the last check, and how many the client had taken."""

    @property
    def watching(self) -> bool:
        """Whether bytes wait, as far as is known."""
        return self._waiting_since is not None

    def watch(self, *, tunnel: bool = False) -> None:
        """Bytes may wait for the client: measures from now on. Earlier waiting does not count.

        ``tunnel``: the connection has no minimum rate.
        """
        if tunnel:
            self._rate = 0
        pending = self._unsent()
        if not pending:
            return
        if self._waiting_since is None:
            self._patience = self._seconds
            self._pending, self._taken = pending, acknowledged(self._transport)
        self._waiting_since = self._loop.time()
        self._deadlines.set(self, self._patience, self._check_deadline)

    def progressed(self) -> None:
        """The client has taken most of the bytes that waited."""
        since = self._waiting_since
        if since is not None:
            # A check costs a system call, and a fast client pauses and resumes all the time.
            if self._loop.time() - since > _MIN_CHECK_SECONDS:
                self._measure()
            self._waiting_since = self._loop.time()

    def close(self) -> None:
        """Stops the measurement: the connection has ended, or belongs to another protocol."""
        self._deadlines.drop(self)

    def _unsent(self) -> int:
        """How many bytes wait. Bytes that wait in the kernel count only while the connection is closing."""
        transport = self._transport
        return unsent_bytes(transport) if transport.is_closing() else transport.get_write_buffer_size()

    def _check_deadline(self) -> None:
        if not self._unsent():
            self._waiting_since = None
            return
        self._measure()
        if self._patience > 0:
            self.watch()
        else:
            self._transport.abort()

    def _measure(self) -> None:
        now = self._loop.time()
        pending, taken = self._unsent(), acknowledged(self._transport)
        moved, rate = max(0, self._pending - pending), 0
        if taken is not None and self._taken is not None:
            moved = taken - self._taken
            rate = self._rate
        gained = moved / rate if rate else moved * self._seconds
        waited = now - (now if self._waiting_since is None else self._waiting_since)
        self._patience = min(self._seconds, self._patience - waited + gained)
        self._pending, self._taken, self._waiting_since = pending, taken, now
