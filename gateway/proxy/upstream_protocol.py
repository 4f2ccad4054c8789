"""The protocol of a connection to an upstream: which bytes are of the expected answer, and what is read from them.

aiohttp's connection has its own parser, which reads the answers. ``_aiohttp`` lists the private names of aiohttp that
this needs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import hdrs
from aiohttp.http import HttpProcessingError, RawResponseMessage
from aiohttp.streams import StreamReader

from gateway.proxy._aiohttp import ClientProtocol
from gateway.proxy.strict_parsing import (
    MAX_HEAD_BYTES,
    MAX_LINE_BYTES,
    MAX_LINES,
    ChunkChecker,
    head_end,
    is_unambiguous,
)
from gateway.proxy.upstream import UpstreamBase
from gateway.proxy.whole_answers import WholeAnswerParser, whole_answer_end
from gateway.server.socket_buffer import over_tls, read_remaining
from gateway.service_tls import ServiceTls

# Per connection, an answer may hold in memory at most twice this plus one read of the socket.
_READ_BUFFER_BYTES = 64 * 1024
_HEAD_END = b"\r\n\r\n"
_BODILESS = frozenset({204, 304})
_UNKNOWN_LENGTH = -1
# A parser that was paused stops once more when resumed, and may still hold back data from the time of the pause.
_RESUME_ATTEMPTS = 2


class UpstreamProtocol(ClientProtocol):
    """A connection's protocol. It knows whether it has served before, and never leaves a reader waiting.

    aiohttp's parser gets an answer and nothing after it. With stray bytes in the same read, the C parser would lose the
    answer, and the Python parser would keep the bytes. A connection with stray bytes is not used again.
    """

    served = False
    base: UpstreamBase
    """The instance at the other end."""
    tls: ServiceTls | None = None
    """How TLS is spoken, if that is not as the system's certificates say."""
    authority = b""
    """The instance's ``Host``."""
    over_tls = False
    on_whole_answer: Callable[[RawResponseMessage, bytes], None] | None = None
    """Called with head and body, instead of ``on_first_head``, if the expected answer arrives as a whole."""
    on_first_head: Callable[[], None] | None = None
    """Called once, when the first head of the expected answer has arrived or the connection has failed."""
    first_status: int | None = None
    """The status of the first head that has arrived of the expected answer; None before. A broken service may send 000.
    """
    _unbounded = False
    _waiting = b""
    """Bytes of many small chunks that are read in the next iteration of the loop."""
    _untouched = False
    """Whether an answer is expected and nothing of it has arrived."""
    _parser_skipped = False
    """Whether the body goes to its reader directly: its length is known, and the parser has seen nothing of it."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, whole_answers: WholeAnswerParser | None = None
    ) -> None:
        super().__init__(loop)
        self._whole_answers = whole_answers

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open."""
        super().connection_made(transport)
        self.over_tls = over_tls(transport)

    def expect_response(self, *, body_follows: bool) -> None:
        """Expects an answer next; ``body_follows`` is false for HEAD."""
        self._body_follows = body_follows
        self._untouched = True
        self._left: int | None = None
        """Bytes of the body still to come: None within a head, ``_UNKNOWN_LENGTH`` if only the body itself shows its
        end."""
        self._waiting = self._end = b""
        self._parser_skipped = False
        self.first_status = None
        self.on_whole_answer = self.on_first_head = None

    def _begin_parsing(self) -> None:
        """The first bytes of an answer have come, which are not a whole answer."""
        self._untouched = False
        self._carry = b""
        self._head: list[bytes] = []
        """The parts of the current head so far."""
        self._head_bytes = 0
        self._chunks: ChunkChecker | None = None
        self._renew_parser()

    def _renew_parser(self) -> None:
        self._parser_done = False
        """Whether the parser accepts nothing after the last head, which was an interim one."""
        self.set_response_params(
            skip_payload=not self._body_follows,
            read_until_eof=True,
            auto_decompress=False,
            read_bufsize=_READ_BUFFER_BYTES,
            # The two parsers count differently, so the actual limits are in ``strict_parsing``.
            max_line_size=2 * MAX_LINE_BYTES,
            max_field_size=2 * MAX_LINE_BYTES,
            max_headers=2 * MAX_LINES,
        )

    @property
    def ended_cleanly(self) -> bool:
        """Whether nothing came after the answer, whose body has been read."""
        return not self.should_close and (self._left == 0 or self._end == _HEAD_END)

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        """Takes a head from the parser."""
        message, body = data
        if self.first_status is None:
            self.first_status = message.code
        head = self._head[0] if len(self._head) == 1 else b"".join(self._head)
        end = head_end(head)
        # After an interim head whose end was not found, another head follows.
        rest = head[end:].lstrip(b"\r\n") if message.code < 200 else b""
        self._head = [rest] if rest else []
        self._head_bytes = 0
        if not is_unambiguous(head[:end], chunked=message.chunked):
            self._refuse("the head has more than one reading")
            return
        self._left = self._body_length(message)
        if message.chunked and self._left == _UNKNOWN_LENGTH and message.code >= 200:
            self._chunks = ChunkChecker()
            if end < len(head) and self._chunks.feed(head[end:], most=len(head)) < 0:
                super().feed_data(data, size)
                self.body = body
                self._refuse("a chunk has more than one reading")
                return
        if self._left is None and (message.should_close or message.upgrade):
            # The C parser reads no more after ``Connection: close``, the Python parser none after ``Upgrade``.
            self._parser_done = True
        if self._left is not None and self._left > 0:
            # The parser has a part of the body only if it got it together with the head, whose end was not found
            # because its lines end in LF alone, or if it got all of a whole answer.
            self._parser_skipped = not body.total_bytes
            self._left = max(0, self._left - body.total_bytes)
        super().feed_data(data, size)

    def _refuse(self, why: str) -> None:
        """Closes the connection and fails the answer."""
        self.close_after_response()
        if self.transport is not None:
            self.transport.close()
        self.set_exception(HttpProcessingError(message=why))

    def _parse_head(self, data: bytes) -> None:
        self._head_bytes += len(data)
        if not self._head:
            # One of the parsers skips empty lines before an answer.
            data = data.lstrip(b"\r\n")
        if data:
            self._head.append(data)
            super().data_received(data)
        if self._head_bytes > MAX_HEAD_BYTES and self._left is None and self.fault is None:
            self._refuse("a head without end")

    def _body_length(self, message: RawResponseMessage) -> int | None:
        if message.code == 101:
            return _UNKNOWN_LENGTH
        if message.code < 200:
            return None
        length = message.headers.get(hdrs.CONTENT_LENGTH, "")
        if message.code in _BODILESS or not self._body_follows:
            if message.chunked or length.strip("0"):
                # A service that announces a body here may send one later, for example if it answers HEAD like GET. That
                # body would become the answer to another client.
                self.close_after_response()
            return 0
        if message.chunked or not (length.isascii() and length.isdigit()):
            return _UNKNOWN_LENGTH
        return int(length)

    def data_received(self, data: bytes) -> None:
        """Parses the incoming bytes that belong to the answer."""
        whole = self.on_whole_answer
        if whole is not None:
            self.on_whole_answer = None
            answer = self._read_whole(data)
            if answer is not None:
                self.on_first_head = None
                whole(*answer)
                return
        if self._untouched and data:
            self._begin_parsing()
        if self._waiting and data:
            self._waiting += data
            self._pause_transport()
            return
        self._receive(data)
        self.notify()

    def _read_whole(self, data: bytes) -> tuple[RawResponseMessage, bytes] | None:
        """The expected answer if ``data`` is all of it; otherwise None, with nothing taken."""
        if (
            self._whole_answers is None
            or not (self._untouched and self._body_follows)
            or self.fault is not None
        ):
            return None
        answer = self._whole_answers.read(data)
        if answer is not None:
            self._untouched = False
            self._left = 0
            self.first_status = answer[0].code
        return answer

    def notify(self) -> None:
        """Calls the listener if what it waits for has happened."""
        listener = self.on_first_head
        if listener is not None and (self.first_status is not None or self.fault is not None):
            self.on_first_head = None
            listener()

    def _receive(self, data: bytes) -> None:
        if not data or not self.parses_http:
            super().data_received(data)
            return
        while data and self._left is None and self.fault is None:
            begun = bool(self._carry)
            end = self._head_end(data)
            if self._body_follows and not begun and end != len(data) and whole_answer_end(data) == end:
                # Most answers are whole, and parsing them at once is cheaper.
                self._head = [data]
                super().data_received(data)
                return
            self._parse_head(data[:end])
            data = data[end:]
            if self._parser_done:
                self.reset_upgrade()
                self._renew_parser()
        if not data or self.fault is not None:
            return
        if self._left == _UNKNOWN_LENGTH:
            if self.body is not None and self.body.is_eof():
                self.close_after_response()
            if self._chunks is not None:
                taken = self._take_chunks(self._chunks, data)
                if taken is None:
                    return
                data = taken
            self._end = data[-4:] if len(data) >= 4 else (self._end + data)[-4:]
            super().data_received(data)
        elif self._left is not None:
            self._take_known_length(self._left, data)

    def _take_known_length(self, left: int, data: bytes) -> None:
        """Takes bytes of a body of which ``left`` bytes are still to come."""
        if len(data) > left:
            self.close_after_response()
            data = data[:left]
        self._left = left = left - len(data)
        body = self.body
        if body is None or not self._parser_skipped:
            if data:
                super().data_received(data)
            return
        # The parser would only copy the bytes.
        body.feed_data(data)
        if not left:
            # It still waits for them, and would report the body as incomplete.
            self.drop_parser()
            body.feed_eof()

    def _take_chunks(self, chunks: ChunkChecker, data: bytes) -> bytes | None:
        """The part of ``data`` for the parser; None if the body is not valid. If there are many small chunks, the rest
        waits for the next iteration of the loop, and so does what the service sends meanwhile."""
        taken = chunks.feed(data)
        if taken < 0:
            self._refuse("a chunk has more than one reading")
            return None
        self._waiting = data[taken:]
        if self._waiting and not self._unbounded:
            self._pause_transport()
            asyncio.get_running_loop().call_soon(self._next_turn)
        return data[:taken]

    def _next_turn(self) -> None:
        if not self._waiting or self.transport is None:
            return
        data, self._waiting = self._waiting, b""
        self._receive(data)
        self.notify()
        if not (self._waiting or self.reading_is_paused or self.transport.is_closing()):
            self.transport.resume_reading()

    def _pause_transport(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()

    def stop_parsing(self) -> None:
        """Expects no answer any more. Further bytes are only kept, and the connection must then not be used again."""
        self._untouched = False
        self.drop_parser()

    def drop_waiting(self) -> None:
        """Drops what has arrived and was not read: nothing more of the answer is wanted."""
        self._waiting = b""

    def _head_end(self, data: bytes) -> int:
        """The position in ``data`` after the end of the head, or the length of ``data`` if the head does not end in
        it."""
        carry, self._carry = self._carry, b""
        if carry and (found := (carry + data[:3]).find(_HEAD_END)) >= 0:
            return found + 4 - len(carry)
        if (found := data.find(_HEAD_END)) >= 0:
            return found + 4
        self._carry = (carry + data)[-3:] if len(data) < 3 else data[-3:]
        return len(data)

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Resumes reading if it was paused. aiohttp calls this at every read, and would then parse without data."""
        if self.reading_is_paused:
            super().resume_reading(resume_parser and not self._parser_skipped)
            if self._waiting:
                self._pause_transport()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Saves an answer that arrived before the connection failed: a service that refuses an upload answers and
        closes while the client still sends."""
        # The listener is called last: until then the connection does not say that it is closed.
        listener, self.on_first_head = self.on_first_head, None
        self.on_whole_answer = None
        if exc is not None:
            self.read_remaining_bytes()
        else:
            self._read_waiting()
        super().connection_lost(exc)
        self.on_first_head = listener
        self.notify()

    def read_remaining_bytes(self) -> None:
        """Reads the bytes that have arrived on a connection that can no longer be written to."""
        if self.fault is not None:
            return
        # Nothing more will arrive, so reading needs no bound.
        paused = self.reading_is_paused
        self._read_waiting()
        if data := read_remaining(self.transport):
            self.data_received(data)
        for _ in range(_RESUME_ATTEMPTS if paused else 0):
            if self.expects_response and self.fault is None:
                self.data_received(b"")

    def _read_waiting(self) -> None:
        self._unbounded = True
        while self._waiting and self.fault is None:
            data, self._waiting = self._waiting, b""
            self._receive(data)

    def pause_reading(self) -> None:
        """Pauses reading and parsing, unless the connection is lost."""
        if not self._unbounded:
            super().pause_reading()

    def set_exception(self, exc: BaseException, *cause: BaseException) -> None:
        """Also fails the body being read: on a malformed chunk aiohttp informs only a reader that waits for a head."""
        body = self.body
        super().set_exception(exc, *cause)
        if body is not None and not body.is_eof() and body.exception() is None:
            body.set_exception(exc)
