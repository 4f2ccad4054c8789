"""The connection guard: handles one client's connection, from its first bytes to its end.

``Guard`` is the protocol of the connection. It passes one well-formed request at a time to aiohttp's
``RequestHandler``, and answers all other requests itself:

* aiohttp's parser gets one request at a time: a whole head, then exactly its body. So garbage behind a valid request
  does not spoil that request, and nothing is lost behind an ``Upgrade`` that is not followed.
* The guard knows from the framing (``Content-Length`` or ``ChunkedBody``) where a body ends, never from how it was cut.
* A request that can't be read is answered, counted and logged like any other (see ``Server``'s ``refuse``); then the
  connection ends. aiohttp's own answer would quote the client and name the parser.
* The gateway reads every connection that it keeps open. For each answer ``Guard.stays_open`` says whether another
  request will be read after it. All code that writes a head asks it (through ``ClientRequest.keep_alive``). If not,
  the answer says ``Connection: close``, and the connection ends with that answer.
"""

from __future__ import annotations

import asyncio
import logging
import math
from functools import partial
from typing import Any, cast

from aiohttp import hdrs, web
from aiohttp.http import RawRequestMessage
from aiohttp.streams import StreamReader

from gateway.server import framing
from gateway.server.closing import close_in_order, may_end_at_once
from gateway.server.head import remote_of
from gateway.server.intake import Intake
from gateway.server.interfaces import Listener
from gateway.server.limits import MAX_DROPPED_BODY_BYTES
from gateway.server.proxied_transport import ProxiedTransport
from gateway.server.proxy_protocol import MalformedHeader, may_begin, read_header
from gateway.server.reading_pause import ReadingPause
from gateway.server.request_handler import ClientRequest, InnerTransport, RequestHandler, parsed_request
from gateway.server.socket_buffer import is_readable, over_tls, read_remaining
from gateway.server.write_timeout import WriteTimeout

log = logging.getLogger(__name__)


class Guard(Intake):
    """One client's connection: refuses unreadable requests, enforces the deadlines, and closes in order."""

    __slots__ = (
        "_body",
        "_body_failed",
        "_ending",
        "_inner",
        "_named_client",
        "_original",
        "_pause",
        "_reader",
        "_refusal",
        "_request",
        "_skips_parser",
        "_task",
        "_tunnel",
        "_upgrade",
        "connection_error",
        "write_timeout",
    )

    def __init__(
        self, server: Listener, client: tuple[str, int] | None = None, *, preamble: bool = True
    ) -> None:
        """``client``: whom a proxy has named as the client. ``preamble``: whether a trusted proxy may still do so, by
        the PROXY protocol."""
        limits = server.limits
        super().__init__(server)
        self.connection_error: BaseException | None = None
        """The error that ended the connection; None if it ended in order."""
        self.write_timeout: WriteTimeout | None = None
        self._inner: RequestHandler | None = None
        self._request: ClientRequest | None = None
        self._task: asyncio.Task[None] | None = None
        self._named_client = client
        self._preamble = b"" if preamble else None
        self._original: tuple[str, str] | None = None
        """Method and target of the head passed on last, if aiohttp's parser can't read them."""
        self._body = framing.BodyReader(limits.line_bytes, limits.headers, limits.head_bytes)
        self._reader = framing.HeadReader(limits.line_bytes, limits.head_bytes)
        self._refusal: str | None = None
        """The reason for refusing an unreadable request. Its answer comes in turn and is the connection's last."""
        self._upgrade = False
        """Whether it asks for another protocol: aiohttp's parser then reads nothing after its head until answered."""
        self._skips_parser = False
        """Whether the rest of the body goes to its reader directly, and not through aiohttp's parser."""
        self._tunnel = False
        self._body_failed = False
        self._ending = False
        self._pause = ReadingPause()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Serves the client, unless the server has too many connections."""
        # No isinstance check: uvloop's transports are not subclasses.
        stream = cast(asyncio.Transport, transport)
        if self._named_client is not None:
            stream = ProxiedTransport(stream, self._named_client)
        may_name_client = self._preamble is not None and self._server.trusts(remote_of(stream) or "")
        if self._server.is_full(stream):
            self._preamble = None
            self._discarding, self._idle = True, False
            self._server.turn_away(self, stream, may_name_client=may_name_client)
            return
        self._open(stream)
        if may_name_client:
            # Until the first bytes are read, no request is.
            self._discarding, self._idle = True, False
        else:
            self._preamble = None

    def serve_once(self, transport: asyncio.Transport, head: bytes) -> None:
        """Answers one whole ``head`` on a connection above the limit, and ignores everything after it."""
        self._discarding, self._idle = False, True
        self._open(transport)
        self.process_head(head)

    def _open(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        limits = self._server.limits
        self.write_timeout = WriteTimeout(
            transport, self._server.deadlines, limits.slow_client_seconds, limits.slow_client_rate
        )
        self._server.guards.add(self)
        self._set_deadline()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Drops everything that waits. The last bytes that a client sent on a WebSocket still go to its service."""
        if self._tunnel and self._inner is not None:
            self._inner.data_received(
                self._pending + (read_remaining(self.transport) if exc is not None else b"")
            )
        self.connection_error = exc
        self._queued = self._pending = b""
        inner, fast = self._inner, self.fast_call
        self.leave()
        if inner is not None:
            inner.connection_lost(exc)
        if fast is not None:
            fast.client_gone()

    def leave(self) -> None:
        """Detaches the guard from the connection."""
        server = self._server
        server.guards.discard(self)
        server.discard(self)
        server.deadlines.drop(self)
        self._phase, self._discarding = "", True
        if self.write_timeout is not None:
            self.write_timeout.close()
        self.transport = self._inner = self._request = self._task = self.fast_call = None

    def pause_writing(self) -> None:
        """The client is slow: from now on the write time-out applies to it."""
        self.writing_paused = True
        if self._inner is not None:
            self._inner.pause_writing()
        if self.write_timeout is not None:
            self.write_timeout.watch(tunnel=self._tunnel)

    def resume_writing(self) -> None:
        """The client has taken most of the bytes that waited."""
        self.writing_paused = False
        if self._inner is not None:
            self._inner.resume_writing()
        if self.write_timeout is not None:
            self.write_timeout.progressed()
        if self.fast_call is not None:
            self.fast_call.resume_writing()

    def data_received(self, data: bytes) -> None:
        """Passes the client's bytes on in pieces. No piece goes beyond the end of a head or of a body."""
        if self._tunnel and self._inner is not None and not self._pending:
            self._inner.data_received(data)
            return
        if self._queued:
            # More than one head: that takes the slow path.
            data, self._queued = self._queued + data, b""
        elif self._idle and self._take_whole_request(data):
            return
        if self._discarding:
            if self._preamble is not None:
                self._read_preamble(self._preamble + data)
            elif self.transport is None:
                self._server.hear_first(self, data)
            return
        self._pending = self._pending + data if self._pending else data
        if not self._pause.turn_over:
            self._advance()

    def _read_preamble(self, data: bytes) -> None:
        """Takes the first bytes of a trusted proxy: perhaps the name of its client, by the PROXY protocol."""
        header, rest = None, data
        if may_begin(data):
            try:
                header = read_header(data)
            except MalformedHeader as error:
                self._preamble = None
                self._server.observer.proxy_header_refused()
                self._refuse(str(error))
                return
            if header is None:
                if self._phase != "head":
                    self._phase = "head"
                    self._server.deadlines.set(self, self._server.limits.head_seconds, self._head_timed_out)
                self._preamble = data
                return
            rest = data[header.size :]
        self._preamble = None
        if header is not None and header.client is not None and self.transport is not None:
            self.transport = ProxiedTransport(self.transport, header.client)
        self._discarding = False
        self._set_deadline()
        if rest:
            self.data_received(rest)

    def _advance(self) -> None:
        """Passes on as much of the held bytes as possible."""
        data, self._pending = self._pending, b""
        at, end, more = 0, len(data), False
        while at < end and not self._discarding:
            if self._tunnel and self._inner is not None:
                self._inner.data_received(data[at:])
                at = end
            elif not self._body.complete:
                if self._pause.by_handler:
                    break
                at = self._take_body(data, at)
                if at < end and not (self._body.complete or self._discarding):
                    # So many small chunks that the rest waits for the next iteration of the loop.
                    more = self._pause.turn_over = True
                    self._server.loop.call_soon(self._next_turn)
                    break
            elif self._busy:
                break
            else:
                at = self._take_head(data, at)
        if not self._discarding:
            self._pending = data[at:] if at else data
        self._pause.set(self.transport, by_buffer=more or len(self._pending) > self._server.limits.head_bytes)
        self._set_deadline()

    def _take_head(self, data: bytes, at: int) -> int:
        """Takes the bytes that belong to the current head. Returns the position after it."""
        at, head = self._reader.feed(data, at)
        if head is not None:
            self._dispatch_head(head.data, head.original)
        elif self._reader.fault:
            self._refuse(self._reader.fault)
        return at

    def _dispatch_head(self, head: bytes, original: tuple[str, str] | None = None) -> None:
        """Passes a whole head to aiohttp if its framing is valid."""
        body = framing.framing_of(head)
        if body.fault:
            self._refuse(body.fault)
            return
        self._body.begin(body)
        self._idle, self._busy, self._original = False, True, original
        self._upgrade = self._skips_parser = False
        inner = self._inner
        if inner is None:
            inner = self._inner = self._server.handler_for(self)
            assert self.transport is not None  # noqa: S101 - heads arrive on open connections only
            inner.connection_made(InnerTransport(self, self.transport))
        self._feed(inner, head)

    def _feed(self, inner: RequestHandler, data: bytes) -> None:
        try:
            inner.data_received(data)
        except Exception as error:
            # int() refuses 5,000 digits, and yarl refuses some hosts. The cause of any other error is a bug.
            if not isinstance(error, ValueError | IndexError):
                log.exception("a request could not be parsed")
            if self._request is None:
                self._busy = False
            else:
                self._fail_body()
            self._refuse("the request is malformed")

    def _take_body(self, data: bytes, at: int) -> int:
        """Passes on what belongs to the current body. Returns the position after it."""
        body = self._body
        piece, cut = body.feed(data, at)
        if body.fault:
            self._fail_body()
            return cut
        if piece and self._inner is not None:
            if self._skips_parser and self._request is not None:
                self._inner.feed_body(self._request.content, piece, last=body.complete)
            else:
                self._feed(self._inner, piece)
        if body.complete:
            self._finish_body()
        return cut

    def _finish_body(self) -> None:
        """Makes sure that the parser ends the current body exactly where the body ends."""
        request, inner, attempts = self._request, self._inner, 3
        while (
            request is not None
            and inner is not None
            and not (self._pause.by_handler or request.content.is_eof())
        ):
            # The parser has the whole body, but waits to be resumed by a reader that has nothing left to read. The
            # parser remembers a pause even if it was for an earlier body.
            attempts -= 1
            if attempts < 0 or request.content.exception() is not None:
                self._fail_body()
                return
            self._feed(inner, b"")
        if not self._busy:
            self._await_next_request()

    def make_request(
        self, message: RawRequestMessage, payload: StreamReader, writer: Any, task: asyncio.Task[None]
    ) -> ClientRequest:
        """The request that aiohttp has parsed from the head passed on."""
        inner = self._inner
        assert inner is not None  # noqa: S101 - aiohttp's handler is the caller
        if self._original is not None:
            method, path = self._original
            message = message._replace(method=method, path=path)
            self._original = None
        request = parsed_request(message, payload, inner, writer, task, self._server.loop)
        if self._task is None:
            task.add_done_callback(self._handler_done)
        self._task, self._upgrade, self._request = task, message.upgrade, request
        if request.parse_failed:
            return request
        if request.fault is not None:
            # If a head is ambiguous, so is the place where the next one begins.
            self._discarding = True
        if self._body_failed:
            self._fail_body()
        elif self._body.complete and not payload.is_eof():
            self._finish_body()
        elif not (self._discarding or self._upgrade):
            # If the parser keeps back a part of the body, the rest must go the same way.
            self._skips_parser = self._body.continues_after(payload.total_bytes)
        return request

    def _handler_done(self, _task: asyncio.Task[None]) -> None:
        """aiohttp serves nothing more here, for whatever reason: a connection that it leaves is ended."""
        if self.transport is not None and not self._ending:
            self.end()

    def stays_open(self, request: ClientRequest) -> bool:
        """Whether another request will be read after ``request``. If not, its answer must announce the end.

        Callers rely on True: from then on, only the client can end the connection without an answer.
        """
        if request.fault is not None or not self.may_stay_open():
            return False
        if self._refusal is not None or request.content.is_eof():
            return True
        # The parser takes bytes after the body for the requested other protocol, until an answer says otherwise. A
        # client that waits for "100 Continue" may or may not send its body.
        at_hand = self._body.remaining_at_most(MAX_DROPPED_BODY_BYTES) and hdrs.EXPECT not in request.headers
        return not self._upgrade and (self._body.complete or at_hand)

    def may_stay_open(self) -> bool:
        """``stays_open``, as far as the request itself does not matter."""
        server = self._server
        if self._ending or (server.probes and self in server.probes):
            return False
        if server.draining and not (self._body.complete and framing.HEAD_END in self._pending):
            return False
        return self._refusal is not None or not (self._discarding or self._body_failed)

    def answered(self, inner: RequestHandler, keep_alive: bool) -> None:
        """Called when the answer to the current request has been written."""
        if inner is self._inner:
            self._end_answer(keep_alive, inner)

    def _end_answer(self, keep_alive: bool, inner: RequestHandler | None, *, announced: bool = False) -> None:
        self._busy = False
        if not keep_alive:
            self.end(inner, announced=announced)
        elif self._refusal is not None:
            self._write_refusal()
        elif self._body.complete:
            self._await_next_request()

    def _await_next_request(self) -> None:
        """Request and answer are complete: reads the next request."""
        self._request = self._task = None
        self.last_active = self._server.loop.time()
        self._idle = not self._discarding
        if self._pending and not self._discarding:
            self._idle = False
            self._advance()
        else:
            self._set_deadline()

    def set_paused(self, paused: bool) -> None:
        """Called when aiohttp accepts no more of the current body for now, or accepts more again."""
        self._pause.set(self.transport, by_handler=paused)
        if not (paused or self._pause.turn_over) and (
            self._pending or (self._body.complete and self._request is not None)
        ):
            self._server.loop.call_soon(self._resume)

    def _next_turn(self) -> None:
        self._pause.turn_over = False
        self._resume()

    def _resume(self) -> None:
        if self._pause.by_handler or self._discarding or self.transport is None:
            return
        if self._pending:
            self._advance()
        elif self._body.complete and self._request is not None and self._busy:
            self._finish_body()

    def parse_failed(self) -> web.StreamResponse:
        """Returns the answer to a head that aiohttp could not parse. The connection ends after this answer."""
        self._discarding = True
        assert self.transport is not None  # noqa: S101 - answers exist on open connections only
        answer = self._server.refuse(self.transport, "the request is malformed")
        answer.force_close()
        return answer

    def tunnel(self) -> None:
        """The connection is a tunnel from now on. The tunnel's two ends control it."""
        self._tunnel = True
        self._idle = False
        self._set_deadline()
        if self._pending:
            self._server.loop.call_soon(self._advance)

    def _refuse(self, reason: str) -> None:
        """Answers, in turn, that the request can't be read. Ignores everything after that request."""
        self._discarding, self._refusal = True, reason
        self._pending = b""
        if not self._busy:
            self._write_refusal()

    def _write_refusal(self) -> None:
        transport, reason = self.transport, self._refusal
        if transport is None or transport.is_closing() or reason is None:
            return
        self._idle = False
        transport.write(self._server.refuse(transport, reason).serialized(keep_alive=False))
        self.end()

    def _fail_body(self, error: web.RequestPayloadError | None = None) -> None:
        """Tells the reader of the body that the rest will not come."""
        self._discarding = self._body_failed = True
        if not self._busy:
            # The answer has been sent: aiohttp reads the rest only to drop it.
            self.end(self._inner)
        elif self._request is not None and self._request.content.exception() is None:
            self._request.content.set_exception(error or web.RequestPayloadError("malformed or incomplete"))

    def end(self, inner: RequestHandler | None = None, *, announced: bool = False) -> None:
        """Ends the connection after the last answer. A client that may still send gets time to read the answer: an
        immediate close would reset the connection, and the client could lose the answer.

        ``inner``: aiohttp's handler, if the handler itself did not ask for the end. ``announced``: whether the client
        has said that its last request was the last one.
        """
        transport = self.transport
        if self._ending or transport is None:
            return
        self._ending = True
        request, server = self._request, self._server
        unread = bool(self._pending or self._pause) or not self._body.complete or self._discarding
        announced = (
            announced
            or server.draining
            or (request is not None and not super(ClientRequest, request).keep_alive)
        )
        self._discarding, self._idle, self._pending = True, False, b""
        if inner is not None:
            inner.force_close()
        if self.write_timeout is not None:
            self.write_timeout.watch(tunnel=self._tunnel)
        if transport.is_closing():
            return
        if self._tunnel or self in server.probes or (announced and not unread):
            # The client has said that this was its last request, or the time is short.
            self._close(transport)
            return
        self._pause.set(transport, by_handler=False, by_buffer=False)
        if transport.can_write_eof():
            try:
                transport.write_eof()
            except (OSError, RuntimeError):
                transport.close()
                return
        elif not unread:
            self._close(transport)
            return
        # TLS can't end one direction alone. There, bytes that come after a close break the connection off at once.
        self._phase = "end"
        server.deadlines.set(self, server.limits.linger_seconds, partial(self._close, transport))

    def _close(self, transport: asyncio.Transport) -> None:
        server = self._server
        close_in_order(self, transport, server.deadlines, server.limits.linger_seconds, self.write_timeout)

    def end_if_idle(self, since: float) -> None:
        """Ends the connection if it has had no request since ``since``, a time of the loop's clock."""
        if not self._idle or self._queued or self.last_active > since or self.transport is None:
            return
        # On a busy machine timers run before new bytes are read. A proxy could not repeat a POST.
        if not is_readable(self.transport):
            self._close_idle()

    @property
    def had_request(self) -> bool:
        """Whether the connection ever had a whole request."""
        return bool(self.remote) or self._inner is not None

    def displace(self) -> bool:
        """Ends an idle connection at once, unless a request is arriving. Returns whether it did."""
        transport = self.transport
        if self.idle_since == math.inf or transport is None or not may_end_at_once(transport):
            return False
        self._close_idle()
        if over_tls(transport):
            # Else the end would wait for the client's own.
            transport.abort()
        return True

    def cancel(self) -> None:
        """Cancels the request in progress and aborts the connection."""
        if self._task is not None:
            self._task.cancel()
        if self.transport is not None:
            self.transport.abort()

    def _set_deadline(self) -> None:
        """Sets the deadline: one for a whole head, one for each piece of a body, one for an idle connection."""
        if self._ending:
            return
        if self._discarding or self._tunnel:
            phase = ""
        elif not self._body.complete:
            phase = "body"
        elif self._reader.begun:
            phase = "head"
        else:
            phase = "" if self._busy else "idle"
        self._idle = phase == "idle" and not (self._reader.size or self._pending or self._queued)
        if phase == self._phase and phase != "body":
            return
        server = self._server
        if phase == "head":
            server.deadlines.set(self, server.limits.head_seconds, self._head_timed_out)
        elif phase == "body":
            server.deadlines.set(self, server.limits.body_seconds, self._body_timed_out)
        elif phase == "idle":
            server.deadlines.set(self, server.limits.idle_seconds, self._idle_timed_out)
        elif self._phase and self._phase != "idle":
            server.deadlines.drop(self)
        else:
            # The old timer stays: it checks the connection when it fires, so no request pays for changing it.
            return
        self._phase = phase

    def _head_timed_out(self) -> None:
        if not self._server.deadlines.put_off(self, self.transport, self._head_timed_out):
            self._refuse(framing.HEAD_TOO_LATE)

    def _body_timed_out(self) -> None:
        if self._server.deadlines.put_off(self, self.transport, self._body_timed_out):
            return
        self._phase = ""
        # If the body has arrived, or waits to be taken, its reader is slow and not the client.
        if self._pause.by_handler or self._pending or self._body.complete:
            self._set_deadline()
        else:
            self._fail_body(framing.BodyTooSlow(framing.BODY_TOO_LATE))

    def _idle_timed_out(self) -> None:
        self._phase, busy = "", False
        server = self._server
        left = self.last_active + server.limits.idle_seconds - server.loop.time()
        if self._busy or self._queued or not self._body.complete or self._reader.begun:
            self._set_deadline()
            left = 0 if self._phase else server.limits.idle_seconds
            busy = True
        if left > 0:
            server.deadlines.set(self, left, self._idle_timed_out)
            self._phase = "idle"
        elif not (busy or server.deadlines.put_off(self, self.transport, self._idle_timed_out)):
            self._close_idle()

    def _close_idle(self) -> None:
        self._ending = self._discarding = True
        if self.write_timeout is not None:
            # Closing waits until the client has taken all, which some never do.
            self.write_timeout.watch()
        if self.transport is not None:
            self._close(self.transport)
