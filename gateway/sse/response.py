"""Opens a stream on an aiohttp connection, and closes it again.

Inner parts relied on, all of aiohttp 3.14: ``StreamResponse._send_headers_immediately``, ``StreamWriter._headers_buf``
and ``_headers_written``.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import suppress

from aiohttp import HttpVersion11
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_writer import StreamWriter
from aiohttp.web import BaseRequest
from aiohttp.web_exceptions import HTTPMethodNotAllowed
from aiohttp_sse import EventSourceResponse

from gateway.observability.logging import ABORTED
from gateway.sse.subscriber import Subscriber

UNACKNOWLEDGED_SECONDS = 60
"""A peer that acknowledges nothing for so long is gone, be it without a word or with a closed window."""

UNSENT_BYTES = 16 * 1024
"""What the kernel takes for a reader that doesn't read, above what is on its way: about 60 status updates."""

# (name, while streaming, otherwise: zero is the system's own value). Linux has both, others may not.
_SOCKET_OPTIONS = [
    (option, value, 0)
    for option, value in (
        (getattr(socket, "TCP_USER_TIMEOUT", None), UNACKNOWLEDGED_SECONDS * 1000),
        (getattr(socket, "TCP_NOTSENT_LOWAT", None), UNSENT_BYTES),
    )
    if option is not None
]


class EventStream(EventSourceResponse):
    """The response to one ``GET`` of a stream, without a task of its own.

    ``headers`` are sent besides those that every stream has. What is written after the head goes from the
    hub to the transport and not through this object.
    """

    _send_headers_immediately = False

    def __init__(self, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(headers=headers)
        self.headers["Cache-Control"] = "no-store, no-transform"
        # aiohttp knows better than "keep-alive" for everybody, as its parent class says.
        del self.headers["Connection"]
        self._subscriber: Subscriber | None = None

    @property
    def body_length(self) -> int:
        """Bytes of the body that were written."""
        subscriber = self._subscriber
        return subscriber.sent if subscriber is not None and subscriber.begun else 0

    @property
    def end(self) -> str:
        """Empty if the last thing was said, else that the client aborted it, be it by taking nothing."""
        return "" if self._subscriber is not None and self._subscriber.completed else ABORTED

    async def subscribe(
        self, request: BaseRequest, *, user: str, locale: str, max_buffer: int
    ) -> Subscriber | None:
        """Returns the stream to attend to, or ``None`` if the client has gone. The head goes out with its first frame.

        Either way the handler returns this response in the end. ``max_buffer`` is in bytes.
        """
        try:
            writer = await self.prepare(request)
        except ConnectionResetError:
            return None
        transport = request.transport
        if transport is None:
            return None
        chunked, head = False, b""
        if isinstance(writer, StreamWriter):
            chunked, head = writer.chunked, writer._headers_buf or b""
            # What ``send_headers`` does, but for the writing: head and first frame go out together.
            writer._headers_buf, writer._headers_written = None, True
        # Said, and never asked for again.
        self._headers.clear()
        self._subscriber = Subscriber(user, locale, transport, chunked=chunked, limit=max_buffer, head=head)
        return self._subscriber

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter | None:
        """Makes the head. Raises ``ConnectionResetError`` if the client has gone."""
        if self.prepared:
            return self._payload_writer
        if request.method != "GET":
            raise HTTPMethodNotAllowed(request.method, ("GET",))
        if request.transport is None:
            raise ConnectionResetError("the client has gone")
        if request.version < HttpVersion11:
            # Only the end of the connection ends a body that has neither length nor chunks.
            self.force_close()
        _tune(request, streaming=True)
        # Not the parent's, which starts a task per stream to ping it.
        return await super(EventSourceResponse, self).prepare(request)

    async def write_eof(self, data: bytes = b"") -> None:
        """Ends the body, unless the hub has, and leaves the connection as it was found."""
        request, writer = self._req, self._payload_writer
        if self._subscriber is not None and self._subscriber.completed and isinstance(writer, StreamWriter):
            # The last chunk is out. It would be written again, and after a wait for a slow reader.
            writer.chunked = False
        await super().write_eof(data)
        # Also for a reader who is behind: the head has said whether the connection stays open. Whoever takes nothing at
        # all is cut off by the connection.
        if request is not None and request.transport is not None:
            _tune(request, streaming=False)


def _tune(request: BaseRequest, *, streaming: bool) -> None:
    connection = request.get_extra_info("socket")
    if connection is None:
        return
    # A socket that is not TCP refuses the options. uvloop's stand-in makes a whole new socket, and one that costs more
    # than this one, for each option it is asked to set; what family it is said to have does not matter for that.
    with suppress(OSError):
        bare = socket.SocketType(socket.AF_INET, socket.SOCK_STREAM, 0, connection.fileno())
        try:
            for option, while_streaming, otherwise in _SOCKET_OPTIONS:
                bare.setsockopt(socket.IPPROTO_TCP, option, while_streaming if streaming else otherwise)
        finally:
            bare.detach()
