"""One request and its answer on a connection to an upstream; see ``pool`` for where connections come from.

aiohttp's connection has a parser of its own, which reads the answers. What its ``ClientSession`` adds on top (building
requests, redirects, cookies, proxies from the environment, silent repeats) is what a gateway must not have, and most of
its cost. The private names of aiohttp that this takes stand in ``_aiohttp``.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import Any

from aiohttp import ClientConnectionError, ClientError, ClientOSError, hdrs
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError, RawResponseMessage, StreamWriter
from aiohttp.streams import EMPTY_PAYLOAD, EofStream, StreamReader

from gateway.errors import UpstreamTimeout, UpstreamUnreachable
from gateway.proxy._aiohttp import ClientProtocol
from gateway.proxy.strict import HEAD_BYTES, LINE_BYTES, LINES, Chunks, head_end, is_sound
from gateway.server.deadlines import Deadlines
from gateway.server.unread import has_come, over_tls, unread_of

# What an answer may wait for us in memory, per connection, is twice this plus one read of the socket.
_READ_BUFFER_BYTES = 64 * 1024
# Over TLS an answer is lost behind a write that fails: only the TLS layer could read it, and that is gone by then. So
# the gateway reads before each write there, in a few turns of the loop, and writes little at a time.
_TLS_PIECE_BYTES = 16 * 1024
_TLS_TURNS = 4
_BROKEN = (ClientError, HttpProcessingError, OSError, EofStream)


_HEAD_END = b"\r\n\r\n"
_WITHOUT_BODY = frozenset({204, 304})
_NOT_WHOLE = frozenset({b"204", b"304"})
_LENGTH = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: ?([0-9]{1,9})\r\n")
_OPEN = -1
# A parser that was told to pause stops once more, and may have been told while it held something back.
_NUDGES = 2


class Handler(ClientProtocol):
    """A connection's protocol that knows whether it served before and never leaves a reader waiting.

    aiohttp's parser gets an answer and nothing behind it: the C parser would lose an answer that has stray bytes in the
    same read, and the Python parser would keep them to itself. A connection with stray bytes does not serve again.
    """

    served = False
    _unbounded = False

    def expect(self, *, body_follows: bool) -> None:
        """An answer comes next; ``body_follows`` is false for HEAD."""
        self._body_follows = body_follows
        self._parser_done = False
        """The parser takes nothing behind the head that it gave last, which was an interim one."""
        self._left: int | None = None
        """How many bytes of the body are still to come: None within a head, ``_OPEN`` if only the body can tell."""
        self._seam = self._end = b""
        self._head: list[bytes] = []
        """What has come of the present head."""
        self._head_bytes = 0
        self._chunks: Chunks | None = None
        self._renew_parser()

    def _renew_parser(self) -> None:
        self._parser_done = False
        self.set_response_params(
            skip_payload=not self._body_follows,
            read_until_eof=True,
            auto_decompress=False,
            read_bufsize=_READ_BUFFER_BYTES,
            # The parsers count differently, so that the limits proper are in ``strict``.
            max_line_size=2 * LINE_BYTES,
            max_field_size=2 * LINE_BYTES,
            max_headers=2 * LINES,
        )

    @property
    def ended_plainly(self) -> bool:
        """Whether nothing came behind the answer, whose body has been read."""
        return not self.ends and (self._left == 0 or self._end == _HEAD_END)

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        """Takes a head from the parser."""
        message, body = data
        head = self._head[0] if len(self._head) == 1 else b"".join(self._head)
        end = head_end(head)
        # Behind an interim head whose end was not seen comes another one.
        rest = head[end:].lstrip(b"\r\n") if message.code < 200 else b""
        self._head = [rest] if rest else []
        self._head_bytes = 0
        if not is_sound(head[:end], chunked=message.chunked):
            self._refuse("the head has more than one reading")
            return
        self._left = self._length_of(message)
        if message.chunked and self._left == _OPEN and message.code >= 200:
            self._chunks = Chunks()
            if end < len(head) and not self._chunks.follow(head[end:]):
                super().feed_data(data, size)
                self.body = body
                self._refuse("a chunk has more than one reading")
                return
        if self._left is None and (message.should_close or message.upgrade):
            # The C parser reads no more behind ``Connection: close``, the Python one none behind ``Upgrade``.
            self._parser_done = True
        if self._left is not None and self._left > 0:
            # Only behind a head whose end was not seen, since its lines end in LF alone.
            self._left = max(0, self._left - body.total_bytes)
        super().feed_data(data, size)

    def _refuse(self, why: str) -> None:
        """Ends the connection, and with it the answer."""
        self.end_behind_this()
        if self.transport is not None:
            self.transport.close()
        self.set_exception(HttpProcessingError(message=why))

    def _parse_head(self, data: bytes) -> None:
        self._head_bytes += len(data)
        if not self._head:
            # One parser passes over empty lines before an answer.
            data = data.lstrip(b"\r\n")
        if data:
            self._head.append(data)
            super().data_received(data)
        if self._head_bytes > HEAD_BYTES and self._left is None and self.fault is None:
            self._refuse("a head without end")

    def _length_of(self, message: RawResponseMessage) -> int | None:
        if message.code == 101:
            return _OPEN
        if message.code < 200:
            return None
        length = message.headers.get(hdrs.CONTENT_LENGTH, "")
        if message.code in _WITHOUT_BODY or not self._body_follows:
            if message.chunked or length.strip("0"):
                # A service that announces a body here may well send one, later: such as one that answers HEAD as GET.
                # It would become the answer to another client.
                self.end_behind_this()
            return 0
        if message.chunked or not (length.isascii() and length.isdigit()):
            return _OPEN
        return int(length)

    def data_received(self, data: bytes) -> None:
        """Parses what came, as far as it belongs to the answer."""
        if not data or not self.speaks_http:
            super().data_received(data)
            return
        while data and self._left is None and self.fault is None:
            begun = bool(self._seam)
            end = self._head_end(data)
            if not begun and end != len(data) and self._is_whole(data, end):
                self._head = [data]
                super().data_received(data)
                return
            self._parse_head(data[:end])
            data = data[end:]
            if self._parser_done:
                self.forget_upgrade()
                self._renew_parser()
        if not data or self.fault is not None:
            return
        if self._left == _OPEN:
            if self.body is not None and self.body.is_eof():
                self.end_behind_this()
            self._end = data[-4:] if len(data) >= 4 else (self._end + data)[-4:]
            if self._chunks is not None and not self._chunks.follow(data):
                self._refuse("a chunk has more than one reading")
                return
            super().data_received(data)
        elif self._left is not None:
            if len(data) > self._left:
                self.end_behind_this()
                data = data[: self._left]
            self._left -= len(data)
            if data:
                super().data_received(data)

    def _is_whole(self, data: bytes, end: int) -> bool:
        """Whether ``data`` is exactly one answer with the head up to ``end``, as most are: parsed at once, it costs
        less. When in doubt, no."""
        if not self._body_follows or data[9:12] in _NOT_WHOLE or data[9:10] == b"1" or data[:5] != b"HTTP/":
            return False
        length = _LENGTH.search(data, 0, end)
        return length is not None and end + int(length[1]) == len(data)

    def _head_end(self, data: bytes) -> int:
        """The position in ``data`` behind the end of the head, or its length if there is none."""
        seam, self._seam = self._seam, b""
        if seam and (found := (seam + data[:3]).find(_HEAD_END)) >= 0:
            return found + 4 - len(seam)
        if (found := data.find(_HEAD_END)) >= 0:
            return found + 4
        self._seam = (seam + data)[-3:] if len(data) < 3 else data[-3:]
        return len(data)

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Go on reading, if it was stopped: aiohttp asks for it, and parses nothing once more, at every read."""
        if self.reading_is_paused:
            super().resume_reading(resume_parser)

    def connection_lost(self, exc: BaseException | None) -> None:
        """A connection that fails may have brought an answer before: a service that refuses an upload answers and
        closes while the client still sends."""
        if exc is not None:
            self.rescue()
        super().connection_lost(exc)

    def rescue(self) -> None:
        """Takes in what has come on a connection that can't be written to any more."""
        if self.fault is not None:
            return
        # No more will come than this, so nothing is held back.
        paused, self._unbounded = self.reading_is_paused, True
        if data := unread_of(self.transport):
            self.data_received(data)
        for _ in range(_NUDGES if paused else 0):
            if self.expects_answer and self.fault is None:
                self.data_received(b"")

    def pause_reading(self) -> None:
        """Stop reading, and parsing, unless the connection is lost."""
        if not self._unbounded:
            super().pause_reading()

    def set_exception(self, exc: BaseException, *cause: BaseException) -> None:
        """Also end the body being read: on a malformed chunk aiohttp tells only who waits for a head."""
        body = self.body
        super().set_exception(exc, *cause)
        if body is not None and not body.is_eof() and body.exception() is None:
            body.set_exception(exc)


class UpstreamConnection:
    """One request and its answer on one connection; ends with ``release`` or ``close``.

    ``authority`` is what ``Host`` says for the instance. ``reused``: it carried an answer before, and may
    have been ended by the upstream since. ``answered``: a final head has been read. ``lost``: it ended before a byte of
    an answer came.
    """

    __slots__ = (
        "_body",
        "_connection",
        "_deadlines",
        "_heard",
        "_linger",
        "_over_tls",
        "_protocol",
        "_rest",
        "_until_close",
        "_writer",
        "answered",
        "authority",
        "lost",
        "reused",
    )

    def __init__(
        self,
        connection: Connection,
        protocol: Handler,
        authority: bytes,
        deadlines: Deadlines,
        rest: Callable[[Connection], None],
        linger: Callable[[asyncio.Transport, float], None],
    ) -> None:
        """``rest`` takes the connection back when it can serve again; ``linger`` sees to it that one that is ending
        has ended in so many seconds."""
        self._connection: Connection | None = connection
        self._protocol = protocol
        self._writer = StreamWriter(protocol, asyncio.get_running_loop())
        self._deadlines = deadlines
        self._rest = rest
        self._linger = linger
        self._body: StreamReader = EMPTY_PAYLOAD
        self._until_close = False
        self._heard = False
        self._over_tls = over_tls(protocol.transport)
        self.authority = authority
        self.reused = protocol.served
        self.answered = False
        self.lost = False

    def begin(self, *, body_follows: bool) -> None:
        """Make ready to read one answer; ``body_follows`` is false for HEAD. Call before ``send``."""
        self._protocol.expect(body_follows=body_follows)

    def send(self, data: bytes) -> None:
        """Write without waiting. Raises UpstreamUnreachable if the connection is gone; an answer that came before can
        still be read."""
        transport = self._protocol.transport
        if transport is None or transport.is_closing():
            self._protocol.rescue()
            self.lost = not self._heard
            raise UpstreamUnreachable("the connection was lost while sending")
        transport.write(data)

    def pieces(self, data: bytes) -> Sequence[bytes]:
        """``data`` in pieces that are best sent one at a time, each after ``listen``."""
        if not self._over_tls or len(data) <= _TLS_PIECE_BYTES:
            return (data,)
        return [data[at : at + _TLS_PIECE_BYTES] for at in range(0, len(data), _TLS_PIECE_BYTES)]

    async def listen(self) -> None:
        """Let an early answer be read before something is sent, where it could not be read any more afterwards."""
        transport = self._protocol.transport
        if self._over_tls and transport is not None:
            for _ in range(_TLS_TURNS):
                if not has_come(transport):
                    return
                await asyncio.sleep(0)

    async def drain(self, seconds: float) -> None:
        """Wait until the upstream has taken enough of what was sent.

        Raises UpstreamTimeout when it takes nothing for ``seconds``, UpstreamUnreachable when the
        connection is gone.
        """
        if not self._protocol.writing_paused:
            return
        try:
            async with asyncio.timeout(seconds):
                await self._writer.drain()
        except TimeoutError:
            raise UpstreamTimeout("response") from None
        except _BROKEN as exc:
            raise UpstreamUnreachable(f"while sending: {type(exc).__name__}") from exc

    def start_deadline(self, seconds: float) -> None:
        """Let ``read_head`` fail with UpstreamTimeout after ``seconds``, unless the head is already there."""
        if not self.answered:
            self._deadlines.set(self, seconds, self._too_late)

    def _too_late(self) -> None:
        self.fail(UpstreamTimeout("response"))

    def fail(self, error: BaseException) -> None:
        """Make whoever reads from this connection get ``error``."""
        self._protocol.set_exception(error)

    async def read_head(self) -> RawResponseMessage:
        """Return the next head, interim ones (1xx) included.

        Raises UpstreamUnreachable when the connection ends or what comes is not HTTP, or the error
        given to ``fail``.
        """
        try:
            message, self._body = await self._protocol.read()
        except _BROKEN as exc:
            # Where a head had begun, aiohttp says what there was of it.
            begun = self._heard or isinstance(getattr(exc, "message", None), RawResponseMessage)
            self.lost = isinstance(exc, ClientConnectionError) and not begun
            raise UpstreamUnreachable(f"no answer: {type(exc).__name__}") from exc
        self._heard = True
        if message.code >= 200:
            self.answered = True
            self._deadlines.drop(self)
            self._until_close = (
                message.should_close and not message.chunked and "Content-Length" not in message.headers
            )
        return message

    def take(self) -> tuple[bytes, bool]:
        """What has arrived of the body since the last look, and whether that was its end."""
        body = self._body
        try:
            data = body.read_nowait()
        except _BROKEN as exc:
            raise UpstreamUnreachable(f"the body broke off: {type(exc).__name__}") from exc
        ended = body.at_eof()
        if ended and self._until_close:
            self._refuse_reset()
        return data, ended

    async def read(self) -> bytes:
        """The next piece of the body as soon as there is one, empty at its end.

        Raises UpstreamUnreachable when the upstream ends it before it is complete.
        """
        try:
            data = await self._body.readany()
        except _BROKEN as exc:
            raise UpstreamUnreachable(f"the body broke off: {type(exc).__name__}") from exc
        except RuntimeError as exc:
            if self._protocol.transport is not None:
                raise
            # aiohttp's words for: the transport went before its reader knew.
            raise UpstreamUnreachable("the body broke off: the connection is gone") from exc
        if not data and self._until_close:
            self._refuse_reset()
        return data

    def _refuse_reset(self) -> None:
        """A body that ends with the connection is complete only if the connection ended in order."""
        if isinstance(self._protocol.exception(), ClientOSError):
            raise UpstreamUnreachable("the connection was reset within the body")

    @property
    def protocol(self) -> Handler:
        """What writes to the upstream, for whoever takes over behind a ``switch``."""
        return self._protocol

    def switch(self, reader: Any) -> None:
        """Leave HTTP: what came behind the 101 and what comes now goes to ``reader``, as to aiohttp's own for
        WebSockets. Only ``hang_up`` or ``close`` may follow."""
        self.answered = True
        self._deadlines.drop(self)
        self._protocol.set_parser(reader, None)

    def hang_up(self, seconds: float) -> None:
        """End the connection once the upstream has taken what was sent, or in ``seconds``."""
        transport = self._protocol.transport
        if transport is not None and transport.get_write_buffer_size():
            self._linger(transport, seconds)
        self._end()

    def release(self) -> None:
        """Give the connection back to the pool if its answer was read to the end and nothing came behind it, else close
        it."""
        read = self.answered and self._body.at_eof()
        if self._connection is None or not read or not self._protocol.ended_plainly:
            self.close()
            return
        self._protocol.served = True
        # Without a parser, whatever an idle upstream sends on its own is kept aside and seen by
        # ``should_close``; with the old one it would become the answer to somebody's next request.
        self._protocol.expect_nothing()
        self._rest(self._connection)
        self._connection = None

    def close(self) -> None:
        """End the connection; nothing happens if it was released. What the upstream has not taken is dropped: it may
        never take it, and the connection would stay for as long."""
        if self._connection is not None:
            if self._protocol.transport is not None:
                drop_unsent(self._protocol.transport)
            self._end()

    def _end(self) -> None:
        if self._connection is not None:
            self._deadlines.drop(self)
            self._connection.close()
            self._connection = None


def drop_unsent(transport: asyncio.Transport) -> None:
    """End a connection at once if something waits to be taken by the other side. One that has ended is left alone:
    asyncio takes no ``abort`` then."""
    if transport.get_write_buffer_size():
        transport.abort()
