"""Opens a stream: aiohttp-sse creates the head, then the connection leaves aiohttp."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from contextlib import suppress

from aiohttp import hdrs
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.web import BaseRequest
from aiohttp.web_exceptions import HTTPMethodNotAllowed
from aiohttp_sse import EventSourceResponse

from gateway.server.detached_connections import DetachedConnections, transport_of
from gateway.server.whole_response import head_of
from gateway.sse.protocol import OnEnd, StreamProtocol

UNACKNOWLEDGED_SECONDS = 60
"""A peer that acknowledges nothing for so many seconds counts as gone, whether it vanished or keeps its window
closed."""

UNSENT_BYTES = 16 * 1024
"""Unsent bytes that the kernel buffers for a client that doesn't read, apart from bytes in flight: about 60 updates."""

# Linux has both options, other systems may not.
_SOCKET_OPTIONS = [
    (option, value)
    for option, value in (
        (getattr(socket, "TCP_USER_TIMEOUT", None), UNACKNOWLEDGED_SECONDS * 1000),
        (getattr(socket, "TCP_NOTSENT_LOWAT", None), UNSENT_BYTES),
    )
    if option is not None
]


class _HeadCollector(asyncio.Transport):
    """Collects the head from aiohttp, so that it is sent in one piece with the first frame."""

    def __init__(self) -> None:
        super().__init__()
        self.data = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.data += data

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        """No-op: aiohttp closes what it believes to be the connection when that is lost."""

    def get_write_buffer_size(self) -> int:
        return 0


class EventStream(EventSourceResponse):
    """The response to one ``GET`` of a stream. After the head, the hub writes directly to the transport and not through
    this object.

    ``headers`` are sent in addition to those of every stream.
    """

    def __init__(self, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(headers=headers)
        self.headers["Cache-Control"] = "no-store, no-transform"
        # The connection leaves aiohttp for good, and ends after the last frame.
        del self.headers["Connection"]
        self.force_close()

    async def start(
        self,
        request: BaseRequest,
        *,
        user: str,
        locale: str,
        languages: str = "",
        max_buffer: int,
        connections: DetachedConnections,
        on_end: OnEnd,
    ) -> StreamProtocol | None:
        """Returns the stream for a hub to serve, or ``None`` if the client has gone. The head is sent with the first
        frame.

        Either way the handler must return this response without another await before. ``max_buffer`` is in bytes.
        ``on_end`` is called when the connection is lost; not if ``None`` is returned.
        """
        transport = request.transport
        if transport is None or transport.is_closing():
            return None
        aiohttp_protocol, head = request.protocol, _HeadCollector()
        aiohttp_protocol.transport = head
        try:
            await self.prepare(request)
        except ConnectionResetError:
            # The connection was lost in the meantime.
            return None
        finally:
            if aiohttp_protocol.transport is head:
                aiohttp_protocol.transport = transport
        stream = StreamProtocol(
            user,
            locale,
            languages,
            transport_of(transport),
            chunked=self.headers.get(hdrs.TRANSFER_ENCODING) == "chunked",
            limit=max_buffer,
            head=head.data,
            connections=connections,
            on_end=on_end,
        )
        _tune(transport)
        connections.detach(request, stream)
        return stream

    def start_without_request(
        self,
        transport: asyncio.Transport,
        *,
        user: str,
        locale: str,
        languages: str = "",
        max_buffer: int,
        connections: DetachedConnections,
        on_end: OnEnd,
    ) -> StreamProtocol:
        """``start`` for an HTTP/1.1 request that aiohttp has not seen, on its open ``transport``, which no other
        protocol uses any more. The head has the bytes that aiohttp would write."""
        headers = self.headers
        headers[hdrs.TRANSFER_ENCODING] = "chunked"
        headers[hdrs.DATE] = rfc822_formatted_time()
        headers[hdrs.CONNECTION] = "close"
        stream = StreamProtocol(
            user,
            locale,
            languages,
            transport,
            chunked=True,
            limit=max_buffer,
            head=head_of(f"HTTP/1.1 {self.status} {self.reason}", headers.items()),
            connections=connections,
            on_end=on_end,
        )
        _tune(transport)
        connections.adopt(transport, stream)
        return stream

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter | None:
        """Creates the head. Raises ``ConnectionResetError`` if the client has gone."""
        if self.prepared:
            return request.writer
        if request.method != hdrs.METH_GET:
            raise HTTPMethodNotAllowed(request.method, (hdrs.METH_GET,))
        if request.transport is None:
            raise ConnectionResetError("the client has gone")
        # The parent's method would start a ping task for each stream.
        return await super(EventSourceResponse, self).prepare(request)

    async def write_eof(self, data: bytes = b"") -> None:
        """No-op: the hub ends the body."""


def _tune(transport: asyncio.Transport) -> None:
    connection = transport.get_extra_info("socket")
    if connection is None:
        return
    # A socket that is not TCP refuses the options. uvloop's socket object would create a whole new socket for each
    # option, which costs more than the one here. The address family given here does not matter for that.
    with suppress(OSError):
        sock = socket.SocketType(socket.AF_INET, socket.SOCK_STREAM, 0, connection.fileno())
        try:
            for option, value in _SOCKET_OPTIONS:
                sock.setsockopt(socket.IPPROTO_TCP, option, value)
        finally:
            sock.detach()
