"""The gateway's own answers: small, whole, and written in one piece.

aiohttp takes five coroutines to send one, since it might be compressed, chunked or without an end: 14 of the 89 µs that
refusing somebody took.

Inner parts relied on, all of aiohttp 3.14: ``Response._body``, ``StreamResponse._headers``, ``_keep_alive``,
``_payload_writer`` and ``_eof_sent``, ``BaseRequest._payload_writer``, ``StreamWriter._write`` and
``http_writer._serialize_headers``.
"""

from __future__ import annotations

from typing import Final

from aiohttp import HttpVersion10, HttpVersion11, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http_writer import StreamWriter, _serialize_headers

SERVER_NAME: Final = "gateway"
"""What ``Server`` says: neither what this is made of nor how old."""

HEADERS: Final = {"Content-Type": "application/json; charset=utf-8", "Cache-Control": "no-store"}
_EVENT_HEADERS: Final = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store, no-transform",
    "X-Accel-Buffering": "no",
}


class WholeAnswer(web.Response):
    """An answer whose ``body`` is at hand, and never empty."""

    def __init__(self, body: bytes, *, status: int = 200, headers: dict[str, str]) -> None:
        super().__init__(body=body, status=status, headers=headers)

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Sends all of it, as nearly always; else prepares it as aiohttp does. Raises ConnectionError if the client has
        gone."""
        writer = request._payload_writer
        if (
            self._eof_sent
            or self._payload_writer is not None
            or request.version != HttpVersion11
            or request.method == hdrs.METH_HEAD
            or type(writer) is not StreamWriter
        ):
            return await super().prepare(request)
        writer._write(self.whole(request))
        self._eof_sent = True
        if request.protocol.writing_paused:
            # Who asks and asks and reads no answer is not served on.
            await writer.drain()
        return writer

    def whole(self, request: web.BaseRequest) -> bytes:
        """Head and body, for a client that speaks HTTP/1.1 or 1.0 and has asked for both."""
        if self._keep_alive is None:
            self._keep_alive = request.keep_alive
        return self.serialized(keep_alive=self._keep_alive, http10=request.version == HttpVersion10)

    def serialized(self, *, keep_alive: bool, http10: bool = False) -> bytes:
        """Head and body as bytes. ``keep_alive``: another request will be read behind this answer."""
        headers, body = self._headers, self._body
        assert isinstance(body, bytes)  # noqa: S101 - its type says so at the making
        headers[hdrs.CONTENT_LENGTH] = str(len(body))
        headers[hdrs.DATE] = rfc822_formatted_time()
        if not keep_alive:
            headers[hdrs.CONNECTION] = "close"
        elif http10:
            headers[hdrs.CONNECTION] = "keep-alive"
        self._body_length = len(body)
        return _serialize_headers(f"HTTP/1.1 {self._status} {self._reason}", headers) + body


class JsonAnswer(WholeAnswer):
    """An answer whose ``body`` is JSON in UTF-8. ``headers`` come on top of ``HEADERS``."""

    def __init__(self, body: bytes, *, status: int = 200, headers: dict[str, str] | None = None) -> None:
        super().__init__(body, status=status, headers=HEADERS | headers if headers else HEADERS)


class EventsAnswer(WholeAnswer):
    """A stream of server-sent events that is over already. ``body`` is what it says."""

    def __init__(self, body: bytes) -> None:
        super().__init__(body, headers=_EVENT_HEADERS)
