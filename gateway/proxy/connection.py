"""One request and its answer on a connection to an upstream; see ``pool`` for where connections come from.

aiohttp's connection has its own parser, which reads the answers. The gateway uses it without ``ClientSession``, which
adds what a gateway must not have (building requests, redirects, cookies, proxies from the environment, silent repeats),
and most of the cost. ``_aiohttp`` lists the private names of aiohttp that this needs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from aiohttp import ClientConnectionError, ClientError, ClientOSError
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError, RawResponseMessage, StreamWriter
from aiohttp.streams import EMPTY_PAYLOAD, EofStream, StreamReader

from gateway.errors import UpstreamTimeout, UpstreamUnreachable
from gateway.proxy.upstream import UpstreamBase
from gateway.proxy.upstream_protocol import UpstreamProtocol
from gateway.proxy.writing import write_with_body
from gateway.server.deadlines import Deadlines
from gateway.server.socket_buffer import abort_if_unsent, is_readable

# Over TLS, a failed write loses an answer that has arrived: only the TLS layer could read it, and that is gone by then.
# So over TLS the gateway reads before each write, for a few loop iterations, and writes little at a time.
_TLS_PIECE_BYTES = 16 * 1024
_TLS_ITERATIONS = 4
_CONNECTION_ERRORS = (ClientError, HttpProcessingError, OSError, EofStream)


class ConnectionOwner(Protocol):
    """The pool that a connection belongs to."""

    deadlines: Deadlines

    def take_back(self, connection: Connection, protocol: UpstreamProtocol, /) -> None:
        """The connection can serve again."""

    def ended(self, base: UpstreamBase, /) -> None:
        """A connection to this instance has ended while it was in use."""

    def linger(self, transport: asyncio.Transport, seconds: float, /) -> None:
        """Makes sure that a closing connection has ended after so many seconds."""


class UpstreamConnection:
    """One request and its answer on one connection; ends with ``release`` or ``close``.

    ``reused``: the connection carried an answer before, and the upstream
    may have closed it since. ``answered``: a final head has been read. ``lost_before_response``: the connection ended
    before the first byte of an answer.
    """

    __slots__ = (
        "_body",
        "_connection",
        "_head_received",
        "_owner",
        "_protocol",
        "_until_close",
        "answered",
        "authority",
        "base",
        "lost_before_response",
        "reused",
    )

    def __init__(self, connection: Connection, protocol: UpstreamProtocol, owner: ConnectionOwner) -> None:
        self._connection: Connection | None = connection
        self._protocol = protocol
        self._owner = owner
        self._body: StreamReader = EMPTY_PAYLOAD
        self.authority = protocol.authority
        """The ``Host`` of the instance."""
        self.base = protocol.base
        self.reused = protocol.served
        self._until_close = self._head_received = self.answered = self.lost_before_response = False

    def begin(self, head: bytes, body: bytes = b"", *, body_follows: bool) -> None:
        """Sends the beginning of a request, and expects its answer; ``body_follows`` is false for HEAD. ``body``: the
        part of the request's own body that is at hand. Raises UpstreamUnreachable as ``send`` does."""
        self._protocol.expect_response(body_follows=body_follows)
        self.send(head, body)

    def send(self, data: bytes, body: bytes = b"") -> None:
        """Writes without waiting. Raises UpstreamUnreachable if the connection is gone; an answer that arrived before
        can still be read."""
        transport = self._protocol.transport
        if transport is None or transport.is_closing():
            self._protocol.read_remaining_bytes()
            self.lost_before_response = not self._head_received
            raise UpstreamUnreachable("the connection was lost while sending")
        write_with_body(transport, data, body)

    def split(self, data: bytes) -> Sequence[bytes]:
        """``data`` in pieces. Send them one at a time, each after ``read_early_response``."""
        if not self._protocol.over_tls or len(data) <= _TLS_PIECE_BYTES:
            return (data,)
        return [data[at : at + _TLS_PIECE_BYTES] for at in range(0, len(data), _TLS_PIECE_BYTES)]

    async def read_early_response(self) -> None:
        """Lets the loop read an early answer before a write, if a failed write would lose it."""
        transport = self._protocol.transport
        if self._protocol.over_tls and transport is not None:
            for _ in range(_TLS_ITERATIONS):
                if not is_readable(transport):
                    return
                await asyncio.sleep(0)

    async def drain(self, seconds: float) -> None:
        """Waits until the upstream has taken enough of what was sent.

        Raises UpstreamTimeout when it takes nothing for ``seconds``, UpstreamUnreachable when the connection is gone.
        """
        if not self._protocol.writing_paused:
            return
        try:
            async with asyncio.timeout(seconds):
                await StreamWriter(self._protocol, asyncio.get_running_loop()).drain()
        except TimeoutError:
            raise UpstreamTimeout("response") from None
        except _CONNECTION_ERRORS as exc:
            raise UpstreamUnreachable(f"while sending: {type(exc).__name__}") from exc

    def start_deadline(self, seconds: float) -> None:
        """Makes ``read_head`` fail with UpstreamTimeout after ``seconds``, unless the head is already there."""
        if not self.answered:
            self._owner.deadlines.set(self, seconds, self._timed_out)

    def _timed_out(self) -> None:
        self.fail(UpstreamTimeout("response"))

    def fail(self, error: BaseException) -> None:
        """Makes reads from this connection raise ``error``."""
        self._protocol.set_exception(error)
        self._protocol.notify()

    def on_answer(self, whole: Callable[[RawResponseMessage, bytes], None], call: Callable[[], None]) -> None:
        """Calls ``whole`` with head and body if the answer is short and arrives in one read; then ``release_whole``
        comes next. Otherwise calls ``call`` once, when the next head can be read without waiting, or reading it fails.
        Use it after ``begin``, instead of waiting in ``read_head``."""
        protocol = self._protocol
        protocol.on_whole_answer = whole
        protocol.on_first_head = call
        if protocol.fault is not None:
            protocol.notify()

    async def read_head(self) -> RawResponseMessage:
        """Returns the next head, interim ones (1xx) included.

        Raises UpstreamUnreachable when the connection ends or the bytes are not HTTP, or the error passed to ``fail``.
        """
        try:
            message, self._body = await self._protocol.read()
        except _CONNECTION_ERRORS as exc:
            # If a head had begun, aiohttp's error holds its beginning.
            begun = self._head_received or isinstance(getattr(exc, "message", None), RawResponseMessage)
            self.lost_before_response = isinstance(exc, ClientConnectionError) and not begun
            raise UpstreamUnreachable(f"no answer: {type(exc).__name__}") from exc
        self._head_received = True
        if message.code >= 200:
            self.answered = True
            self._owner.deadlines.drop(self)
            self._until_close = (
                message.should_close and not message.chunked and "Content-Length" not in message.headers
            )
        return message

    def read_arrived(self) -> tuple[bytes, bool]:
        """The bytes of the body that have arrived since the last call, and whether they end it."""
        body = self._body
        try:
            data = body.read_nowait()
        except _CONNECTION_ERRORS as exc:
            raise UpstreamUnreachable(f"the body broke off: {type(exc).__name__}") from exc
        ended = body.at_eof()
        if ended and self._until_close:
            self._check_reset()
        return data, ended

    async def read(self) -> bytes:
        """The next piece of the body as soon as there is one; empty at the end.

        Raises UpstreamUnreachable when the upstream ends the body before it is complete.
        """
        try:
            data = await self._body.readany()
        except _CONNECTION_ERRORS as exc:
            raise UpstreamUnreachable(f"the body broke off: {type(exc).__name__}") from exc
        except RuntimeError as exc:
            if self._protocol.transport is not None:
                raise
            # aiohttp raises this if the transport was closed before the reader noticed.
            raise UpstreamUnreachable("the body broke off: the connection is gone") from exc
        if not data and self._until_close:
            self._check_reset()
        return data

    def _check_reset(self) -> None:
        """A body that ends with the connection is complete only if the connection was closed, not reset."""
        if isinstance(self._protocol.exception(), ClientOSError):
            raise UpstreamUnreachable("the connection was reset within the body")

    @property
    def protocol(self) -> UpstreamProtocol:
        """The protocol that writes to the upstream, for the tunnel that takes over after ``switch_protocol``."""
        return self._protocol

    def switch_protocol(self, reader: Any) -> None:
        """Leaves HTTP: the bytes after the 101 and all later ones go to ``reader``, as with aiohttp's own WebSocket
        reader. After this, call only ``close_gracefully`` or ``close``."""
        self.answered = True
        self._owner.deadlines.drop(self)
        self._protocol.set_parser(reader, None)

    def close_gracefully(self, seconds: float) -> None:
        """Ends the connection once the upstream has taken what was sent, or after ``seconds``."""
        transport = self._protocol.transport
        if transport is not None and transport.get_write_buffer_size():
            self._owner.linger(transport, seconds)
        self._end()

    def release(self) -> None:
        """Returns the connection to the pool if its answer was read to the end and nothing came after it; otherwise
        closes it."""
        read = self.answered and self._body.at_eof()
        if self._connection is None or not read or not self._protocol.ended_cleanly:
            self.close()
            return
        self._protocol.served = True
        # Without a parser, unrequested bytes from an idle upstream are kept aside, and ``should_close`` sees them. With
        # the old parser they would become the answer to another client's request.
        self._protocol.stop_parsing()
        self._owner.take_back(self._connection, self._protocol)
        self._connection = None

    def release_whole(self) -> None:
        """Returns the connection to the pool after a whole answer: see ``on_answer``."""
        connection, protocol, owner = self._connection, self._protocol, self._owner
        if connection is not None:
            self._connection = None
            owner.deadlines.drop(self)
            protocol.served = True
            owner.take_back(connection, protocol)

    def close(self) -> None:
        """Ends the connection; does nothing if it was released. Drops what the upstream has not taken: the upstream may
        never take it, and the connection would stay open until then."""
        if self._connection is not None:
            if self._protocol.transport is not None:
                abort_if_unsent(self._protocol.transport)
            self._end()

    def _end(self) -> None:
        if self._connection is not None:
            self._owner.deadlines.drop(self)
            self._protocol.drop_waiting()
            self._connection.close()
            self._connection = None
            self._owner.ended(self.base)
