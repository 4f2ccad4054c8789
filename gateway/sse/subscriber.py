"""One stream of one user on this instance: bytes go straight to its transport, and nobody waits for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from gateway.sse.frames import LAST_CHUNK, Frame
from gateway.sse.interfaces import RoomEvent


class Transport(Protocol):
    """What a stream needs of an ``asyncio.Transport``."""

    def write(self, data: bytes) -> None: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...
    def is_closing(self) -> bool: ...
    def get_write_buffer_size(self) -> int: ...


class Subscriber:
    """One open stream. There may be tens of thousands, so it holds nothing that could be shared.

    ``ticket`` is the user's as last told by a state (``None`` before the first), ``held`` an event that came
    before it, ``since`` the number of the newest read of the room that counts for this stream.
    ``ended`` says why the stream is over, once it is. ``on_gone`` is called when its connection is lost. ``sent``
    counts the bytes of its body so far.
    """

    __slots__ = (
        "_chunked",
        "_head",
        "_limit",
        "_transport",
        "completed",
        "ended",
        "held",
        "locale",
        "on_gone",
        "sent",
        "since",
        "ticket",
        "user",
    )

    def __init__(
        self, user: str, locale: str, transport: Transport, *, chunked: bool, limit: int, head: bytes = b""
    ) -> None:
        """``limit``: bytes that may wait for the reader; with more than that it is cut off. ``head`` goes before the
        first frame."""
        self.user = user
        self.locale = locale
        self.ticket: int | None = None
        self.held: RoomEvent | None = None
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
        """Whether anything was written yet."""
        return not self._head

    def write(self, frame: Frame) -> bool:
        """Hands ``frame`` to the transport; ``False`` if the stream is over (``ended`` says why)."""
        if not self._writable():
            return False
        self.sent += len(frame.raw)
        self._write(frame.chunked if self._chunked else frame.raw)
        return True

    def hold(self, frame: Frame) -> None:
        """Keeps ``frame`` for the next one, so that both go out in one piece."""
        self.sent += len(frame.raw)
        self._head += frame.chunked if self._chunked else frame.raw

    def flush(self) -> None:
        """Sends what is kept, if the next frame lets itself be waited for."""
        if self._head and self._writable():
            self._write(b"")

    def finish(self, frame: Frame, cause: str) -> bool:
        """Hands over the last ``frame`` and the end of the body in one piece; behind it the connection ends.

        ``False``: the stream was over already and nothing was written.
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
        """The stream is over, nothing is written any more. Only the first cause counts."""
        if not self.ended:
            self.ended = cause

    def _hang_up(self) -> None:
        """Ends the connection behind what was written."""
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
            # A graceful close would wait for the very reader that doesn't read.
            self._transport.abort()
            self.close("cut_off")
            return False
        return True
