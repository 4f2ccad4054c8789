"""A service's answer on its way to the client, written to the connection as it comes."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final

from aiohttp import ClientConnectionResetError, hdrs, web
from aiohttp.http import RawResponseMessage
from multidict import CIMultiDict

from gateway.errors import UpstreamUnreachable
from gateway.observability.logging import ABORTED, BROKEN, SLOW
from gateway.observability.tracing import TRACE_ID
from gateway.proxy.connection import UpstreamConnection
from gateway.proxy.downloads import Download
from gateway.proxy.headers import ResponseHeaders, names_of, response_head, response_headers, with_cors
from gateway.proxy.plan import Edits, ForwardPlan

_TRACE_ID = TRACE_ID.encode()
# A 205 has no content either, but clients read its length like any other answer's.
BODILESS = frozenset({204, 205, 304})
_REASONS = {status.value: status.phrase for status in HTTPStatus}
_AT_ONCE_BYTES = 16 * 1024
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


BEGUN: Final[web.RequestKey[web.StreamResponse]] = web.RequestKey("begun", web.StreamResponse)
"""On a request, the answer that is being written. Its ``body_length`` and ``end`` tell how far it came, also when its
handler was cancelled because the client has gone."""


class ForwardedResponse(web.StreamResponse):
    """An answer that has been written already; aiohttp only keeps its accounts with it.

    ``headers`` are those the upstream sent and can't be changed. ``complete`` is false if the upstream or the
    client broke it off, and ``end`` then says which of them. ``body_length`` is what was written of the body. Signals
    for preparing a response don't see it.
    """

    def __init__(self, message: RawResponseMessage, status: int, reason: str, keep_alive: bool) -> None:
        super().__init__(status=status, reason=reason)
        self._sent = message.headers
        self._stays_open = keep_alive
        self._body_bytes = 0
        self.complete = False
        self.end = ABORTED

    @property
    def headers(self) -> Any:
        """The service's own."""
        return self._sent

    @property
    def prepared(self) -> bool:
        """Always: the handler writes it."""
        return True

    @property
    def keep_alive(self) -> bool:
        """Whether another request is read behind it."""
        return self._stays_open

    def force_close(self) -> None:
        """The connection ends behind it."""
        self._stays_open = False

    @property
    def body_length(self) -> int:
        """The bytes of the body that were written."""
        return self._body_bytes

    async def prepare(self, request: web.BaseRequest) -> None:
        """Nothing is left to be written."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to be written."""

    def finish(self, body_bytes: int) -> None:
        """Note that all has been written."""
        self.complete = True
        self.end = ""
        self._body_bytes = body_bytes

    def note(self, body_bytes: int) -> None:
        """Note how much has been written by now."""
        self._body_bytes = body_bytes


class BufferedResponse(web.Response):
    """An answer made of an upstream's that was read to its end; not written yet."""

    complete = True
    whole = b""
    """The body."""


Send = Callable[
    [web.BaseRequest, UpstreamConnection, RawResponseMessage, ForwardPlan, bool],
    Awaitable[ForwardedResponse | BufferedResponse],
]
"""What is done with a final answer whose head has been read; ``send_answer`` is the usual one."""


def writing_to(request: web.BaseRequest) -> Callable[[bytes], None]:
    """Makes the function that writes to the client without waiting. It raises ConnectionError if that has gone."""
    writer, transport = request.writer, request.transport

    def write(data: bytes) -> None:
        if transport is None or transport.is_closing():
            raise ClientConnectionResetError("the client has gone")
        # What of it is still on its way is counted by this.
        writer.output_size += len(data)
        transport.write(data)

    return write


async def send_interim(request: web.BaseRequest, message: RawResponseMessage) -> None:
    """Pass on a 1xx head (103 Early Hints, say) to a client that can know it."""
    if request.version < (1, 1):
        return
    fields = response_headers(message.raw_headers).fields
    with suppress(ConnectionError):  # the answer itself will find out
        await request.writer.write(response_head(message.code, message.reason, fields, b""))
        request.writer.output_size = 0


def answer_headers(message: RawResponseMessage, plan: ForwardPlan) -> ResponseHeaders:
    """The headers that the client gets. Raises UpstreamUnreachable for those that can't be passed on truthfully."""
    headers = response_headers(message.raw_headers)
    if hdrs.TRANSFER_ENCODING in message.headers and not message.chunked:
        # aiohttp's C parser takes "chunked" with a tab behind it for no coding, and would give the chunks as the body.
        raise UpstreamUnreachable("an unknown transfer coding")
    if plan.cors is not None:
        headers = with_cors(headers, plan.cors)
    if plan.response_edits is not None:
        headers = _edited(headers, plan.response_edits)
    if plan.security is not None:
        # Behind the route's edits, as in Spring: what a filter removes is added again.
        headers.fields.extend(plan.security.added_to(names_of(headers.fields), plan.status or message.code))
    if plan.trace_id:
        headers.fields.append((_TRACE_ID, plan.trace_id))
    return headers


async def send_answer(
    request: web.BaseRequest,
    connection: UpstreamConnection,
    message: RawResponseMessage,
    plan: ForwardPlan,
    keep_alive: bool,
) -> ForwardedResponse:
    """Write the answer as it comes, head and what is there of the body in one piece.

    Raises UpstreamUnreachable if nothing was written yet. After that, an upstream that breaks off makes
    a broken transfer for the client too, and never an ending that looks like one.
    """
    headers = answer_headers(message, plan)
    status, reason = message.code, message.reason
    if plan.status is not None:
        status, reason = plan.status, _REASONS.get(plan.status, "")
    bodiless = status in BODILESS or request.method == hdrs.METH_HEAD
    length = _length(headers.length, message.code, status, bodiless=bodiless)
    http11 = request.version >= (1, 1)
    chunked = http11 and length is None and not bodiless
    framed = chunked or bodiless or length is not None
    keep_alive = keep_alive and framed
    framing = _framing(http11, chunked, length, keep_alive)
    head = response_head(status, reason, headers.fields, framing)
    # A route may have made a status without a body of one that has some, which stays unread.
    data, ended = (b"", True) if bodiless else connection.take()
    response = ForwardedResponse(message, status, reason, keep_alive)
    write = writing_to(request)
    total = len(data)
    piece = _first_piece(head, data, chunked, ended)
    try:
        if ended and total < _AT_ONCE_BYTES:
            # As nearly always. There is nothing to wait for, and so no need for a coroutine.
            # Noted for a client that has read it and leaves before all of its own body is sent.
            request[BEGUN] = response
            response.finish(total)
            write(piece)
            if request.protocol.writing_paused:
                # Who asks and asks and reads no answer is not served on.
                await request.writer.drain()
        else:
            request[BEGUN] = response
            response.note(total)
            write(piece)
            if not ended:
                total = await _send_rest(request, connection, plan, response, chunked=chunked, framed=framed)
            if request.protocol.writing_paused:
                await request.writer.drain()
    except UpstreamUnreachable:
        response.end = BROKEN
        break_off(request, framed=framed)
        response.force_close()
        return response
    except asyncio.CancelledError:
        # The client has gone, or the gateway is ending: then too a part must not look like all.
        break_off(request, framed=framed)
        raise
    except ConnectionError:
        response.force_close()
        return response
    response.finish(total)
    return response


async def _send_rest(
    request: web.BaseRequest,
    connection: UpstreamConnection,
    plan: ForwardPlan,
    response: ForwardedResponse,
    *,
    chunked: bool,
    framed: bool,
) -> int:
    """Write what follows the first piece of a body, no faster than the client takes it. Returns the body's length.

    What was written last may still wait for the client, but nothing keeps the service any more.
    """
    download: Download | None = None
    write = writing_to(request)
    total = response.body_length

    def too_many() -> None:
        response.end = SLOW
        break_off(request, framed=framed)

    try:
        while True:
            if request.protocol.writing_paused:
                if download is None:
                    download = plan.downloads.begin(request, plan.client, plan.base, too_many)
                await download.drain(request.writer)
            data = await connection.read()
            if not data:
                break
            total += len(data)
            response.note(total)
            write(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
    finally:
        if download is not None:
            download.close()
    if chunked:
        write(b"0\r\n\r\n")
    return total


def _length(length: bytes | None, answered: int, status: int, *, bodiless: bool) -> bytes | None:
    """The Content-Length of an answer whose status was ``answered`` and may have become another one.

    A length is only passed on where as many bytes follow, or where clients know that none do: after HEAD, and in a 304
    that is the service's own.
    """
    if status == 204:
        return None
    if status == 205:
        return b"0"
    if status == answered or (answered not in (204, 304) and status != 304):
        return length
    return None if bodiless else b"0"


def _first_piece(head: bytes, data: bytes, chunked: bool, ended: bool) -> bytes:
    """The head and what there is of the body; all of it, if it has ``ended``."""
    if not chunked:
        return head + data if data else head
    if ended:
        return b"%b%x\r\n%b\r\n0\r\n\r\n" % (head, len(data), data) if data else head + b"0\r\n\r\n"
    return b"%b%x\r\n%b\r\n" % (head, len(data), data) if data else head


def break_off(request: web.BaseRequest, *, framed: bool) -> None:
    """Close the client's connection within an answer. Where only the connection's end would end the
    answer, it is reset, for an orderly end would say that all is there."""
    transport = request.transport
    if transport is None:
        return
    sock = transport.get_extra_info("socket")
    if not framed and sock is not None:
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()


def _framing(http11: bool, chunked: bool, length: bytes | None, keep_alive: bool) -> bytes:
    line = b""
    if chunked:
        line = b"Transfer-Encoding: chunked"
    elif length is not None:
        line = b"Content-Length: " + length
    if keep_alive and http11:
        return line
    option = b"Connection: keep-alive" if keep_alive else b"Connection: close"
    return line + b"\r\n" + option if line else option


def _edited(headers: ResponseHeaders, edits: Edits) -> ResponseHeaders:
    """Apply a route's edits. Bytes that are no UTF-8 survive; framing is out of reach."""
    values: CIMultiDict[str] = CIMultiDict(
        (name.decode("utf-8", "surrogateescape"), value.decode("utf-8", "surrogateescape"))
        for name, value in headers.fields
    )
    edits(values)
    fields = [
        (name.encode("utf-8", "surrogateescape"), value.encode("utf-8", "surrogateescape"))
        for name, value in values.items()
    ]
    return ResponseHeaders(response_headers(fields).fields, headers.length)
