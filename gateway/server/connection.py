"""Clients' connections, from bytes to requests and from the last answer to the end.

aiohttp parses requests and runs their handlers. What it leaves open is settled here:

* Requests are fed to its parser one at a time: a head, then exactly its body. So garbage takes no sound request in
  front of it along, and nothing is lost behind an ``Upgrade`` that is not followed.
* Where a body ends is known from its framing (``Content-Length`` or ``ChunkedBody``), never from how it was cut.
* What can't be read becomes an ``Unreadable`` request, which is answered, counted and logged like any other; then the
  connection ends. aiohttp's own answer would quote the client and name the parser.
* A head and a body each have a deadline.
* A connection is never deaf. ``Connection.stays_open`` says, for each answer, whether another request will be read
  behind it. Everything that writes a head asks it (through ``ClientRequest.keep_alive``), so the answer says
  ``Connection: close`` if not, and the connection ends with that answer.

Inner parts relied on, all of aiohttp 3.14: ``RequestHandler.data_received``, ``finish_response``, ``_messages``,
``_max_msg_queue_size``, ``_request_count``, ``_upgraded``, ``_message_tail``, ``_payload_parser``, ``_parser`` with
what it is made of, ``_manager``, ``_buffer_paused``, ``_reading_paused``, ``_resume_reading_if_drained``,
``_task_handler``, ``_waiter``, ``_close``, ``_force_close``, ``_lingering_time``, ``_request_in_progress``,
``_keepalive_handle``, ``_keepalive_timeout``, ``_next_keepalive_close_time``, ``_process_keepalive`` and ``_ErrInfo``;
``BaseRequest._message``.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final, cast

from aiohttp import hdrs, web
from aiohttp.http import HttpRequestParser
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import _ErrInfo

from gateway.server.arrivals import Laned
from gateway.server.framing import (
    BODY_TOO_LATE,
    HEAD_END,
    HEAD_TOO_LATE,
    BodyTooSlow,
    ChunkedBody,
    Ends,
    RequestLine,
    Unreadable,
    fault_of,
    one_whole_head,
)
from gateway.server.limits import SERVER_OPTIONS
from gateway.server.whole_response import SERVER_NAME
from gateway.server.write_timeout import linger

if TYPE_CHECKING:
    from gateway.server.listener import Server

log = logging.getLogger(__name__)

_FEW: Final = 8  # requests may wait for their turn up to here without a closer look
_EMPTY_LINE_BYTES: Final = 2  # some clients send one behind a body; it begins no head
_MOST_NUDGES: Final = 3  # a parser that was told to pause and then to go on needs one
_LOOK_AGAIN_SECONDS: Final = 1.0

REST_READ_BYTES: Final = 64 * 1024
"""An answer may come before its request's body is complete. The connection stays open behind it only if the rest of the
body is known to be at most this long: then it is read and dropped."""


class ClientRequest(web.Request):
    """A client's request, whose answer says truly whether the connection stays open."""

    @property
    def host(self) -> str:
        """The Host header; empty if there is none, for which aiohttp would ask the DNS."""
        return self.headers.get(hdrs.HOST, "")

    @property
    def keep_alive(self) -> bool:
        """Whether another request will be read behind this one, as far as is known now."""
        protocol = self._protocol
        return not isinstance(protocol, Connection) or protocol.stays_open(self)


class Connection(Laned):
    """One client's connection."""

    __slots__ = (
        "_body",
        "_broken",
        "_chunks",
        "_deaf",
        "_ends",
        "_head",
        "_held",
        "_idle",
        "_left",
        "_limits",
        "_line",
        "_phase",
    )

    _manager: Server | None

    def __init__(self, server: Server, **options: Any) -> None:
        super().__init__(
            server, server.deadlines, server.limits.reader_seconds, server.limits.reader_rate, **options
        )
        # Made when the first bytes come: see ``_begin_parsing``.
        self._parser = None
        self._limits = server.limits
        self._lane = server.lane
        self._body: StreamReader = EMPTY_PAYLOAD
        """The body of the newest request."""
        self._left = 0
        """How much of it is still to come, if it came with its length."""
        self._chunks: ChunkedBody | None = None
        """Where its chunks end, as long as they have not."""
        self._head = 0
        """How much of an unfinished head there is."""
        self._line = RequestLine(server.limits.line_bytes)
        self._ends = Ends()
        self._held = b""
        """Read, but not for the parser before there is room."""
        self._idle = True
        """Nothing is unfinished, so that the next byte begins a head."""
        self._deaf = False
        """Nothing that comes counts any more."""
        self._broken = False
        """The newest body ended in a fault: the connection ends with the answer."""
        self._phase = ""
        """What has a deadline: ``head``, ``body`` or nothing."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Serves the client, unless there are too many."""
        manager = self._manager
        if manager is not None and manager.is_full(transport):
            self._deaf, self._idle = True, False
            manager.turn_away(self, cast(asyncio.Transport, transport))
        else:
            super().connection_made(transport)

    def serve_once(self, transport: asyncio.Transport, head: bytes) -> None:
        """Answers ``head``, a whole one, and nothing behind it, on a connection that was one too many."""
        self._deaf, self._idle = False, True
        super().connection_made(transport)
        self.data_received(head)
        self.close()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Nothing is waited for any more."""
        if self._manager is not None:
            self._manager.forget(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Passes on what came, in pieces none of which goes beyond the end of a head or of a body."""
        if self._parser is None:
            self._begin_parsing()
        if self._laned:
            # More than one head: that goes the long way.
            data, self._laned = self._laned + data, b""
        elif self._idle and len(self._messages) < _FEW and one_whole_head(data, self._limits.head_bytes):
            if not self.waits(data):
                self.take(data)
            return
        if self._deaf or self._close or self._force_close:
            if self.transport is None and self._manager is not None:
                self._manager.hear_first(self, data)
            return
        if not data and not self._upgraded:  # there is room again, and the parser may hold something too
            self._parse(b"")
            self._look_at_body()
        if self._held:
            data, self._held = self._held + data, b""
        at, end = 0, len(data)
        while at < end and not self._deaf:
            if self._upgraded or self._payload_parser is not None:
                super().data_received(data[at:])
                break
            if self._reading_paused or len(self._messages) >= self._max_msg_queue_size:
                self._held = data[at:]
                break
            at = self._take_head(data, at) if self._body.is_eof() else self._take_body(data, at)
        self._set_deadline()

    def end_if_idle(self, since: float) -> None:
        """Ends the connection if there has been no request on it since that time of the loop."""
        idle = self._idle and not (self._messages or self._laned or self._request_in_progress)
        if idle and self._next_keepalive_close_time - self._keepalive_timeout <= since:
            self.force_close()

    def cancel(self) -> None:
        """Breaks off what is under way."""
        if self._task_handler is not None:
            self._task_handler.cancel()

    def take(self, data: bytes) -> None:
        """Takes in ``data``, a whole head; nothing is unfinished before it."""
        self._idle = False
        self._parse(data)
        self._set_deadline()

    def stays_open(self, request: web.BaseRequest) -> bool:
        """Whether another request will be read behind ``request``, so that its answer need not announce the end.

        Callers rely on True: from then on, only the client can bring about an end without an answer.
        """
        if self._close or self._force_close or request._message.should_close:
            return False
        draining = self._manager is not None and self._manager.draining
        if not request.content.is_eof():
            # Nothing comes behind an unfinished body, so this is the newest request.
            return not (self._deaf or draining) and self._rest_is_at_hand(request)
        if self._messages:
            return True
        return not (self._deaf or draining)

    def _rest_is_at_hand(self, request: web.BaseRequest) -> bool:
        if request._message.upgrade:
            # The parser takes what follows the body for another protocol, and only an answer behind that changes it.
            return False
        # A client that waits for "100 Continue" may send its body or not.
        return self._body_has_come() or (
            self._chunks is None and self._left <= REST_READ_BYTES and hdrs.EXPECT not in request.headers
        )

    def _body_has_come(self) -> bool:
        """Whether all of the newest body is here, parsed or not."""
        return not self._left and self._chunks is None

    def _take_head(self, data: bytes, at: int) -> int:
        """Lets aiohttp parse what belongs to the present head. Returns the position behind it."""
        cut = self._ends.next(data, at)
        piece = data if cut - at == len(data) else data[at:cut]
        if not self._line.takes(piece):
            self._refuse("the request line is malformed")
            return cut
        self._head += len(piece)
        ready = self._line.ready
        if self._head > self._limits.head_bytes:
            self._refuse("the head is too long")
        elif ready and not self._parse(ready) and self._head and piece.endswith(HEAD_END):
            self._refuse("nothing but empty lines")
        return cut

    def _take_body(self, data: bytes, at: int) -> int:
        """Lets aiohttp parse what belongs to the present body. Returns the position behind it."""
        chunks = self._chunks
        if chunks is None:
            cut = min(len(data), at + self._left)
            piece = data if cut - at == len(data) else data[at:cut]
            self._left -= len(piece)
        else:
            piece, cut = chunks.take(data, at)
            if chunks.fault:
                self._break()
                return cut
            if chunks.done:
                self._chunks = None
        if piece:
            self._parse(piece)
        self._look_at_body()
        return cut

    def _look_at_body(self) -> None:
        """Sees to it that the newest body ends for the parser exactly where it ends."""
        body = self._body
        if body.is_eof():
            if not self._body_has_come():
                # Two opinions about where it ends: nothing that follows is sure to be a request.
                self._deaf = True
            return
        nudges = _MOST_NUDGES
        while self._body_has_come() and not (self._deaf or self._reading_paused or body.is_eof()):
            # The parser has it all and waits to be told to go on, by a reader who has nothing left to read. It keeps
            # in mind that it was to pause even if that was for a body before this one.
            nudges -= 1
            if nudges < 0 or body.exception() is not None:
                self._break()
                return
            self._parse(b"")
        if body.exception() is not None and not body.is_eof():
            self._break()

    def _begin_parsing(self) -> None:
        if self._manager is None:
            return
        self._parser = HttpRequestParser(
            self,
            self._loop,
            self._read_bufsize,
            max_line_size=self.max_line_size,
            max_field_size=self.max_field_size,
            max_headers=self.max_headers,
            payload_exception=web.RequestPayloadError,
            auto_decompress=bool(SERVER_OPTIONS["auto_decompress"]),
            # The connection bounds its queue itself. aiohttp's C parser counts a request whose handler runs before its
            # body has come as waiting for ever; behind 32 of them it stops between requests, and loses the one behind
            # an upgrade that is not followed.
            max_msg_queue_size=0,
        )

    def _parse(self, piece: bytes) -> bool:
        """Lets aiohttp parse ``piece``. Returns whether a request began, or the parser gave up."""
        known = self._request_count
        try:
            super().data_received(piece)
        except Exception as error:
            # A length of 5,000 digits is too much for int(). With any other error the client gets the same answer, but
            # the fault is aiohttp's or ours.
            if not isinstance(error, ValueError):
                log.exception("a request could not be parsed")
            self._refuse_or_break(len(self._messages))
            return True
        if self._request_count == known:
            return False
        self._judge(self._request_count - known)
        return True

    def _judge(self, new: int) -> None:
        """Looks at the ``new`` requests, the last of the queue."""
        self._head = 0
        meant = self._line.meant
        self._line.begin()
        for at in range(len(self._messages) - new, len(self._messages)):
            message, body = self._messages[at]
            if isinstance(message, _ErrInfo):
                self._refuse_or_break(at)
                return
            if meant is not None:
                message = message._replace(method=meant[0], path=meant[1])
                meant = None
            fault = fault_of(message)
            if fault is not None:
                self._refuse(fault, at)
                return
            self._messages[at] = (message, body)
            self._body = body
            if body.is_eof():
                continue
            if message.chunked:
                limits = self._limits
                self._chunks = ChunkedBody(limits.line_bytes, limits.headers, limits.head_bytes)
            else:
                self._left = int(message.headers[hdrs.CONTENT_LENGTH])

    def _refuse_or_break(self, at: int) -> None:
        """The parser gave up, at the newest body if that is not complete, else behind ``at`` requests."""
        if self._body.is_eof():
            self._refuse("the request is malformed", at)
            return
        while len(self._messages) > at:
            self._messages.pop()
        self._break()

    def _refuse(self, reason: str, at: int | None = None) -> None:
        """Answers 400 after the first ``at`` requests of the queue (None: after all), and nothing behind it."""
        self._deaf = True
        while at is not None and len(self._messages) > at:
            self._messages.pop()
        self._messages.append((Unreadable(reason), EMPTY_PAYLOAD))  # type: ignore[arg-type]
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _break(self, error: web.RequestPayloadError | None = None) -> None:
        """Tells the reader of the body that there is no more of it."""
        self._deaf = self._broken = True
        if self._body.exception() is None:
            self._body.set_exception(error or web.RequestPayloadError("malformed or incomplete"))

    def _set_deadline(self) -> None:
        """A head as a whole has its time, a body for each of its pieces."""
        if self._deaf:
            phase = ""
        elif not self._body.is_eof():
            phase = "body"
        else:
            phase = "head" if self._head > _EMPTY_LINE_BYTES else ""
        self._idle = not (phase or self._head or self._deaf or self._held or self._upgraded)
        if phase == self._phase == "head":
            return
        if phase == "head":
            self._deadlines.set(self, self._limits.head_seconds, self._head_is_late)
        elif phase == "body":
            self._deadlines.set(self, self._limits.body_seconds, self._body_is_late)
        elif self._phase:
            self._deadlines.drop(self)
        self._phase = phase

    def _head_is_late(self) -> None:
        self._refuse(HEAD_TOO_LATE)

    def _body_is_late(self) -> None:
        # Of a body that has come, or waits to be taken, the reader is slow and not the client.
        if self._reading_paused or self._held or self._body_has_come():
            self._set_deadline()
        elif not self._body.is_eof():
            self._break(BodyTooSlow(BODY_TOO_LATE))

    def _process_keepalive(self) -> None:
        """The connection was idle for long enough, unless a request is on its way into it."""
        if self._laned or self._phase == "head":
            self._keepalive_handle = self._loop.call_later(_LOOK_AGAIN_SECONDS, self._process_keepalive)
        else:
            super()._process_keepalive()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Sends what is left of the answer. Behind the last one the connection ends, as the answer has said."""
        if not resp.prepared:
            resp.headers.setdefault("Server", SERVER_NAME)
        # Behind an upgrade that did not happen, requests go on: through our hands, not straight to the parser.
        tail = b""
        if self._upgraded and not self._messages and self._payload_parser is None:
            tail, self._message_tail = self._message_tail, b""
        done = await super().finish_response(request, resp, start_time)
        if tail and not self._upgraded:
            self.data_received(tail)
        if self._buffer_paused and self._parser is not None:
            self._resume_reading_if_drained()
        if not resp.keep_alive or (self._deaf and not self._messages):
            await self._end(request)
        elif not self._body.is_eof():
            # aiohttp reads and drops the rest.
            self._lingering_time = self._limits.body_seconds
        return done

    async def _end(self, request: web.BaseRequest) -> None:
        """Ends the connection behind the answer to ``request``. A client that may still send gets time to read it."""
        if self._manager is not None and self._manager.is_probe(self):
            # Its whole head has been read. Places for probes are few, so none waits for the client to close.
            self.force_close()
            return
        self.close()
        transport = self.transport
        if transport is None or transport.is_closing() or self._payload_parser is not None:
            return
        unread = self._held or self._messages or self._reading_paused or self._buffer_paused
        expected = request._message.should_close or (self._manager is not None and self._manager.draining)
        if expected and self._body.is_eof() and not (unread or self._deaf):
            # The client has said itself that this is its last request, or time is short.
            return
        self._deaf = True
        self._held = b""
        self._messages.clear()
        self._resume_transport_reading()
        await linger(transport, self._limits.linger_seconds)
        if not self._body.is_eof():
            # No handler waits for it any longer.
            self._body.feed_eof()

    def log_exception(self, *args: Any, **options: Any) -> None:
        """A client's fault is in the access log already, and no reason for a traceback."""
        if not self._broken:
            super().log_exception(*args, **options)
