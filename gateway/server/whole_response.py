"""The gateway's own answers: small, whole, and written in one piece.

aiohttp takes five coroutines to send one, since it might be compressed, chunked or without an end: 14 of the 89 µs that
a refusal took.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from aiohttp import HttpVersion10, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import rfc822_formatted_time

SERVER_NAME: Final = "gateway"
"""What ``Server`` says: neither what this is made of nor how old."""

HEADERS: Final = {"Content-Type": "application/json; charset=utf-8", "Cache-Control": "no-store"}
_EVENT_HEADERS: Final = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store, no-transform",
    "X-Accel-Buffering": "no",
}


class WholeAnswer(web.Response):
    """An answer whose ``body`` is at hand, and never empty. It writes itself, head and body in one piece."""

    def __init__(self, body: bytes, *, status: int = 200, headers: dict[str, str]) -> None:
        super().__init__(body=body, status=status, headers=headers)
        self._kept: bool | None = None
        self._written = False

    @property
    def prepared(self) -> bool:
        """Whether it was written."""
        return self._written

    @property
    def keep_alive(self) -> bool | None:
        """Whether another request is read behind it; None until that is known."""
        return self._kept

    def force_close(self) -> None:
        """The connection ends behind it."""
        self._kept = False

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Writes all of it. Raises ConnectionError if the client has gone."""
        writer = request.writer
        if self._written:
            return writer
        self._written = True
        if self._kept is None:
            self._kept = request.keep_alive
        data = self.serialized(
            keep_alive=self._kept,
            http10=request.version == HttpVersion10,
            bodiless=request.method == hdrs.METH_HEAD,
        )
        # Waits for a client that asks and asks and reads no answer.
        await writer.write(data)
        return writer

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to be written."""

    def serialized(self, *, keep_alive: bool, http10: bool = False, bodiless: bool = False) -> bytes:
        """Head and body as bytes. ``keep_alive``: another request is read behind it. ``bodiless``: the head alone."""
        headers, body = self.headers, self.body
        assert isinstance(body, bytes)  # noqa: S101 - its type says so at the making
        headers[hdrs.CONTENT_LENGTH] = str(len(body))
        headers[hdrs.DATE] = rfc822_formatted_time()
        if keep_alive == http10:
            headers[hdrs.CONNECTION] = "keep-alive" if keep_alive else "close"
        head = head_of(f"HTTP/1.{0 if http10 else 1} {self.status} {self.reason}", headers.items())
        return head if bodiless else head + body


def head_of(status_line: str, headers: Iterable[tuple[str, str]]) -> bytes:
    """The head of an answer. Raises ValueError if a header would break the line it stands on."""
    head = "".join(f"{name}: {value}\r\n" for name, value in headers)
    text = f"{status_line}\r\n{head}\r\n"
    if (
        "\0" in text
        or len(text.splitlines()) != head.count("\r\n") + 2
        or text.count("\r") != text.count("\n")
    ):
        raise ValueError("a header holds a line break")
    return text.encode("utf-8", "surrogateescape")


class JsonAnswer(WholeAnswer):
    """An answer whose ``body`` is JSON in UTF-8. ``headers`` come on top of ``HEADERS``."""

    def __init__(self, body: bytes, *, status: int = 200, headers: dict[str, str] | None = None) -> None:
        super().__init__(body, status=status, headers=HEADERS | headers if headers else HEADERS)


class EventsAnswer(WholeAnswer):
    """A stream of server-sent events that is over already. ``body`` is what it says."""

    def __init__(self, body: bytes) -> None:
        super().__init__(body, headers=_EVENT_HEADERS)
