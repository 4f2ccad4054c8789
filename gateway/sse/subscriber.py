"""One stream of one user on this instance. It writes bytes straight to its transport, without waiting for the
client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from gateway.sse.frames import LAST_CHUNK, Frame
from gateway.sse.interfaces import UserEvent


class Transport(Protocol):
    """The methods of ``asyncio.Transport`` that a stream uses."""

    def write(self, data: bytes) -> None: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...
    def is_closing(self) -> bool: ...
    def get_write_buffer_size(self) -> int: ...


class Subscriber:
    """One open stream. There may be tens of thousands, so it holds nothing that could be shared.

    ``ticket`` is the user's ticket in the last known state (``None`` before the first). ``pending_event`` is an event
    that came before that state. ``since`` is the number of the newest read of the room that counts for this stream.
    ``locale`` is the language of messages, ``languages`` what the client asks for, as in ``Accept-Language``.
    ``ended`` says why the stream has ended; empty while it is open. ``on_gone`` is called when its connection is lost.
    ``sent`` counts the bytes of its body so far.
    """

    __slots__ = (
        "_chunked",
        "_head",
        "_limit",
        "_transport",
        "completed",
        "ended",
        "languages",
        "locale",
        "on_gone",
        "pending_event",
        "sent",
        "since",
        "ticket",
        "user",
    )

    def __init__(
        self,
        user: str,
        locale: str,
        languages: str,
        transport: Transport,
        *,
        chunked: bool,
        limit: int,
        head: bytes = b"",
    ) -> None:
        """``limit``: how many bytes may wait for the client; with more, the client is cut off. ``head`` precedes the
        first frame."""
        self.user = user
        self.locale = locale
        self.languages = languages
        self.ticket: int | None = None
        self.pending_event: UserEvent | None = None
        self.since = 0
        self.on_gone: Callable[[Subscriber], None] | None = None
        self.ended = ""
        self.completed = False
        self.sent = 0
        self._transport = transport
        self._chunked = chunked
        self._limit = limit
        self._head = head

    @property
    def begun(self) -> bool:
        """Whether anything has been written."""
        return not self._head

    def write(self, frame: Frame) -> bool:
        """Writes ``frame`` to the transport; ``False`` if the stream has ended (``ended`` says why)."""
        if not self._writable():
            return False
        self.sent += len(frame.raw)
        self._write(frame.chunked if self._chunked else frame.raw)
        return True

    def buffer(self, frame: Frame) -> None:
        """Keeps ``frame`` until the next one, so that both are sent in one piece."""
        self.sent += len(frame.raw)
        self._head += frame.chunked if self._chunked else frame.raw

    def flush(self) -> None:
        """Sends what ``buffer`` kept, because the next frame is late."""
        if self._head and self._writable():
            self._write(b"")

    def finish(self, frame: Frame, cause: str) -> bool:
        """Writes the last ``frame`` and the end of the body in one piece; then the connection ends.

        ``False``: the stream had already ended, and nothing was written.
        """
        if not self._writable():
            return False
        self.sent += len(frame.raw)
        self._write(frame.chunked + LAST_CHUNK if self._chunked else frame.raw)
        self.completed = True
        self.close(cause)
        self._hang_up()
        return True

    def close(self, cause: str) -> None:
        """Marks the stream as ended: nothing more is written. Only the first cause counts."""
        if not self.ended:
            self.ended = cause

    def _hang_up(self) -> None:
        """Ends the connection after the bytes written so far."""
        self._transport.close()

    def _write(self, data: bytes) -> None:
        if self._head:
            data, self._head = self._head + data, b""
        self._transport.write(data)

    def _writable(self) -> bool:
        if self.ended:
            return False
        if self._transport.is_closing():
            self.close("gone")
            return False
        if self._transport.get_write_buffer_size() > self._limit:
            # A graceful close would wait for a client that doesn't read.
            self._transport.abort()
            self.close("cut_off")
            return False
        return True
