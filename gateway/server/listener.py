"""aiohttp's server as this gateway runs it: whose connections are ours, and how many there may be."""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, cast

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler

from gateway.server.arrivals import Lane
from gateway.server.connection import ClientRequest, Connection
from gateway.server.deadlines import Deadlines
from gateway.server.detached import DetachedConnections
from gateway.server.framing import HEAD_END, one_whole_head
from gateway.server.limits import SERVER_OPTIONS, Limits, file_limit
from gateway.sse.frames import come_back

BACKLOG: Final = 4096
"""Connections that may wait to be accepted: a sale opens in one second, and aiohttp's 128 would refuse most."""

_ACCEPTED_AT_ONCE: Final = 64
_IDLE_GRACE_SECONDS: Final = 2.0
_IDLE_LOOK_SECONDS: Final = 0.25
_LOOK_SECONDS: Final = 0.02
_BREAK_OFF_SECONDS: Final = 0.02
_READ_BYTES: Final = 64 * 1024
_MOST_UNDECIDED: Final = 16
_FIRST_BYTES_SECONDS: Final = 0.5
_STREAM_START: Final = b"GET /api/v1/queue/stream"
_STREAM: Final = re.compile(rb"%b[? ]" % _STREAM_START)
_PROBE_STARTS: Final = (b"GET /actuator/health", b"HEAD /actuator/health")
_PROBE: Final = re.compile(
    rb"(?:GET|HEAD) /actuator/health(?:/[a-zA-Z/]{0,100})?(?:\?[!-~]{0,100})? HTTP/1\.[01]\r\n"
)
_MOST_PROBES: Final = 8
_LONGEST_PROBE: Final = 4096
_FULL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nServer: gateway\r\nRetry-After: 5\r\n"
    b"Cache-Control: no-store\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)


_FULL_FOR_STREAMS: Final = (
    b"HTTP/1.1 200 OK\r\nServer: gateway\r\nContent-Type: text/event-stream\r\n"
    b"Cache-Control: no-store, no-transform\r\nX-Accel-Buffering: no\r\n"
    b"Content-Length: %d\r\nConnection: close\r\n\r\n%b"
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


class Runner(web.AppRunner):
    """Runs an application on the gateway's own ``Server``; the parameters are those of ``Server``.

    An inner part relied on, of aiohttp 3.14: ``AppRunner._make_server``, which starts the application.
    """

    __slots__ = ("_server_parts",)

    def __init__(
        self,
        app: web.Application,
        limits: Limits | None = None,
        *,
        most: int | None = None,
        on_full: Callable[[], None] | None = None,
        lane: Lane | None = None,
        detached: DetachedConnections | None = None,
    ) -> None:
        super().__init__(app, access_log=None, shutdown_timeout=0.0)
        self._server_parts = limits, most, on_full, lane, detached

    async def _make_server(self) -> web.Server:
        plain = await super()._make_server()
        limits, most, on_full, lane, detached = self._server_parts
        return Server(plain.request_handler, limits, most=most, on_full=on_full, lane=lane, detached=detached)

    async def stop_serving(self, seconds: float) -> None:
        """Takes no new connections and ends those there are within ``seconds``. The application stays up."""
        for site in list(self.sites):
            await site.stop()
        if isinstance(self.server, Server):
            self.server.pre_shutdown()
            await self.server.shutdown(seconds)


class Server(web.Server):
    """aiohttp's server with connections that are ``Connection``. Make it inside the loop.

    Connections are refused while ``descriptors`` files or more are open, this being the number the next one gets, and
    while there are ``most`` connections (None: no bound but the files). ``on_full`` is called for each. A few requests
    for health are answered all the same: a supervisor would restart a gateway that only has many clients. ``lane``:
    where newcomers wait, if they are to. ``detached``: the connections that left aiohttp, which count as well.
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
        detached: DetachedConnections | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self._detached = DetachedConnections() if detached is None else detached
        self.lane = lane
        self.deadlines = Deadlines()
        self._descriptors = most_descriptors() if descriptors is None else descriptors
        self._most = most
        self._on_full = on_full or (lambda: None)
        self._undecided: dict[Connection, tuple[asyncio.Transport, bytes]] = {}
        """Connections too many whose first bytes do not say yet what the client asks for, with these bytes."""
        self._probes: set[Connection] = set()
        """Connections too many that are answered, once each, because they ask for health."""
        self.draining = False
        """Each answer is the last one of its connection."""
        super().__init__(
            handler,
            request_factory=self._request,
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

    def _request(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> web.BaseRequest:
        return ClientRequest(message, payload, protocol, writer, task, self._loop)

    def is_full(self, transport: asyncio.BaseTransport) -> bool:
        """Whether this new connection is one too many."""
        sock = transport.get_extra_info("socket")
        crowded = self._most is not None and self._open() - len(self._probes) >= self._most
        return crowded or (sock is not None and sock.fileno() >= self._descriptors)

    def turn_away(self, connection: Connection, transport: asyncio.Transport) -> None:
        """Tells a client that is one too many to come back, and closes the connection.

        What it asks for decides how it is told: an ``EventSource`` gives up for good on a 503, and a request for health
        is answered. In a crowd the request is there when the connection is accepted; else a few connections are kept
        for a moment, until it comes.
        """
        came = _what_came(transport.get_extra_info("socket").fileno())
        if _is_undecided(came) and len(self._undecided) < _MOST_UNDECIDED:
            self._undecided[connection] = transport, came
            self.deadlines.set(connection, _FIRST_BYTES_SECONDS, partial(self.hear_first, connection, b""))
        else:
            self._decide(connection, transport, came)

    def hear_first(self, connection: Connection, data: bytes) -> None:
        """A connection that is one too many has sent ``data``; nothing in its time if that is empty."""
        if connection not in self._undecided:
            return
        transport, came = self._undecided[connection]
        came += data
        if data and _is_undecided(came):
            self._undecided[connection] = transport, came
            return
        del self._undecided[connection]
        self.deadlines.drop(connection)
        self._decide(connection, transport, came)

    def is_probe(self, connection: Connection) -> bool:
        """Whether this connection is one too many that is answered because it asks for health."""
        return connection in self._probes

    def forget(self, connection: Connection) -> None:
        """The connection has ended, whatever it would have been told."""
        self._probes.discard(connection)
        if self._undecided.pop(connection, None) is not None:
            self._on_full()

    def _decide(self, connection: Connection, transport: asyncio.Transport, came: bytes) -> None:
        """Answers a connection that is one too many, whose first bytes are ``came``."""
        probe = _PROBE.match(came) is not None and one_whole_head(came, _LONGEST_PROBE)
        if probe and len(self._probes) < _MOST_PROBES and not transport.is_closing():
            self._probes.add(connection)
            connection.serve_once(transport, came)
            return
        self._on_full()
        if transport.is_closing():
            return
        if _STREAM.match(came) is None:
            transport.write(_FULL)
        else:
            body = come_back("no room here").raw
            transport.write(_FULL_FOR_STREAMS % (len(body), body))
        transport.close()

    def pre_shutdown(self) -> None:
        """Lets every connection end with its next answer. An idle one is not closed at once: the proxy in front may be
        sending a request on it at this very moment, and could not repeat a POST."""
        self.draining = True

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - as its parent has it
        """Ends all connections, giving handlers so many seconds, and those that are idle, or become idle, a few of
        these. Whatever is under way then is broken off."""
        loop = asyncio.get_running_loop()
        seconds = 0.0 if timeout is None else timeout
        over = loop.time() + seconds
        look = loop.time() + _IDLE_GRACE_SECONDS
        try:
            while self._open() and loop.time() < over:
                await self._all_ended(min(look, over))
                # An answer that had begun before may have said that its connection stays open.
                for connection in self._ours():
                    connection.end_if_idle(since=look - _IDLE_GRACE_SECONDS)
                look = loop.time() + _IDLE_LOOK_SECONDS
            for connection in self._ours():
                connection.cancel()
            await self._all_ended(loop.time() + _BREAK_OFF_SECONDS)
            self._detached.abort()
            await self._all_ended(loop.time() + _BREAK_OFF_SECONDS)
            # aiohttp takes 0 for no limit, and gives each connection this time twice.
            await super().shutdown(_BREAK_OFF_SECONDS)
        finally:
            self.deadlines.close()

    def _open(self) -> int:
        """How many connections there are, those included that left aiohttp."""
        return len(self._connections) + len(self._detached)

    def _ours(self) -> list[Connection]:
        return cast(list[Connection], self.connections)

    async def _all_ended(self, until: float) -> None:
        """Returns once there is no connection any more, or at that time of the loop."""
        loop = asyncio.get_running_loop()
        # aiohttp forgets a connection some time after it has ended, without a signal.
        while self._open() and (left := until - loop.time()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(min(left, _LOOK_SECONDS))


def _is_undecided(came: bytes) -> bool:
    """Whether ``came`` may still become a request that is not simply refused."""
    if any(start.startswith(came) for start in (_STREAM_START, *_PROBE_STARTS)):
        return True
    return came.startswith(_PROBE_STARTS) and HEAD_END not in came and len(came) < _LONGEST_PROBE


def _what_came(descriptor: int) -> bytes:
    """What a client has sent already. Taken from the kernel, for what is left there when a connection is closed makes a
    reset of its end, which can take the answer along."""
    # uvloop's stand-in for a socket can't read; what family the socket is said to have does not matter for that.
    bare = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, descriptor)
    try:
        return bare.recv(_READ_BYTES, socket.MSG_DONTWAIT)
    except OSError:
        return b""
    finally:
        bare.detach()
