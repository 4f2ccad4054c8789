"""A service's answer on its way to the client, written to the connection as it arrives."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from aiohttp import ClientConnectionResetError, hdrs, web
from aiohttp.http import RawResponseMessage
from multidict import CIMultiDict

from gateway.errors import UpstreamUnreachable
from gateway.observability.logging import ABORTED, BROKEN, SLOW
from gateway.observability.tracing import TRACE_ID
from gateway.proxy.connection import UpstreamConnection
from gateway.proxy.downloads import Download
from gateway.proxy.headers import (
    ResponseHeaders,
    kept_private,
    names_of,
    response_head,
    response_headers,
    with_cors,
)
from gateway.proxy.plan import Edits, ForwardPlan
from gateway.proxy.writing import AT_ONCE_BYTES, write_with_body

_TRACE_ID = TRACE_ID.encode()
# A 205 has no content either, but clients read its length as in any other answer.
BODILESS = frozenset({204, 205, 304})
_REASONS = {status.value: status.phrase for status in HTTPStatus}
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


STARTED_RESPONSE: Final[web.RequestKey[web.StreamResponse]] = web.RequestKey("begun", web.StreamResponse)
"""On a request: the answer that is being written. Its ``body_length`` and ``end`` show how much was sent, even if the
handler was cancelled because the client has gone."""


class ForwardedResponse(web.StreamResponse):
    """An answer that has already been written; aiohttp only uses it for its bookkeeping.

    ``headers`` are those that the upstream sent, and can't be changed. ``complete`` is false if the upstream or the
    client broke the answer off; ``end`` then says which of them. ``body_length`` is the number of body bytes written.
    aiohttp's signals for preparing a response are not sent for it.
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
        """The service's own headers."""
        return self._sent

    @property
    def prepared(self) -> bool:
        """Always true: the handler writes the answer."""
        return True

    @property
    def keep_alive(self) -> bool:
        """Whether another request is read after this answer."""
        return self._stays_open

    def force_close(self) -> None:
        """Ends the connection after this answer."""
        self._stays_open = False

    @property
    def body_length(self) -> int:
        """The number of body bytes written."""
        return self._body_bytes

    async def prepare(self, request: web.BaseRequest) -> None:
        """No-op: the answer has been written."""

    async def write_eof(self, data: bytes = b"") -> None:
        """No-op: the answer has been written."""

    def finish(self, body_bytes: int) -> None:
        """Records that everything has been written."""
        self.complete = True
        self.end = ""
        self._body_bytes = body_bytes

    def record_progress(self, body_bytes: int) -> None:
        """Records how much has been written so far."""
        self._body_bytes = body_bytes


class BufferedResponse(web.Response):
    """An answer made from an upstream's complete answer; not written yet."""

    complete = True
    full_body = b""
    """The body."""


SendResponse = Callable[
    [web.BaseRequest, UpstreamConnection, RawResponseMessage, ForwardPlan, bool],
    Awaitable[ForwardedResponse | BufferedResponse],
]
"""How to handle a final answer whose head has been read; ``send_response`` is the usual way."""


def make_writer(request: web.BaseRequest) -> Callable[..., None]:
    """Returns a function that writes to the client without waiting: some bytes, and perhaps a part of the body behind
    them. It raises ConnectionError if the client has gone."""
    writer, transport = request.writer, request.transport

    def write(data: bytes, body: bytes = b"") -> None:
        if transport is None or transport.is_closing():
            raise ClientConnectionResetError("the client has gone")
        # The downloads' measurement subtracts bytes still in the buffer from this counter.
        writer.output_size += len(data) + len(body)
        write_with_body(transport, data, body)

    return write


def send_interim(request: web.BaseRequest, message: RawResponseMessage, plan: ForwardPlan) -> None:
    """Passes a 1xx head on (for example 103 Early Hints) to a client that can understand it and reads: a client that
    does not read must not keep the service waiting.

    The route's filters change its headers and add none: what they hide in the answer must not be in this head either.
    """
    if request.version < (1, 1) or request.protocol.writing_paused:
        return
    headers = response_headers(message.raw_headers)
    if plan.response_edits is not None:
        sent = set(names_of(headers.fields))
        edited = _edited(headers, plan.response_edits).fields
        headers = headers._replace(fields=[field for field in edited if field[0].lower() in sent])
    fields = headers.fields
    with suppress(ConnectionError):  # writing the answer itself will raise it again
        make_writer(request)(response_head(message.code, message.reason, fields, b""))
        request.writer.output_size = 0


async def wait_for_reader(request: web.BaseRequest, response: ForwardedResponse | BufferedResponse) -> None:
    """Waits until the client has taken enough of a written answer: applies backpressure to clients that send requests
    and do not read the answers. Call it when the service has been released."""
    if not (
        isinstance(response, ForwardedResponse) and response.complete and request.protocol.writing_paused
    ):
        return
    try:
        await request.writer.drain()
    except ConnectionError:
        response.force_close()


def client_response_headers(message: RawResponseMessage, plan: ForwardPlan) -> ResponseHeaders:
    """The headers for the client. Raises UpstreamUnreachable for headers that can't be passed on correctly."""
    headers = response_headers(message.raw_headers)
    if hdrs.TRANSFER_ENCODING in message.headers and not message.chunked:
        # aiohttp's C parser does not recognise "chunked" with a tab after it, and would return the chunks as the body.
        raise UpstreamUnreachable("an unknown transfer coding")
    if plan.cors is not None:
        headers = with_cors(headers, plan.cors)
    if plan.response_edits is not None:
        headers = _edited(headers, plan.response_edits)
    if plan.security is not None:
        # After the route's edits, as in Spring: a header that a filter removes is added again.
        headers.fields.extend(
            plan.security.missing_from(names_of(headers.fields), plan.status or message.code)
        )
    if plan.cookies or (plan.private and 200 <= (plan.status or message.code) < 300):
        headers = headers._replace(fields=kept_private(headers.fields))
    headers.fields.extend((b"Set-Cookie", cookie.encode()) for cookie in plan.cookies)
    headers.fields.extend(plan.extra)
    if plan.trace_id:
        headers.fields.append((_TRACE_ID, plan.trace_id))
    return headers


class AnswerHead(NamedTuple):
    """The head of an answer as the client gets it, and how its body is framed."""

    data: bytes
    status: int
    reason: str
    chunked: bool
    bodiless: bool
    """Whether no body follows. A route may have changed a status with a body to one without; that body is not read."""
    framed: bool
    """Whether the client can tell where the body ends while the connection is open."""
    keep_alive: bool
    """Whether another request can be read after this answer."""


def head_for(
    message: RawResponseMessage, plan: ForwardPlan, *, method: str, http11: bool, keep_alive: bool
) -> AnswerHead:
    """The head for the client. ``method`` and ``http11`` are the request's; ``keep_alive``: whether its connection may
    stay open. Raises UpstreamUnreachable for a head that can't be passed on correctly."""
    headers = client_response_headers(message, plan)
    status, reason = message.code, message.reason
    if plan.status is not None:
        status, reason = plan.status, _REASONS.get(plan.status, "")
    bodiless = status in BODILESS or method == hdrs.METH_HEAD
    length = headers.length
    if plan.status is not None or status in BODILESS:
        length = _length(length, message.code, status, bodiless=bodiless)
    chunked = http11 and length is None and not bodiless
    framed = chunked or bodiless or length is not None
    keep_alive = keep_alive and framed
    data = response_head(status, reason, headers.fields, _framing(http11, chunked, length, keep_alive))
    return AnswerHead(data, status, reason, chunked, bodiless, framed, keep_alive)


async def send_response(
    request: web.BaseRequest,
    connection: UpstreamConnection,
    message: RawResponseMessage,
    plan: ForwardPlan,
    keep_alive: bool,
) -> ForwardedResponse:
    """Writes the answer as it arrives: the head and the first part of the body in one piece.

    The client may not have taken all of it when this returns: see ``wait_for_reader``. Raises UpstreamUnreachable if
    nothing has been written yet. After that, if the upstream breaks off, the client gets
    a broken transfer too, and never an ending that looks complete.
    """
    http11 = request.version >= (1, 1)
    head = head_for(message, plan, method=request.method, http11=http11, keep_alive=keep_alive)
    chunked, framed = head.chunked, head.framed
    data, ended = (b"", True) if head.bodiless else connection.read_arrived()
    response = ForwardedResponse(message, head.status, head.reason, head.keep_alive)
    write = make_writer(request)
    total = len(data)
    piece, behind = (head.data, data) if not chunked else (first_piece(head, data, ended=ended), b"")
    try:
        if ended and total < AT_ONCE_BYTES:
            # The usual case. Nothing has to be awaited, so no coroutine is needed.
            # Recorded, because the client may leave once it has the answer, before all of its own body is sent.
            request[STARTED_RESPONSE] = response
            response.finish(total)
            write(piece, behind)
        else:
            request[STARTED_RESPONSE] = response
            response.record_progress(total)
            write(piece, behind)
            if not ended:
                total = await _send_rest(request, connection, plan, response, chunked=chunked, framed=framed)
    except UpstreamUnreachable:
        response.end = BROKEN
        abort_response(request, framed=framed)
        response.force_close()
        return response
    except asyncio.CancelledError:
        # The client has gone, or the gateway is stopping: a partial answer must not look complete.
        abort_response(request, framed=framed)
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
    """Writes the rest of a body after its first piece, no faster than the client takes it. Returns the body's length.

    The last bytes may still wait for the client, but the service no longer has to wait.
    """
    download: Download | None = None
    write = make_writer(request)
    total = response.body_length

    def too_many() -> None:
        response.end = SLOW
        abort_response(request, framed=framed)

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
            response.record_progress(total)
            write(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
    finally:
        if download is not None:
            download.close()
    if chunked:
        write(b"0\r\n\r\n")
    return total


def _length(length: bytes | None, answered: int, status: int, *, bodiless: bool) -> bytes | None:
    """The Content-Length of an answer whose original status was ``answered`` and may have been changed.

    A length is passed on only if as many bytes follow, or if clients know that none do: after HEAD, and in a 304 that
    the service itself sent.
    """
    if status == 204:
        return None
    if status == 205:
        return b"0"
    if status == answered or (answered not in (204, 304) and status != 304):
        return length
    return None if bodiless else b"0"


def first_piece(answer: AnswerHead, data: bytes, *, ended: bool) -> bytes:
    """The head and the part of the body that has arrived; all of it if the body has ``ended``."""
    head = answer.data
    if not answer.chunked:
        return head + data if data else head
    if ended:
        return b"%b%x\r\n%b\r\n0\r\n\r\n" % (head, len(data), data) if data else head + b"0\r\n\r\n"
    return b"%b%x\r\n%b\r\n" % (head, len(data), data) if data else head


def abort_response(request: web.BaseRequest, *, framed: bool) -> None:
    """Closes the client's connection within an answer. If only the end of the connection would end the answer, the
    connection is reset, because an orderly end would mean that the answer is complete."""
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
    """Applies a route's edits. Bytes that are not UTF-8 are preserved; edits can't change the framing."""
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
