"""A request's body on its way to the upstream.

The gateway waits for the first 64 KiB of every body, or for all of a shorter one, before it contacts a service. So a
client that stops sending holds no connection to a service, and the head and the first part go out in one write. The
rest is streamed, and never held as a whole.

The gateway itself answers a client that sends ``Expect: 100-continue``, once it is ready to read the body. A service
does not see the expectation, because it would have to hold the connection until the client sends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from contextlib import suppress
from typing import Final

from aiohttp import hdrs, web
from aiohttp.streams import EMPTY_PAYLOAD

from gateway.errors import BadRequest, GatewayError, PayloadTooLarge, UpstreamError
from gateway.proxy.connection import UpstreamConnection
from gateway.proxy.uploads import Upload, Uploads

FIRST_PART_BYTES: Final = 64 * 1024
"""How many bytes of a body the gateway waits for, and holds in memory, before it contacts a service."""

_LENGTH_0 = b"Content-Length: 0"
_CHUNKED = b"Transfer-Encoding: chunked"
_METHODS_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


async def send_continue(request: web.BaseRequest) -> None:
    """Tells a waiting client to send its body. If the client has gone, reading its body will fail."""
    with suppress(ConnectionError):
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    # aiohttp takes any output for the beginning of the answer, and reports no errors after it.
    request.writer.output_size = 0


def expects_continue(request: web.BaseRequest) -> bool:
    """Whether the client waits for "100 Continue" before it sends its body."""
    return (
        request.headers.get(hdrs.EXPECT, "").lower() == "100-continue"
        and request.version >= (1, 1)
        and not request.content.is_eof()
    )


def body_of(request: web.BaseRequest, limit: int) -> RequestBody:
    """The body of a request. Most requests have no body and no header for one: they share one object."""
    headers = request.headers
    if (
        request.content is EMPTY_PAYLOAD
        and request.method not in _METHODS_WITH_BODY
        and hdrs.CONTENT_LENGTH not in headers
        and hdrs.TRANSFER_ENCODING not in headers
    ):
        return NO_BODY
    return RequestBody(request, limit)


def whole_body(method: str, length: str | None, data: bytes, limit: int) -> RequestBody:
    """The body ``data`` of a request, which has arrived completely. ``length``: its Content-Length, if it has one.

    Raises PayloadTooLarge if the body is longer than ``limit`` bytes (0: no limit).
    """
    if length is None and method not in _METHODS_WITH_BODY:
        return NO_BODY
    if length is None:
        return _NO_BODY_ANNOUNCED
    if limit and len(data) > limit:
        raise PayloadTooLarge(limit)
    return WholeBody(b"Content-Length: %d" % len(data), data)


class RequestBody:
    """The body of one request.

    ``framing`` is the header line that announces the body to the upstream. The gateway writes it itself: the exact
    length if the client gave one, else chunked. ``data`` is sent together with the head. While the body is
    ``streamed``, there is more: call ``read_first_part`` and then ``start``. Raises PayloadTooLarge if the announced
    length is above ``limit`` bytes (0: no limit).
    """

    __slots__ = (
        "_length",
        "_limit",
        "_read",
        "_request",
        "_sent",
        "_task",
        "_upload",
        "data",
        "framing",
        "streamed",
    )

    def __init__(self, request: web.BaseRequest, limit: int) -> None:
        self._request = request
        self._limit = limit
        self._task: asyncio.Task[None] | None = None
        self._upload: Upload | None = None
        self._read = 0
        self._sent = False
        self.data = b""
        self.streamed = request.body_exists
        self._length: int | None = None
        self.framing = b""
        self._read_framing()

    def _read_framing(self) -> None:
        headers = self._request.headers
        coding = headers.get(hdrs.TRANSFER_ENCODING)
        if coding is not None:
            if coding.lower() != "chunked" or hdrs.CONTENT_LENGTH in headers:
                raise BadRequest("a transfer coding other than chunked")
            self.framing = _CHUNKED
            return
        length = headers.get(hdrs.CONTENT_LENGTH)
        if length is None:
            self.framing = _LENGTH_0 if self._request.method in _METHODS_WITH_BODY else b""
            return
        if not (length.isascii() and length.isdigit()):
            raise BadRequest("Content-Length is no number")
        self._length = int(length)
        if self._limit and self._length > self._limit:
            raise PayloadTooLarge(self._limit)
        if (self._length > 0) != self.streamed:
            raise BadRequest("Content-Length is out of range")
        self.framing = b"Content-Length: %d" % self._length

    @property
    def unfinished(self) -> bool:
        """Whether part of the body has not been sent to the upstream."""
        return self.streamed and not self._sent

    @property
    def repeatable(self) -> bool:
        """Whether all of the body is held and may be sent again: it has at most ``FIRST_PART_BYTES``."""
        return not self.streamed and self._read <= FIRST_PART_BYTES

    async def read_first_part(self, uploads: Uploads, client: str) -> None:
        """Reads the first part of the body into ``data``: all of it, or at least ``FIRST_PART_BYTES``.

        ``client`` is the client's address. If the body is still ``streamed`` afterwards, ``stop`` must follow. Raises
        BadRequest, PayloadTooLarge, RequestTimeout or TooManySlowUploads.
        """
        content = self._request.content
        sound = content.exception() is None
        if sound and content.is_eof():
            data = content.read_nowait()
            self._check(len(data), whole=True)
            self._set_first_part(data, whole=True)
            return
        self._upload = upload = uploads.begin(self._request, client)
        try:
            if sound and expects_continue(self._request):
                await send_continue(self._request)
            pieces = []
            size = 0
            whole = False
            while size < FIRST_PART_BYTES and not whole:
                piece = await upload.piece()
                pieces.append(piece)
                size += len(piece)
                whole = content.at_eof()
                self._check(size, whole=whole)
            self._set_first_part(b"".join(pieces), whole=whole)
        except BaseException:
            upload.close()
            raise
        if whole:
            upload.close()

    def _set_first_part(self, data: bytes, *, whole: bool) -> None:
        self._read = len(data)
        if self._length is None:
            data = _chunk(data) if data else data
            self.data = data + b"0\r\n\r\n" if whole else data
        else:
            self.data = data
        self.streamed = not whole

    def start(self, connection: UpstreamConnection, seconds: float) -> None:
        """Sends the rest in the background; ``stop`` must follow.

        The upstream has ``seconds`` for each piece, and for its answer once it has all. Errors are raised in the task
        that reads from ``connection``.
        """
        self._task = asyncio.create_task(self._run(connection, seconds))

    def assign_service(self, service: Hashable) -> None:
        """Assigns the rest of the body to ``service``. Raises Overloaded if this upload is slow and the service has too
        many."""
        if self._upload is not None:
            self._upload.assign_service(service)

    async def stop(self) -> None:
        """Stops sending. Does nothing if the body was sent completely, or there was nothing to send."""
        if self._upload is not None:
            self._upload.close()
        if self._task is not None and not self._task.done():
            self._task.cancel()
            # The task is not awaited directly: its cancellation must neither look like ours nor hide it.
            await asyncio.wait((self._task,))

    async def _run(self, connection: UpstreamConnection, seconds: float) -> None:
        try:
            await self._send(connection, seconds)
        except UpstreamError as error:
            # An upstream that has answered may stop reading.
            if not connection.answered:
                connection.fail(error)
        except GatewayError as error:
            connection.fail(error)
        else:
            connection.start_deadline(seconds)

    async def _send(self, connection: UpstreamConnection, seconds: float) -> None:
        upload = self._upload
        assert upload is not None  # noqa: S101 - a streamed body was gathered before
        chunked = self._length is None
        # The first part was sent with the head.
        await connection.drain(seconds)
        while not self._request.content.at_eof() and (piece := await upload.piece()):
            self._read += len(piece)
            self._check(self._read, whole=False)
            for part in connection.split(piece):
                await connection.read_early_response()
                connection.send(_chunk(part) if chunked else part)
                await connection.drain(seconds)
                # After an answer that has been read, nothing more is sent.
                await asyncio.sleep(0)
        self._check(self._read, whole=True)
        if chunked:
            connection.send(b"0\r\n\r\n")
        self._sent = True
        upload.close()

    def _check(self, read: int, *, whole: bool) -> None:
        """Bytes beyond the announced length would be another request to the upstream."""
        if self._length is None:
            if self._limit and read > self._limit:
                raise PayloadTooLarge(self._limit)
        elif read > self._length or (whole and read < self._length):
            raise BadRequest("the body is not as long as was said")


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class WholeBody(RequestBody):
    """A body that has arrived, or none. It needs neither ``read_first_part`` nor ``start``."""

    __slots__ = ()

    def __init__(self, framing: bytes, data: bytes) -> None:
        self.framing = framing
        self.data = data
        self.streamed = False
        self._read = len(data)


NO_BODY: Final = WholeBody(b"", b"")
_NO_BODY_ANNOUNCED: Final = WholeBody(_LENGTH_0, b"")
