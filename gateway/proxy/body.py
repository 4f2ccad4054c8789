"""A request's body on its way to the upstream: read no sooner than needed, never held as a whole."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from aiohttp import hdrs, web
from aiohttp.http import HttpProcessingError
from aiohttp.streams import EMPTY_PAYLOAD

from gateway.errors import BadRequest, GatewayError, PayloadTooLarge, UpstreamError
from gateway.proxy.connection import UpstreamConnection

# A body up to this length is awaited before a connection is taken: slow clients then hold none, and
# head and body go out in one write.
_AWAITED_BYTES = 64 * 1024
# A client that sends nothing for so long, with its body unfinished, is given up.
_CLIENT_IDLE_SECONDS = 60.0
# Services that never heard of Expect don't answer it; clients (curl) wait about as long themselves.
_CONTINUE_SECONDS = 1.0
_CHUNKED = b"Transfer-Encoding: chunked"
_MAY_HAVE_BODY = frozenset({"POST", "PUT", "PATCH"})


# How aiohttp's server must be started for bodies to pass as they are, and for a client that goes away to
# end the call made for it.
SERVER_OPTIONS: Final = {"auto_decompress": False, "handler_cancellation": True, "read_bufsize": 64 * 1024}


async def send_continue(request: web.BaseRequest) -> None:
    """Tell a client that waits for it to send its body."""
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    # aiohttp takes any output for the beginning of the answer, after which it reports no errors.
    request.writer.output_size = 0


def expects_continue(request: web.BaseRequest) -> bool:
    """Whether the client waits for "100 Continue" before it sends its body."""
    return (
        request.headers.get(hdrs.EXPECT, "").lower() == "100-continue"
        and request.version >= (1, 1)
        and not request.content.is_eof()
    )


def body_of(request: web.BaseRequest, limit: int) -> RequestBody:
    """The body of a request; for most, which have none and say so by saying nothing, always the same."""
    headers = request.headers
    if (
        request.content is EMPTY_PAYLOAD
        and request.method not in _MAY_HAVE_BODY
        and hdrs.CONTENT_LENGTH not in headers
        and hdrs.TRANSFER_ENCODING not in headers
    ):
        return _NO_BODY
    return RequestBody(request, limit)


class RequestBody:
    """The body of one request.

    ``framing`` is the header line that announces it upstream, always ours: the exact length where the
    client gave one, else chunks. ``data`` goes out together with the head; what ``streamed`` is left for
    ``start``. Raises PayloadTooLarge if the announced length is above ``limit`` bytes (0: no limit).
    """

    __slots__ = (
        "_continue",
        "_length",
        "_limit",
        "_request",
        "_sent",
        "_task",
        "data",
        "framing",
        "streamed",
    )

    def __init__(self, request: web.BaseRequest, limit: int) -> None:
        self._request = request
        self._limit = limit
        self._task: asyncio.Task[None] | None = None
        self._continue: asyncio.Event | None = None
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
            self.framing = b"Content-Length: 0" if self._request.method in _MAY_HAVE_BODY else b""
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
        """Not all of the body has gone to the upstream."""
        return self.streamed and not self._sent

    async def gather(self) -> None:
        """Take a body into ``data`` that is short or here already, unless its client waits to send it."""
        content = self._request.content
        if content.exception() is not None:
            raise BadRequest("the body is malformed or incomplete")
        if not content.is_eof():
            if self._length is None or self._length > _AWAITED_BYTES or expects_continue(self._request):
                return
            pieces = []
            while piece := await self._piece():
                pieces.append(piece)
            data = b"".join(pieces)
        else:
            data = content.read_nowait()
        if self._length is None:
            self._check_limit(len(data))
            data = _chunk(data) + b"0\r\n\r\n" if data else b"0\r\n\r\n"
        else:
            self._check_length(len(data))
        self.data = data
        self.streamed = False

    def start(self, connection: UpstreamConnection, seconds: float) -> None:
        """Send the body in the background; ``stop`` must follow.

        The upstream may take ``seconds`` for each piece, and for its answer once it has all. What goes
        wrong reaches who reads from ``connection``.
        """
        if expects_continue(self._request):
            self._continue = asyncio.Event()
        self._task = asyncio.create_task(self._run(connection, seconds))

    def go_ahead(self) -> None:
        """The upstream is ready for the body."""
        if self._continue is not None:
            self._continue.set()

    async def answered(self) -> None:
        """The upstream has its answer: a client that still waits to send its body need not send it."""
        if self._continue is not None and not self._continue.is_set():
            await self.stop()

    async def stop(self) -> None:
        """Stop sending. Nothing happens if all was sent, or nothing was to be."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            # Not awaited itself: its being cancelled must not look like our own, nor hide it.
            await asyncio.wait((self._task,))

    async def _run(self, connection: UpstreamConnection, seconds: float) -> None:
        try:
            await self._await_continue()
            await self._send(connection, seconds)
        except UpstreamError as error:
            # An upstream that has answered may well stop listening.
            if not connection.answered:
                connection.fail(error)
        except GatewayError as error:
            connection.fail(error)
        else:
            connection.start_deadline(seconds)

    async def _await_continue(self) -> None:
        if self._continue is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(_CONTINUE_SECONDS):
                await self._continue.wait()
        self._continue.set()
        with suppress(ConnectionError):  # the client has gone, and the reading of its body will tell
            await send_continue(self._request)

    async def _send(self, connection: UpstreamConnection, seconds: float) -> None:
        sent = 0
        chunked = self._length is None
        content = self._request.content
        while not content.at_eof() and (piece := await self._piece()):
            sent += len(piece)
            if chunked:
                self._check_limit(sent)
            elif sent > (self._length or 0):
                self._check_length(sent)
            connection.send(_chunk(piece) if chunked else piece)
            await connection.drain(seconds)
            # Let an early answer be read before writing to a connection that is closed behind it would
            # throw it away.
            await asyncio.sleep(0)
        if chunked:
            connection.send(b"0\r\n\r\n")
        else:
            self._check_length(sent)
        self._sent = True

    async def _piece(self) -> bytes:
        content = self._request.content
        try:
            async with asyncio.timeout(_CLIENT_IDLE_SECONDS):
                return await content.readany()
        except TimeoutError:
            raise BadRequest("the body did not arrive in time") from None
        except (web.RequestPayloadError, HttpProcessingError, ConnectionError) as exc:
            raise BadRequest("the body is malformed or incomplete") from exc
        except RuntimeError as exc:
            if self._request.transport is not None:
                raise
            # aiohttp's words for: the client went before its reader knew.
            raise BadRequest("the body is malformed or incomplete") from exc

    def _check_length(self, length: int) -> None:
        """What goes beyond the announced length would be somebody's next request at the upstream."""
        if length != self._length:
            raise BadRequest("the body is not as long as was said")

    def _check_limit(self, length: int) -> None:
        if self._limit and length > self._limit:
            raise PayloadTooLarge(self._limit)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class _NoBody(RequestBody):
    """Nothing to send, and so nothing to be done."""

    __slots__ = ()

    def __init__(self) -> None:
        self.data = self.framing = b""
        self.streamed = False
        self._continue = None


_NO_BODY: Final = _NoBody()
