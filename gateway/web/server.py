"""aiohttp's server as this gateway runs it: whose connections are ours, and how many there may be."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

from aiohttp import web

from gateway.proxy.body import SERVER_OPTIONS
from gateway.proxy.deadlines import Deadlines
from gateway.web.connections import Connection
from gateway.web.lane import Lane
from gateway.web.limits import Limits, file_limit

BACKLOG: Final = 4096
"""Connections that may wait to be accepted: a sale opens in one second, and aiohttp's 128 would refuse most."""

_ACCEPTED_AT_ONCE: Final = 64
_IDLE_GRACE_SECONDS: Final = 2.0
_LOOK_SECONDS: Final = 0.02
_BREAK_OFF_SECONDS: Final = 0.02
_FULL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nServer: gateway\r\nRetry-After: 5\r\n"
    b"Cache-Control: no-store\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)


def most_descriptors() -> int:
    """File descriptors that may be in use before new connections are refused: the limit less a twentieth, at least
    64, for services, Redis, files, and for accepting in order to refuse."""
    most = file_limit()
    return most - max(64, most // 20)


class Port(web.TCPSite):
    """A listening port that takes connections in small lots, so that a crowd holds up nobody for long and can be
    counted, while many may wait."""

    def __init__(self, runner: web.BaseRunner, host: str, port: int) -> None:
        super().__init__(runner, host, port, backlog=_ACCEPTED_AT_ONCE)

    async def start(self) -> None:
        """Opens it. Raises OSError."""
        await super().start()
        # asyncio takes one figure for how many may wait and how many it accepts in one turn.
        for listening in getattr(self._server, "sockets", ()):
            with socket.socket(fileno=os.dup(listening.fileno())) as same:
                same.listen(BACKLOG)
                # Accepted connections inherit it; aiohttp would set it on each.
                same.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


class Server(web.Server):
    """aiohttp's server with connections that are ``Connection``. Make it inside the loop.

    Connections are refused while ``descriptors`` files or more are open, this being the number the next one gets, and
    while there are ``most`` connections (None: no bound but the files). ``on_full`` is called for each. ``lane``: where
    newcomers wait, if they are to.
    """

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        limits: Limits | None = None,
        *,
        descriptors: int | None = None,
        most: int | None = None,
        on_full: Callable[[], None] | None = None,
        lane: Lane | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.lane = lane
        self.deadlines = Deadlines()
        self._descriptors = most_descriptors() if descriptors is None else descriptors
        self._most = most
        self._on_full = on_full or (lambda: None)
        self.draining = False
        """Each answer is the last one of its connection."""
        super().__init__(
            handler,
            access_log=None,
            tcp_keepalive=False,
            keepalive_timeout=self.limits.idle_seconds,
            lingering_time=self.limits.linger_seconds,
            max_line_size=self.limits.line_bytes,
            max_field_size=self.limits.line_bytes,
            max_headers=self.limits.headers,
            **cast(Any, SERVER_OPTIONS),
        )

    def __call__(self) -> Connection:
        return Connection(self, loop=self._loop, **self._kwargs)

    def turns_away(self, transport: asyncio.BaseTransport) -> bool:
        """Tells a client that is one too many to come back, and closes the connection."""
        sock = transport.get_extra_info("socket")
        crowded = self._most is not None and len(self._connections) >= self._most
        if not crowded and (sock is None or sock.fileno() < self._descriptors):
            return False
        self._on_full()
        connection = cast(asyncio.Transport, transport)
        connection.write(_FULL)
        connection.close()
        return True

    def pre_shutdown(self) -> None:
        """Lets every connection end with its next answer. An idle one is not closed at once: the proxy in front may be
        sending a request on it at this very moment, and could not repeat a POST."""
        self.draining = True
        for connection in self._ours():
            connection.drain()

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - as its parent has it
        """Ends all connections, giving handlers so many seconds, and those that stay idle a few of these. Whatever is
        under way then is broken off."""
        loop = asyncio.get_running_loop()
        seconds = 0.0 if timeout is None else timeout
        over = loop.time() + seconds
        try:
            await self._all_ended(min(loop.time() + _IDLE_GRACE_SECONDS, over))
            for connection in self._ours():
                connection.end()
            await self._all_ended(over)
            for connection in self._ours():
                connection.cancel()
            await self._all_ended(loop.time() + _BREAK_OFF_SECONDS)
            # aiohttp takes 0 for no limit, and gives each connection this time twice.
            await super().shutdown(_BREAK_OFF_SECONDS)
        finally:
            self.deadlines.close()

    def _ours(self) -> list[Connection]:
        return cast(list[Connection], self.connections)

    async def _all_ended(self, until: float) -> None:
        """Returns once there is no connection any more, or at that time of the loop."""
        loop = asyncio.get_running_loop()
        # aiohttp forgets a connection some time after it has ended, and tells nobody.
        while self._connections and (left := until - loop.time()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(min(left, _LOOK_SECONDS))
