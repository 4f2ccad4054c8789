"""Clients' connections, from bytes to requests and from the last answer to the end.

aiohttp parses requests and runs their handlers. What it leaves open is settled here:

* Requests are fed to its parser one head at a time, so that garbage takes no sound request in front of it along, and
  nothing is lost behind an ``Upgrade`` that nobody follows.
* What can't be read becomes an ``Unreadable`` request, which is answered, counted and logged like any other; then the
  connection ends. aiohttp's own answer would quote the client and name the parser.
* A head and a body each have a deadline.

Inner parts relied on, all of aiohttp 3.14: ``RequestHandler.data_received``, ``finish_response``, ``_messages``,
``_current_request``, ``_request_in_progress``, ``_task_handler``, ``_max_msg_queue_size``, ``_request_count``,
``_upgraded``, ``_message_tail``, ``_payload_parser``, ``_parser``, ``_buffer_paused``, ``_reading_paused``,
``_resume_reading_if_drained``, ``_waiter``, ``_force_close`` and ``_ErrInfo``.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web
from aiohttp.http import RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import _ErrInfo

from gateway.proxy.uploads import TOO_LATE, BodyTooSlow
from gateway.web.answer import SERVER_NAME
from gateway.web.forgetting import LONG, forgettable
from gateway.web.framing import HEAD_TOO_LATE, Unreadable, fault_of
from gateway.web.lane import Laned
from gateway.web.pieces import HEAD_END, Ends, RequestLine, ended_plainly, one_whole_head
from gateway.web.readers import linger

if TYPE_CHECKING:
    from gateway.web.server import Server

log = logging.getLogger(__name__)

_FEW: Final = 8  # requests may wait for their turn up to here without a closer look
_MOST_CUTS: Final = 64  # at ends of chunks, per read: enough for sound clients, too few to be made to work
# Chunked bodies may have this much besides their data, and a multiple of the data.
_CHUNK_EXTRA_BYTES: Final = 32 * 1024
_CHUNK_EXTRA_TIMES: Final = 16
_LARGEST_CHUNK: Final = 1 << 62


class Connection(Laned):
    """One client's connection."""

    __slots__ = (
        "_body",
        "_broken",
        "_chunk_bytes",
        "_cuts",
        "_deaf",
        "_ends",
        "_head",
        "_held",
        "_idle",
        "_last",
        "_left",
        "_limits",
        "_line",
        "_phase",
    )

    _manager: Server | None

    def __init__(self, server: Server, **options: Any) -> None:
        super().__init__(server, server.deadlines, server.limits.reader_seconds, **options)
        self._limits = server.limits
        self._lane = server.lane
        self._body: StreamReader = EMPTY_PAYLOAD
        """The body of the newest request."""
        self._left = self._chunk_bytes = 0
        """How much of it is still to come (below 0 if only its chunks tell), and has come, chunks' sizes included."""
        self._cuts = _MOST_CUTS
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
        self._last = False
        """The newest request is the last one of the connection."""
        self._phase = ""
        """What has a deadline: ``head``, ``body`` or nothing."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Serves the client, unless there are too many."""
        if self._manager is not None and self._manager.turns_away(transport):
            self._deaf = True
        else:
            super().connection_made(transport)

    def drain(self) -> None:
        """The answer to what is under way is the last one, and says so."""
        request = self._current_request
        if request is not None and isinstance(request._message, RawRequestMessage):
            request._message = request._message._replace(should_close=True)
        for at, (message, body) in enumerate(self._messages):
            if isinstance(message, RawRequestMessage):
                self._messages[at] = (message._replace(should_close=True), body)

    def end(self) -> None:
        """Ends with the answer under way, or at once if there is none."""
        if self._request_in_progress:
            self.close()
        else:
            self.force_close()

    def cancel(self) -> None:
        """Breaks off what is under way."""
        if self._task_handler is not None:
            self._task_handler.cancel()

    def rest(self) -> None:
        """Lets go of the parser, unless there is something in it or behind it."""
        if self._idle and not self._messages:
            super().rest()

    def data_received(self, data: bytes) -> None:
        """Passes on what came, in pieces none of which goes beyond the end of a request."""
        if self._parser is None:
            self.wake()
        if self._laned:
            # More than one head: that goes the long way.
            data, self._laned = self._laned + data, b""
        elif self._idle and len(self._messages) < _FEW and one_whole_head(data, self._limits.head_bytes):
            if not self.waits(data):
                self.take(data)
            return
        if self._deaf or self._force_close:
            return
        if not data and not self._upgraded:  # there is room again, and the parser may hold something too
            self._feed(data)
        if self._held:
            data, self._held = self._held + data, b""
        at, end, cuts = 0, len(data), 0
        while at < end and not self._deaf:
            if self._upgraded or self._payload_parser is not None:
                super().data_received(data[at:])
                break
            if self._reading_paused or len(self._messages) >= self._max_msg_queue_size:
                self._held = data[at:]
                break
            cut = self._cut(data, at, cuts)
            self._feed(data if cut - at == end else data[at:cut])
            at = cut
            cuts += 1
        self._set_deadline()

    def take(self, data: bytes) -> None:
        """Takes in ``data``, a whole head; nothing is unfinished before it."""
        self._idle = False
        self._parse(data)
        self._set_deadline()

    def _cut(self, data: bytes, at: int, cuts: int) -> int:
        """Where the piece that begins at ``at`` ends, ``cuts`` pieces having been cut off before it."""
        if self._left > 0:
            cut = min(len(data), at + self._left)
            self._left -= cut - at
            return cut
        if self._left < 0 and not self._body.is_eof() and cuts > self._cuts:
            return len(data)
        return self._ends.next(data, at)

    def _feed(self, piece: bytes) -> None:
        """Lets aiohttp parse ``piece``, and judges what became of it."""
        in_head = self._body.is_eof()
        ready = piece
        if piece and in_head:
            if not self._line.takes(piece):
                self._refuse("the request line is malformed")
                return
            self._head += len(piece)
            if self._head > self._limits.head_bytes:
                self._refuse("the head is too long")
                return
            ready = self._line.ready
            if not ready:
                return
        if self._parse(ready):
            return
        if in_head:
            if self._head and piece.endswith(HEAD_END):
                self._refuse("nothing but empty lines")
        elif self._body.exception() is not None or self._is_padding(len(piece)):
            self._break()
        elif self._left < 0 and self._body.is_eof() and not ended_plainly(piece):
            # Trailers, perhaps. aiohttp's C parser would make fields of the next request of them, so there is none.
            self._deaf = self._last = True

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

    def _is_padding(self, size: int) -> bool:
        """Whether chunks come with so little in them that they are no way to send data."""
        if self._left >= 0:
            return False
        self._chunk_bytes += size
        data: int = self._body.total_bytes
        if self._chunk_bytes > _CHUNK_EXTRA_BYTES + _CHUNK_EXTRA_TIMES * data:
            return True
        # The Python parser takes chunks of any size, and a proxy before us may have counted in 64 bits.
        parser = getattr(self._parser, "_payload_parser", None)
        return parser is not None and parser._chunk_size > _LARGEST_CHUNK

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
            if self._manager is not None and self._manager.draining:
                message = message._replace(should_close=True)
            if message.path.startswith(LONG):
                message = forgettable(message)
            self._messages[at] = (message, body)
            self._body = body
            self._left = self._chunk_bytes = 0
            if not body.is_eof():
                self._left = -1 if message.chunked else int(message.headers["Content-Length"])
                self._cuts = sys.maxsize if message.upgrade else _MOST_CUTS

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
        """Tells whoever reads the body that there is no more of it."""
        self._deaf = self._broken = True
        if self._body.exception() is None:
            self._body.set_exception(error or web.RequestPayloadError("malformed or incomplete"))

    def _set_deadline(self) -> None:
        """A head as a whole has its time, a body for each of its pieces."""
        phase = "" if self._deaf else "body" if not self._body.is_eof() else "head" if self._head else ""
        self._idle = not (phase or self._deaf or self._held or self._upgraded)
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
        if self._reading_paused or self._held:  # whoever reads it is slow, not the client
            self._set_deadline()
        elif not self._body.is_eof():
            self._break(BodyTooSlow(TOO_LATE))

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Sends what is left of the answer; the last one of a connection that ends in a fault gets time to arrive."""
        newest = request.content is self._body
        broken = self._broken and newest
        last = broken or (self._last and newest)
        if not resp.prepared:
            resp.headers.setdefault("Server", SERVER_NAME)
            if last:
                resp.force_close()
        # Behind an upgrade that did not happen, requests go on: through our hands, not straight to the parser.
        tail = b""
        if self._upgraded and not self._messages and self._payload_parser is None:
            tail, self._message_tail = self._message_tail, b""
        done = await super().finish_response(request, resp, start_time)
        if tail and not self._upgraded:
            self.data_received(tail)
        if self._buffer_paused and self._parser is not None:
            self._resume_reading_if_drained()
        if broken:
            self._body.feed_eof()
        if last:
            self.close()
        if self._deaf and not self._messages and self.transport is not None:
            await linger(self.transport, self._limits.linger_seconds)
        return done

    def log_exception(self, *args: Any, **options: Any) -> None:
        """A client's fault is in the access log already, and no reason for a traceback."""
        if not self._broken:
            super().log_exception(*args, **options)
