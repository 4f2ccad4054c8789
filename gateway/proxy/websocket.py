"""WebSocket connections to services: the handshake, the tunnel after it, and a limit on their number.

The gateway passes the bytes after the handshake on without reading them (RFC 6455, sections 4.1 and 4.2).

It relies on a private method of aiohttp 3.14: ``BaseProtocol._drain_helper``.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, Protocol, cast

from aiohttp import ClientOSError, HttpVersion, HttpVersion11, hdrs, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import RawResponseMessage, StreamWriter, WebSocketReader
from multidict import MultiMapping

from gateway.errors import Overloaded, UpstreamUnreachable
from gateway.fair_places import FairPlaces
from gateway.observability.logging import ABORTED, BROKEN
from gateway.proxy.connection import UpstreamConnection
from gateway.proxy.headers import response_head
from gateway.proxy.plan import ForwardPlan
from gateway.proxy.response import STARTED_RESPONSE, ForwardedResponse, client_response_headers
from gateway.proxy.websocket_frames import POLICY_VIOLATION, Closing
from gateway.server.framing import MAX_CONNECTION_OPTIONS

_GUID: Final = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
# 16 bytes in base64, in their only valid form.
_KEY = re.compile(r"[A-Za-z0-9+/]{21}[AQgw]==")
_NAME = "[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PROTOCOL = re.compile(f"{_NAME}(?:/{_NAME})?")

UPGRADE: Final = b"Connection: Upgrade\r\nUpgrade: websocket"


def handshake_key(method: str, version: HttpVersion, headers: MultiMapping[str]) -> str | None:
    """The ``Sec-WebSocket-Key`` of a valid handshake; None if the request is not one."""
    if method != hdrs.METH_GET or version != HttpVersion11 or not _requests_websocket(headers):
        return None
    # Some clients send Content-Length: 0, which changes nothing.
    if hdrs.TRANSFER_ENCODING in headers or headers.getall(hdrs.CONTENT_LENGTH, ["0"]) != ["0"]:
        return None
    if headers.getall(hdrs.SEC_WEBSOCKET_VERSION, ()) != ["13"]:
        return None
    keys = headers.getall(hdrs.SEC_WEBSOCKET_KEY, ())
    return keys[0] if len(keys) == 1 and _KEY.fullmatch(keys[0]) else None


def accepts(headers: MultiMapping[str], key: str) -> bool:
    """Whether a 101 with these headers answers the handshake with this key, and no other."""
    upgrades = headers.getall(hdrs.UPGRADE, ())
    switches = len(upgrades) == 1 and _equals_token(upgrades[0], "websocket") and _lists_upgrade(headers)
    return switches and headers.getall(hdrs.SEC_WEBSOCKET_ACCEPT, ()) == [accept_of(key)]


def accept_of(key: str) -> str:
    """The ``Sec-WebSocket-Accept`` that belongs to a key."""
    # Not for secrecy: the digest shows that the answer was made for this handshake.
    return base64.b64encode(hashlib.sha1((key + _GUID).encode(), usedforsecurity=False).digest()).decode()


def _requests_websocket(headers: MultiMapping[str]) -> bool:
    """Whether a client offers to switch to WebSocket, possibly among other protocols, in one or several lines (RFC
    9110, 7.8). The gateway offers the service nothing else."""
    lines = headers.getall(hdrs.UPGRADE, ())
    if sum(value.count(",") for value in lines) >= MAX_CONNECTION_OPTIONS:
        return False
    offers = [offer.strip(" \t") for value in lines for offer in value.split(",")]
    sound = all(_PROTOCOL.fullmatch(offer) for offer in offers if offer)
    return sound and any(_equals_token(offer, "websocket") for offer in offers) and _lists_upgrade(headers)


def _lists_upgrade(headers: MultiMapping[str]) -> bool:
    values: Iterable[str] = headers.getall(hdrs.CONNECTION, ())
    if sum(value.count(",") for value in values) >= MAX_CONNECTION_OPTIONS:
        return False
    return any(_equals_token(token, "upgrade") for value in values for token in value.split(","))


def _equals_token(token: str, word: str) -> bool:
    """Compares regardless of case, but rejects characters that only become ASCII letters in lower case."""
    return token.isascii() and token.strip(" \t").lower() == word


# Bytes that may wait in one direction: this, plus one read of a socket, plus what asyncio accepts before it reports
# that a socket is slow (64 KiB): about 400 KB.
_MAX_PENDING_BYTES = 64 * 1024


class TunnelEnd:
    """One end of a tunnel, with the bytes from it that wait to be passed on. ``on_data`` is called when bytes
    arrive."""

    def __init__(self, protocol: BaseProtocol, on_data: Callable[[], None]) -> None:
        self._protocol = protocol
        self._writer = StreamWriter(protocol, asyncio.get_running_loop())
        self._on_data = on_data
        self._pieces: list[bytes] = []
        self._size = 0
        self._paused = False
        self._ended = False
        self._readable = asyncio.Event()

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Takes incoming bytes. aiohttp calls it; the return value says that more may come and nothing is left over."""
        if data and not self._ended:
            self._on_data()
            self._pieces.append(data)
            self._size += len(data)
            self._readable.set()
            self._pause_if_full()
        return False, b""

    def _pause_if_full(self) -> None:
        if self._size >= _MAX_PENDING_BYTES and not self._paused:
            self._paused = True
            self._protocol.pause_reading()

    def put_back(self, data: bytes) -> None:
        """Bytes that were taken wait again, before all others."""
        self._pieces.insert(0, data)
        self._size += len(data)
        self._pause_if_full()

    def feed_eof(self) -> None:
        """The peer will send nothing more."""
        self._ended = True
        self._readable.set()

    def take_pending(self) -> bytes:
        """All waiting bytes; reading goes on afterwards."""
        data = b"".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        if self._paused:
            self._paused = False
            self._protocol.resume_reading()
        return data

    async def read(self) -> bytes:
        """The waiting bytes, as soon as there are some; empty at the end."""
        while not self._pieces and not self._ended:
            self._readable.clear()
            await self._readable.wait()
        return self.take_pending()

    def push(self, data: bytes) -> bool:
        """Writes without waiting. Returns whether the connection is still open."""
        transport = self._protocol.transport
        if transport is None or transport.is_closing():
            return False
        if data:
            transport.write(data)
        return True

    async def drain(self) -> None:
        """Waits until the peer has taken enough of what was written. Raises ConnectionError if the connection is
        lost."""
        if self._protocol.writing_paused:
            await self._writer.drain()


class Tunnel:
    """Two ends, connected until ``end`` is called, one of them has ended, or both were silent for ``idle`` seconds (0:
    no limit). ``closable``: whether ``close`` may be called, which needs to know where frames end."""

    def __init__(
        self, client: BaseProtocol, service: BaseProtocol, idle: float, *, closable: bool = False
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.client = TunnelEnd(client, self._record_activity)
        self.service = TunnelEnd(service, self._record_activity)
        self.sent = 0
        """How many bytes were sent to the client."""
        self._idle = idle
        self._last = self._loop.time()
        self._ended_by: asyncio.Future[str] = self._loop.create_future()
        self._timer: asyncio.TimerHandle | None = None
        self._closing = (
            {self.client: Closing(masked=False), self.service: Closing(masked=True)} if closable else {}
        )
        """By the end that bytes are sent to."""
        self.closed_by = ""
        """Why the gateway has closed the WebSocket; empty if it has not."""

    def end(self, by: str) -> None:
        """Ends the tunnel; only the first ``by`` counts."""
        if not self._ended_by.done():
            self._ended_by.set_result(self.closed_by or by)

    def close(self, by: str, reason: str) -> None:
        """Closes the WebSocket with code 1008, to both sides, and ends the tunnel when one of them has closed the
        connection, after some seconds at the latest. No message that has not begun is passed on any more."""
        if self.closed_by or self._ended_by.done():
            return
        self.closed_by = by
        for sink, closing in self._closing.items():
            sink.push(closing.close(POLICY_VIOLATION, reason))
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(_CLOSE_SECONDS, self.end, by)

    async def run(self) -> str:
        """Passes bytes on until the tunnel ends, and returns what ended it. Bytes that have arrived by then are still
        sent."""
        if self._idle:
            self._timer = self._loop.call_later(self._idle, self._check_idle)
        try:
            async with asyncio.TaskGroup() as group:
                pumps = (
                    group.create_task(self._pump(self.client, self.service, "client", "service")),
                    group.create_task(self._pump(self.service, self.client, "service", "client")),
                )
                try:
                    return await self._ended_by
                finally:
                    for pump in pumps:
                        pump.cancel()
        finally:
            if self._timer is not None:
                self._timer.cancel()
            for source, sink in ((self.client, self.service), (self.service, self.client)):
                source.feed_eof()
                closing, data = self._closing.get(sink), source.take_pending()
                sink.push(data if closing is None else closing.last(data))

    async def _pump(self, source: TunnelEnd, sink: TunnelEnd, source_name: str, sink_name: str) -> None:
        by = sink_name
        try:
            while data := await source.read():
                data, rest = self._passed_on(sink, data)
                if rest:
                    source.put_back(rest)
                if not sink.push(data):
                    break
                if sink is self.client:
                    self.sent += len(data)
                await sink.drain()
                if rest:
                    await asyncio.sleep(0)
            else:
                by = source_name
        except ConnectionError:
            pass
        finally:
            self.end(by)

    def _passed_on(self, sink: TunnelEnd, data: bytes) -> tuple[bytes, bytes]:
        """What ``sink`` gets of these bytes, and what it gets in the next iteration of the event loop."""
        closing = self._closing.get(sink)
        return (data, b"") if closing is None else closing.passed_on(data)

    def _record_activity(self) -> None:
        self._last = self._loop.time()

    def _check_idle(self) -> None:
        left = self._last + self._idle - self._loop.time()
        if left <= 0:
            self.end("idle")
        else:
            self._timer = self._loop.call_later(left, self._check_idle)


# How many seconds a service may need for the bytes sent before the end.
_LAST_BYTES_SECONDS = 30.0
_FULL_RETRY_SECONDS = 5.0
# How many seconds both sides may take to close a WebSocket that the gateway has closed.
_CLOSE_SECONDS = 5.0
_SESSION_OVER = "the session in the waiting room is over"


class TunnelObserver(Protocol):
    """Is notified of each tunnel. ``by`` is ``client``, ``service``, ``idle``, ``session``, ``displaced`` or
    ``shutdown``."""

    def tunnel_opened(self) -> None: ...
    def tunnel_closed(self, route: str, by: str) -> None: ...


class TunnelPlace:
    """The place of one WebSocket among those of the instance, from the handshake to the end."""

    def __init__(self, handshake: asyncio.Timeout) -> None:
        self._handshake = handshake
        self._tunnel: Tunnel | None = None
        self._given_up = False

    def hold(self, tunnel: Tunnel) -> None:
        """The handshake is over, and the place belongs to this tunnel."""
        self._tunnel = tunnel
        if self._given_up:
            # The answer is under way, so it is too late for a refusal.
            self._handshake.reschedule(None)
            tunnel.end("displaced")

    def give_up(self) -> None:
        """Ends the tunnel, or the handshake. The instance and the service may both call it: one that ends its handshake
        has given up one place, and not yet the other."""
        if self._given_up:
            return
        self._given_up = True
        if self._tunnel is not None:
            self._tunnel.end("displaced")
        else:
            self._handshake.reschedule(asyncio.get_running_loop().time())


TUNNEL_PLACE: Final = web.RequestKey("tunnel_place", TunnelPlace)


class Tunnels:
    """All tunnels of an instance, at most ``max_tunnels`` at a time; ``idle`` as for ``Tunnel``.

    If there are as many, clients share them evenly: a client with fewer gets the place of the newest tunnel of the
    client with the most. So no client keeps the others out.
    """

    def __init__(self, max_tunnels: int, idle: float, observer: TunnelObserver | None = None) -> None:
        self._idle = idle
        self._observer = observer
        self._places: FairPlaces[TunnelPlace] = FairPlaces(max_tunnels)
        self._open: set[Tunnel] = set()
        self._draining = False

    @asynccontextmanager
    async def place(self, request: web.BaseRequest, client: str) -> AsyncIterator[None]:
        """A place for the tunnel that ``request`` asks for, until the block ends. ``client``: whom it counts for.

        Raises Overloaded if there is none, or if another client needs it during the handshake.
        """
        if self._draining:
            raise Overloaded(_FULL_RETRY_SECONDS)
        try:
            async with asyncio.timeout(None) as handshake:
                place = TunnelPlace(handshake)
                taken, displaced = self._places.take(client, place)
                if not taken:
                    raise Overloaded(_FULL_RETRY_SECONDS)
                if displaced is not None:
                    displaced.give_up()
                request[TUNNEL_PLACE] = place
                try:
                    yield
                finally:
                    self._places.leave(place)
        except TimeoutError:
            if not handshake.expired():
                raise
            raise Overloaded(_FULL_RETRY_SECONDS) from None

    async def drain(self, seconds: float) -> None:
        """Ends all tunnels, evenly over ``seconds``, and accepts no new ones."""
        self._draining = True
        left = list(self._open)
        for tunnel in left:
            tunnel.end("shutdown")
            await asyncio.sleep(seconds / len(left))

    async def relay(
        self,
        request: web.BaseRequest,
        connection: UpstreamConnection,
        message: RawResponseMessage,
        plan: ForwardPlan,
    ) -> ForwardedResponse:
        """Passes on a 101 and everything after it, until either side ends.

        Raises UpstreamUnreachable, with nothing written, if the 101 does not answer this handshake.
        """
        if plan.websocket is None or not accepts(message.headers, plan.websocket):
            raise UpstreamUnreachable("a 101 that belongs to no handshake of ours")
        head = response_head(101, message.reason, client_response_headers(message, plan).fields, UPGRADE)
        response = ForwardedResponse(message, 101, message.reason, keep_alive=False)
        watch = plan.watch_session
        tunnel = Tunnel(request.protocol, connection.protocol, self._idle, closable=watch is not None)
        request[TUNNEL_PLACE].hold(tunnel)
        connection.switch_protocol(tunnel.service)
        request[STARTED_RESPONSE] = response
        try:
            await request.writer.write(head)
        except ConnectionError:
            return response
        request.protocol.set_parser(cast(WebSocketReader, tunnel.client))
        by = "client"
        self._opened(tunnel)
        unwatch = None if watch is None else watch(partial(tunnel.close, "session", _SESSION_OVER))
        try:
            by = await tunnel.run()
        finally:
            if unwatch is not None:
                unwatch()
            # A client that has got the closing frame ends the connection, and this task with it.
            by = tunnel.closed_by or by
            self._closed(tunnel, plan.route_id, by)
            # A tunnel ends with an orderly end of the connection; a reset is not one.
            response.finish(tunnel.sent)
            if by == "client" and isinstance(getattr(request.protocol, "connection_error", None), OSError):
                response.end = ABORTED
            elif by == "service" and isinstance(connection.protocol.exception(), ClientOSError):
                response.end = BROKEN
            connection.close_gracefully(_LAST_BYTES_SECONDS)
        return response

    def _opened(self, tunnel: Tunnel) -> None:
        self._open.add(tunnel)
        if self._observer is not None:
            self._observer.tunnel_opened()
        if self._draining:
            tunnel.end("shutdown")

    def _closed(self, tunnel: Tunnel, route: str, by: str) -> None:
        self._open.discard(tunnel)
        if self._observer is not None:
            self._observer.tunnel_closed(route, by)
