"""aiohttp's server as the gateway runs it: with its own connections, and with a limit on their number."""

from __future__ import annotations

import asyncio
import random
import re
import select
import socket
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from aiohttp.streams import StreamReader

from gateway.server._aiohttp import AppRunner, Site
from gateway.server.arrivals import Arrivals
from gateway.server.certificates import Certificates
from gateway.server.closing import close_in_order
from gateway.server.connection import Guard
from gateway.server.deadlines import Deadlines
from gateway.server.detached_connections import DetachedConnections
from gateway.server.displacement import Displacement
from gateway.server.first_bytes import FirstBytes
from gateway.server.framing import HEAD_END, is_single_head
from gateway.server.handshake_failures import NO_OBSERVER, ConnectionObserver
from gateway.server.head import HeadParser, RequestHead, UnreadableHead, remote_of, scheme_of
from gateway.server.interfaces import FastPath
from gateway.server.limits import SERVER_OPTIONS, ConnectionLimits, file_limit
from gateway.server.request_handler import RequestHandler
from gateway.server.socket_buffer import over_tls, read_available
from gateway.server.tls_port import Handshake, TlsPort
from gateway.server.whole_response import SERVER_NAME, WholeResponse

BACKLOG: Final = 4096
"""Length of the listen backlog. A sale opens in one second, and aiohttp's 128 would refuse most connections."""

_ACCEPT_BATCH: Final = 64
_PENDING_ACCEPT_SECONDS: Final = 0.5  # for what waits when the port closes
_ATTACH_ITERATIONS: Final = 5
_IDLE_GRACE_SECONDS: Final = 2.0
_IDLE_CHECK_SECONDS: Final = 0.25
_POLL_SECONDS: Final = 0.02
_ABORT_SECONDS: Final = 0.02
_NO_TIMEOUT_SECONDS: Final = 10.0 * 365 * 86400
_READ_BYTES: Final = 64 * 1024
_MAX_UNDECIDED: Final = 16
_FIRST_BYTES_SECONDS: Final = 0.5
_STREAM_START: Final = b"GET /api/v1/queue/stream"
_STREAM: Final = re.compile(rb"%b[? ]" % _STREAM_START)
_PROBE_STARTS: Final = (b"GET /actuator/health", b"HEAD /actuator/health", b"OPTIONS /actuator/health")
_PROBE: Final = re.compile(
    rb"(?:GET|HEAD|OPTIONS) /actuator/health(?:/[a-zA-Z/]{0,100})?(?:\?[!-~]{0,100})? HTTP/1\.[01]\r\n"
)
_MAX_PROBES: Final = 8
_MAX_PROBE_BYTES: Final = 4096
_FULL_RESPONSE: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nServer: gateway\r\nRetry-After: 5\r\n"
    b"Cache-Control: no-store\r\nContent-Length: 0\r\n%bConnection: close\r\n\r\n"
)


_FULL_STREAM_RESPONSE: Final = (
    b"HTTP/1.1 200 OK\r\nServer: gateway\r\nContent-Type: text/event-stream\r\n"
    b"Cache-Control: no-store, no-transform\r\nX-Accel-Buffering: no\r\n"
    b"Content-Length: %d\r\n%bConnection: close\r\n\r\n%b"
)


_ORIGIN: Final = re.compile(rb"\r\norigin:", re.IGNORECASE)
_RETRY_EVENT: Final = b"retry: %d\n: no room here\n\n"
_RETRY_MS: Final = (5_000, 15_000)  # drawn evenly, so that a crowd comes back spread out


def max_descriptors() -> int:
    """How many file descriptors may be in use before new connections are refused: the limit minus a twentieth, at least
    64. These remain for services, Redis, files, and for accepting connections in order to refuse them."""
    most = file_limit()
    return most - max(64, most // 20)


async def open_port(runner: Runner, host: str, port: int, certificates: Certificates | None = None) -> None:
    """Opens a port at every address of ``host``, over TLS if there are certificates. Raises OSError.

    It accepts connections in small batches, so that a crowd delays other work only briefly and can be counted. The
    backlog is long.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for family, _, protocol, _, address in dict.fromkeys(found):
        listening = socket.socket(family, socket.SOCK_STREAM, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Accepted connections inherit this option; aiohttp would set it on each.
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if family == socket.AF_INET6:
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listening.setblocking(False)
            listening.bind(address)
            if certificates is None:
                await web.SockSite(runner, listening, backlog=_ACCEPT_BATCH).start()
            elif isinstance(runner.server, Server):
                await Site(runner, TlsPort(runner.server, listening, certificates)).start()
        except BaseException:
            listening.close()
            raise
        # asyncio uses one number both for the backlog and for how many connections it accepts per iteration.
        listening.listen(BACKLOG)
        runner.ports.append(listening)


def _has_pending_connection(ports: Sequence[socket.socket]) -> bool:
    """Whether a connection waits to be accepted."""
    poll = select.poll()
    for port in ports:
        if port.fileno() >= 0:
            poll.register(port, select.POLLIN)
    return bool(poll.poll(0))


class Runner(AppRunner):
    """Runs an application on the gateway's own ``Server``; the parameters are those of ``Server``."""

    __slots__ = ("_fast_path", "_observer", "_server_options", "_trusts", "ports")

    def __init__(
        self,
        app: web.Application,
        limits: ConnectionLimits | None = None,
        *,
        most: int | None = None,
        on_full: Callable[[], None] | None = None,
        arrivals: Arrivals | None = None,
        refuse: RefuseUnreadable | None = None,
        cors_of: CorsOf = lambda head: (),
        detached: DetachedConnections | None = None,
        fast_path: FastPath | None = None,
        trusts: Callable[[str], bool] = lambda peer: False,
        observer: ConnectionObserver = NO_OBSERVER,
    ) -> None:
        super().__init__(app, access_log=None, shutdown_timeout=0.0)
        self.ports: list[socket.socket] = []
        """The listening sockets."""
        self._server_options = (
            limits,
            most,
            on_full,
            arrivals,
            refuse or plain_text_refusal,
            cors_of,
            detached,
        )
        self._fast_path, self._trusts, self._observer = fast_path, trusts, observer

    def make_server(self, plain: web.Server) -> web.Server:
        """The gateway's own server around the application."""
        limits, most, on_full, arrivals, refuse, cors_of, detached = self._server_options
        return Server(
            plain.request_handler,
            limits,
            most=most,
            on_full=on_full,
            arrivals=arrivals,
            refuse=refuse,
            cors_of=cors_of,
            detached=detached,
            fast_path=self._fast_path,
            trusts=self._trusts,
            observer=self._observer,
        )

    async def stop_serving(self, seconds: float) -> None:
        """Accepts no new connections and ends the existing ones within ``seconds``. The application stays up."""
        # Clients whose connections wait to be accepted may already have sent requests. Closing the port would reset
        # these connections.
        loop = asyncio.get_running_loop()
        until = loop.time() + min(seconds, _PENDING_ACCEPT_SECONDS)
        while loop.time() < until and _has_pending_connection(self.ports):  # noqa: ASYNC110 - no event says that
            await asyncio.sleep(0)
        for site in list(self.sites):
            await site.stop()
        # Those that were accepted last are given to their protocols a few turns later.
        for _ in range(_ATTACH_ITERATIONS):
            await asyncio.sleep(0)
        if isinstance(self.server, Server):
            self.server.pre_shutdown()
            await self.server.shutdown(seconds)


RefuseUnreadable = Callable[[UnreadableHead], WholeResponse]
"""Creates the answer to a request that can't be read, and counts and logs it."""


def plain_text_refusal(head: UnreadableHead) -> WholeResponse:
    """The answer of a server without an application."""
    return WholeResponse(f"400: {head.fault}".encode(), status=400, headers={"Content-Type": "text/plain"})


CorsOf = Callable[[RequestHead], Sequence[tuple[str, str]]]
"""Returns the CORS headers of the answer to a request: names and values."""


class Server(web.Server):
    """aiohttp's server with a ``Guard`` for each connection. Create it inside the loop.

    While ``descriptors`` or more file descriptors are in use (judged by the number of the newest one), and while there
    are ``most`` connections (None: only the descriptors count), a new connection takes the place of an idle one (see
    ``Displacement``), or is refused if there is none. ``on_full`` is called for each refused connection. A few health
    requests are answered all the same: a supervisor would otherwise restart a gateway that merely has many clients.

    ``arrivals``: the queue for requests of new users, if these are to wait. ``refuse``: see ``RefuseUnreadable``.
    ``cors_of`` is called for the request on a refused connection if a page of another origin may have sent it: if the
    page can't read the answer, its ``EventSource`` never reconnects. ``detached``: the connections that left aiohttp,
    which count as well. ``fast_path`` serves plain requests without aiohttp. ``trusts``: whether the peer at an address
    is a proxy that may name its client by the PROXY protocol. ``observer`` is told of connections that fail before
    their first request, and of those that end for new ones.
    """

    def __init__(
        self,
        handler: Callable[[Any], Awaitable[web.StreamResponse]],
        limits: ConnectionLimits | None = None,
        *,
        descriptors: int | None = None,
        most: int | None = None,
        on_full: Callable[[], None] | None = None,
        arrivals: Arrivals | None = None,
        refuse: RefuseUnreadable = plain_text_refusal,
        cors_of: CorsOf = lambda head: (),
        detached: DetachedConnections | None = None,
        fast_path: FastPath | None = None,
        trusts: Callable[[str], bool] = lambda peer: False,
        observer: ConnectionObserver = NO_OBSERVER,
    ) -> None:
        self.fast_path = fast_path
        self.observer = observer
        self.trusts = trusts
        self.limits = limits or ConnectionLimits()
        self.loop = asyncio.get_running_loop()
        self.arrivals = arrivals
        self.deadlines = Deadlines()
        self.heads = HeadParser(self.loop, self.limits)
        self.guards: set[Guard] = set()
        """The connections being served."""
        self.handshakes: set[Handshake] = set()
        """The connections that are not over TLS yet, on a port with TLS."""
        self._displacement = Displacement(self.guards)
        self._unfinished = Displacement(self.handshakes)
        self._descriptors = max_descriptors() if descriptors is None else descriptors
        self._max_connections = most
        self._on_full = on_full or (lambda: None)
        self._refusal_of = refuse
        self._cors_of = cors_of
        self._detached = DetachedConnections() if detached is None else detached
        self._undecided: dict[Guard, FirstBytes] = {}
        """Connections above the limit whose first bytes do not show yet what the client asks for."""
        self.probes: set[Guard] = set()
        """Connections above the limit that are answered once, because they ask for health."""
        self.draining = False
        """Whether the server is draining: each answer is then the last one of its connection."""
        self._options: dict[str, Any] = {
            "loop": self.loop,
            "access_log": None,
            "tcp_keepalive": False,
            # The guard enforces the time-out of idle connections.
            "keepalive_timeout": _NO_TIMEOUT_SECONDS,
            "lingering_time": self.limits.dropped_body_seconds,
            "max_line_size": self.limits.line_bytes,
            "max_field_size": self.limits.line_bytes,
            "max_headers": self.limits.headers,
            "auto_decompress": SERVER_OPTIONS["auto_decompress"],
            "read_bufsize": SERVER_OPTIONS["read_bufsize"],
        }
        super().__init__(
            handler,
            request_factory=self._request,
            handler_cancellation=bool(SERVER_OPTIONS["handler_cancellation"]),
        )

    def __call__(self) -> Guard:  # type: ignore[override]
        """The protocol of a new connection."""
        return Guard(self)

    def guard_of(self, client: tuple[str, int] | None) -> Guard:
        """The protocol of a new connection over TLS; ``client`` as in ``Guard``."""
        return Guard(self, client, preamble=False)

    def refusal_of(self, remote: str, fault: str) -> bytes:
        """The answer to a connection that should have been over TLS, and to one of a proxy that says nonsense."""
        answer = self._refusal_of(UnreadableHead(remote, fault))
        answer.headers.setdefault("Server", SERVER_NAME)
        return answer.serialized(keep_alive=False)

    def may_shake_hands(self, connection: socket.socket) -> bool:
        """Whether there is room for another connection over TLS. Some handshakes are made above the limit: only after
        them a client can be told to come back."""
        crowded = self._max_connections is not None and self._open() >= self._max_connections
        full = crowded or connection.fileno() >= self._descriptors
        # A client that has not made its handshake may end another slow handshake, and no connection in use.
        if not full or len(self.handshakes) < _MAX_UNDECIDED or self._make_room(self._unfinished):
            return True
        self._on_full()
        return False

    def handler_for(self, guard: Guard) -> RequestHandler:
        """Creates aiohttp's part of a connection."""
        return RequestHandler(self, guard, **self._options)

    def refuse(self, transport: asyncio.BaseTransport, fault: str) -> WholeResponse:
        """The answer to a request that can't be read."""
        answer = self._refusal_of(UnreadableHead(remote_of(transport), fault))
        answer.headers.setdefault("Server", SERVER_NAME)
        return answer

    def _request(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: Any,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> web.BaseRequest:
        guard: Guard = protocol.guard
        return guard.make_request(message, payload, writer, task)

    def is_full(self, transport: asyncio.BaseTransport) -> bool:
        """Whether this new connection is above the limit, and no other one has made room for it."""
        sock = transport.get_extra_info("socket")
        counted = self._served() - len(self.probes) - self._displacement.leaving
        crowded = self._max_connections is not None and counted >= self._max_connections
        if crowded or (sock is not None and sock.fileno() >= self._descriptors):
            return not self._make_room(self._displacement)
        self._displacement.release_candidates()
        return False

    def _make_room(self, displacement: Displacement) -> bool:
        """Ends an idle connection for a new one. Returns whether there was one."""
        made = displacement.make_room()
        if made:
            self.observer.idle_connection_displaced()
        return made

    def turn_away(
        self, connection: Guard, transport: asyncio.Transport, *, may_name_client: bool = False
    ) -> None:
        """Asks a client above the limit to come back, and closes the connection. ``may_name_client``: whether the peer
        is a proxy that may do so by the PROXY protocol.

        The answer depends on the request: an ``EventSource`` never reconnects after a 503, and a health request is
        answered. In a crowd the request has already arrived when the connection is accepted. Otherwise the gateway
        keeps a few connections for a moment, until the request arrives.
        """
        # Taken from the kernel: closing a connection with unread bytes resets it, and the client may lose the answer.
        received = b""
        if not over_tls(transport):
            received = read_available(transport.get_extra_info("socket").fileno(), _READ_BYTES)
        first_bytes = FirstBytes(transport, received, may_name_client=may_name_client)
        if _is_undecided(first_bytes.request) and len(self._undecided) < _MAX_UNDECIDED:
            self._undecided[connection] = first_bytes
            self.deadlines.set(connection, _FIRST_BYTES_SECONDS, partial(self.hear_first, connection, b""))
        else:
            self._decide(connection, first_bytes)

    def hear_first(self, connection: Guard, data: bytes) -> None:
        """A connection above the limit has sent ``data``. Empty data means that it sent nothing in its time."""
        if connection not in self._undecided:
            return
        first_bytes = self._undecided[connection]
        first_bytes.add(data)
        if data and _is_undecided(first_bytes.request):
            return
        del self._undecided[connection]
        self.deadlines.drop(connection)
        self._decide(connection, first_bytes)

    def discard(self, connection: Guard) -> None:
        """The connection has ended; drops what is known of it."""
        self.probes.discard(connection)
        if self._undecided.pop(connection, None) is not None:
            self._on_full()

    def _decide(self, connection: Guard, first_bytes: FirstBytes) -> None:
        """Answers a connection above the limit by its first bytes."""
        transport, received = first_bytes.transport, first_bytes.request
        probe = _PROBE.match(received) is not None and is_single_head(received, _MAX_PROBE_BYTES)
        if probe and len(self.probes) < _MAX_PROBES and not transport.is_closing():
            self.probes.add(connection)
            connection.serve_once(transport, received)
            return
        self._on_full()
        if transport.is_closing():
            return
        cors = self._cors_lines(transport, received)
        if _STREAM.match(received) is None:
            transport.write(_FULL_RESPONSE % cors)
        else:
            body = _RETRY_EVENT % random.randrange(*_RETRY_MS)
            transport.write(_FULL_STREAM_RESPONSE % (len(body), cors, body))
        close_in_order(connection, transport, self.deadlines, self.limits.linger_seconds, None)

    def _cors_lines(self, transport: asyncio.Transport, received: bytes) -> bytes:
        """The header lines of the usual answer for the page that sent ``received``. Empty if no page sent it, or if the
        head is not complete. Without an origin the only line would be ``Vary``, and caches don't need that for an
        answer that they may not store."""
        head, end, _ = received.partition(HEAD_END)
        if not end or _ORIGIN.search(head) is None or not is_single_head(head + end, self.limits.head_bytes):
            return b""
        request = self.heads.parse(head + end, remote_of(transport), scheme=scheme_of(transport))
        lines = self._cors_of(request) if request is not None else ()
        return b"".join(f"{name}: {value}\r\n".encode() for name, value in lines)

    def pre_shutdown(self) -> None:
        """Lets every connection end with its next answer. An idle connection is not closed at once: the proxy in front
        may be sending a request on it at this moment, and could not repeat a POST."""
        self.draining = True

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - as its parent has it
        """Ends all connections within ``timeout`` seconds. Idle connections, and those that become idle, get only a few
        of these. Whatever is still in progress then is cancelled."""
        loop = asyncio.get_running_loop()
        seconds = 0.0 if timeout is None else timeout
        deadline = loop.time() + seconds
        next_check = loop.time() + _IDLE_GRACE_SECONDS
        try:
            while self._open() and loop.time() < deadline:
                await self._wait_closed(min(next_check, deadline))
                # An earlier answer may have said that its connection stays open.
                for connection in list(self.guards):
                    connection.end_if_idle(since=next_check - _IDLE_GRACE_SECONDS)
                next_check = loop.time() + _IDLE_CHECK_SECONDS
            for connection in list(self.guards):
                connection.cancel()
            for handshake in list(self.handshakes):
                handshake.cancel()
            self._detached.abort()
            await self._wait_closed(loop.time() + _ABORT_SECONDS)
            # aiohttp takes 0 for no limit, and gives each connection this time twice.
            await super().shutdown(_ABORT_SECONDS)
        finally:
            self.deadlines.close()

    def _served(self) -> int:
        """The number of connections that are served, including those that left aiohttp."""
        return len(self.guards) + len(self._detached)

    def _open(self) -> int:
        """The number of all connections."""
        return self._served() + len(self.handshakes)

    async def _wait_closed(self, until: float) -> None:
        """Returns once there are no more connections, or at ``until``, a time of the loop's clock."""
        loop = asyncio.get_running_loop()
        while self._open() and (left := until - loop.time()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(min(left, _POLL_SECONDS))


def _is_undecided(received: bytes) -> bool:
    """Whether ``received`` may still become a request that is not simply refused."""
    if any(start.startswith(received) for start in (_STREAM_START, *_PROBE_STARTS)):
        return True
    if HEAD_END in received:
        return False
    if _STREAM.match(received) is not None:
        # The rest of the head shows which page will read the answer.
        return len(received) < _READ_BYTES
    return received.startswith(_PROBE_STARTS) and len(received) < _MAX_PROBE_BYTES
