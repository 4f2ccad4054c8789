"""The gateway's own answers: small, complete, and written in one piece.

aiohttp runs five coroutines to send an answer, because the answer might be compressed, chunked or endless. They took 14
of the 89 µs of a refusal.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from aiohttp import HttpVersion10, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import rfc822_formatted_time

SERVER_NAME: Final = "gateway"
"""The ``Server`` header: it reveals neither the software nor its version."""

JSON_HEADERS: Final = {"Content-Type": "application/json; charset=utf-8", "Cache-Control": "no-store"}
_CONTROLS: Final = bytes({*range(0x20), 0x7F} - {0x09})
_EVENT_HEADERS: Final = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store, no-transform",
    "X-Accel-Buffering": "no",
}


class WholeResponse(web.Response):
    """An answer whose ``body`` is complete and never empty. It writes head and body in one piece."""

    def __init__(self, body: bytes, *, status: int = 200, headers: dict[str, str]) -> None:
        super().__init__(body=body, status=status, headers=headers)
        self.whole_body: Final = body
        """The body again, without the cost of aiohttp's property."""
        self._stays_open: bool | None = None
        self._sent = False

    @property
    def prepared(self) -> bool:
        """Whether the answer was written."""
        return self._sent

    @property
    def keep_alive(self) -> bool | None:
        """Whether another request is read after this answer; None until that is known."""
        return self._stays_open

    def force_close(self) -> None:
        """Ends the connection after this answer."""
        self._stays_open = False

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Writes the whole answer. Raises ConnectionError if the client has gone."""
        writer = request.writer
        if self._sent:
            return writer
        self._sent = True
        if self._stays_open is None:
            self._stays_open = request.keep_alive
        data = self.serialized(
            keep_alive=self._stays_open,
            http10=request.version == HttpVersion10,
            bodiless=request.method == hdrs.METH_HEAD,
        )
        await writer.write(data)
        return writer

    async def write_eof(self, data: bytes = b"") -> None:
        """No-op: the answer was written as a whole."""

    def serialized(self, *, keep_alive: bool, http10: bool = False, bodiless: bool = False) -> bytes:
        """Head and body as bytes. ``keep_alive``: another request is read after it. ``bodiless``: the head alone."""
        headers, body = self.headers, self.whole_body
        headers[hdrs.CONTENT_LENGTH] = str(len(body))
        headers[hdrs.DATE] = rfc822_formatted_time()
        if keep_alive == http10:
            headers[hdrs.CONNECTION] = "keep-alive" if keep_alive else "close"
        head = head_of(f"HTTP/1.{0 if http10 else 1} {self.status} {self.reason}", headers.items())
        return head if bodiless else head + body


def head_of(status_line: str, headers: Iterable[tuple[str, str]]) -> bytes:
    """The head of an answer. Raises ValueError if a header contains a line break or the like."""
    lines = [status_line, *map(": ".join, headers)]
    text = "".join(lines)
    data = text.encode("utf-8", "surrogateescape")
    # Characters beyond ASCII may be line breaks to a reader, too.
    if len(data.translate(None, _CONTROLS)) != len(data) or not (
        text.isascii() or len(text.splitlines()) == 1
    ):
        raise ValueError("a header holds a line break")
    return "\r\n".join((*lines, "\r\n")).encode("utf-8", "surrogateescape")


class PlainAnswer:
    """A ``WholeResponse`` with status 200 on HTTP/1.1 whose fields are ASCII and known at once: for the fast path, that
    writes answers itself. Without aiohttp's response and its headers, an answer takes less than half of the time."""

    __slots__ = ("_fields", "whole_body")

    status: Final = 200
    keep_alive: Final = None

    def __init__(self, body: bytes, fields: Iterable[tuple[bytes, bytes]]) -> None:
        self._fields = fields
        self.whole_body = body

    def serialized(self, *, keep_alive: bool, bodiless: bool = False) -> bytes:
        """As ``WholeResponse.serialized``. Raises ValueError if a header contains a line break or the like."""
        body = self.whole_body
        lines = [b"HTTP/1.1 200 OK", *map(b": ".join, self._fields)]
        lines.append(b"Content-Length: %d" % len(body))
        lines.append(b"Date: %b" % rfc822_formatted_time().encode())
        if not keep_alive:
            lines.append(b"Connection: close")
        head = b"\r\n".join(lines)
        # No controls but the line breaks between the lines.
        if not head.isascii() or len(head.translate(None, _CONTROLS)) != len(head) - 2 * (len(lines) - 1):
            raise ValueError("a header holds a line break")
        return head + b"\r\n\r\n" + (b"" if bodiless else body)


class JsonResponse(WholeResponse):
    """An answer whose ``body`` is JSON in UTF-8. ``headers`` are added to ``JSON_HEADERS``."""

    def __init__(self, body: bytes, *, status: int = 200, headers: dict[str, str] | None = None) -> None:
        super().__init__(body, status=status, headers=JSON_HEADERS | headers if headers else JSON_HEADERS)


class EventsResponse(WholeResponse):
    """A stream of server-sent events that is already complete. ``body`` holds its events."""

    def __init__(self, body: bytes) -> None:
        super().__init__(body, headers=_EVENT_HEADERS)
