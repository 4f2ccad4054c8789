"""A stream on its connection: the only part of a stream that remains once the connection has left aiohttp.

A stream's head says ``Connection: close``, so bytes that the client sends after its request are not a request. The
gateway reads and drops them. Only the end of the connection matters.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

from gateway.observability.logging import ABORTED
from gateway.server.detached_connections import DetachedConnections, DetachedProtocol
from gateway.server.socket_buffer import over_tls, unsent_bytes
from gateway.sse.subscriber import Subscriber

MAX_RECEIVED_BYTES: Final = 64 * 1024
"""How many bytes the gateway reads of what a client sends after its request. The body of a GET and a few pipelined
requests fit. If a client sends more, the gateway reads nothing until the last frame is sent, which bounds the cost of a
flood."""

OnEnd = Callable[["StreamProtocol"], None]


class StreamProtocol(Subscriber, DetachedProtocol):
    """One open stream and its connection. Once the connection is lost, ``on_end`` is called exactly once.

    A client that reads too slowly is cut off: by the hub if too many bytes wait for it, here if they wait too long.
    """

    __slots__ = ("_connections", "_on_end", "_received", "_timer")

    _transport: asyncio.Transport

    def __init__(
        self,
        user: str,
        locale: str,
        languages: str,
        transport: asyncio.Transport,
        *,
        chunked: bool,
        limit: int,
        head: bytes,
        connections: DetachedConnections,
        on_end: OnEnd,
    ) -> None:
        """``limit`` in bytes, as for ``Subscriber``. ``connections`` says how long bytes may wait for the client."""
        super().__init__(user, locale, languages, transport, chunked=chunked, limit=limit, head=head)
        self._connections = connections
        self._on_end = on_end
        self._received = 0
        self._timer: asyncio.TimerHandle | None = None
        """Runs only while the client is behind, or after the last frame."""

    @property
    def body_length(self) -> int:
        """Bytes of the body that were written."""
        return self.sent if self.begun else 0

    @property
    def end(self) -> str:
        """Empty if the stream was completed; otherwise says that the client aborted it, possibly by not reading."""
        return "" if self.completed else ABORTED

    def abort(self) -> None:
        """Ends the connection at once; bytes not sent yet are dropped."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Drops what the client sends, and stops reading from a client that sends too much."""
        self._received += len(data)
        if self._received > MAX_RECEIVED_BYTES and not self.ended:
            # Not closed: a reset would take along what the client has not read of the stream.
            self._transport.pause_reading()

    def eof_received(self) -> None:
        """The client has half-closed. As everywhere in aiohttp this counts as a disconnect: the transport closes
        itself."""

    def pause_writing(self) -> None:
        """The client is behind: from now on it has a deadline for the waiting bytes."""
        if not self.ended:
            self._set_timer(self._write_seconds(), self._abort_slow_client)

    def resume_writing(self) -> None:
        """The client has taken most of the waiting bytes."""
        if not self.ended:
            self._drop_timer()

    def connection_lost(self, exc: BaseException | None) -> None:
        """The connection has ended, on either side."""
        self._drop_timer()
        if exc is not None and not self._received:
            # The last frame was still on its way. A client that has sent more than its request may well have read
            # everything, and its own extra bytes may have caused the reset.
            self.completed = False
        self._leave_hub("gone")
        self._connections.discard(self)
        self._on_end(self)

    def _hang_up(self) -> None:
        """Ends the connection after the last frame."""
        if self._received and self._transport.can_write_eof():
            # An immediate close would reset the connection of a client that is still sending, and lose the last frame.
            self._transport.resume_reading()
            self._transport.write_eof()
            self._set_timer(self._connections.limits.linger_seconds, self._close)
        else:
            self._close()

    def _close(self) -> None:
        self._transport.close()
        # Closing waits until all bytes have been sent, and over TLS then for the client's own end.
        if over_tls(self._transport):
            self._wait_for_end(asyncio.get_running_loop().time() + self._write_seconds())
        else:
            self._set_timer(self._write_seconds(), self._abort_slow_client)

    def _wait_for_end(self, until: float) -> None:
        """Waits for the client to take the last bytes, at most until ``until``, a time of the loop's clock."""
        self._set_timer(self._connections.limits.linger_seconds, partial(self._close_timed_out, until))

    def _close_timed_out(self, until: float) -> None:
        if not unsent_bytes(self._transport):
            self._timer = None
            self._transport.abort()
        elif asyncio.get_running_loop().time() < until:
            self._wait_for_end(until)
        else:
            self._abort_slow_client()

    def _write_seconds(self) -> float:
        """How many seconds a client may need for the waiting bytes, at the minimum rate."""
        limits = self._connections.limits
        if not limits.slow_client_rate:
            return limits.slow_client_seconds
        return limits.slow_client_seconds + self._transport.get_write_buffer_size() / limits.slow_client_rate

    def _abort_slow_client(self) -> None:
        self._timer = None
        self.completed = False
        self._transport.abort()
        self._leave_hub("cut_off")

    def _leave_hub(self, cause: str) -> None:
        """Removes the stream from the hub, if it is still registered."""
        self.close(cause)
        if self.on_gone is not None:
            self.on_gone(self)

    def _set_timer(self, seconds: float, then: Callable[[], None]) -> None:
        self._drop_timer()
        self._timer = asyncio.get_running_loop().call_later(seconds, then)

    def _drop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
