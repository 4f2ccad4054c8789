"""Requests that are answered for hours and keep nothing of what the client said meanwhile.

Head and token of one stream are 2 kB and more; aiohttp holds on to them until the answer is complete, and its parser
until the next request.

Inner parts relied on, all of aiohttp 3.14: ``BaseRequest._message``, ``_headers`` and ``_cache``,
``RequestHandler._parser`` with what it is made of, ``_manager``, and that nothing else keeps a request's headers once
its handler runs.
"""

from __future__ import annotations

from typing import Any, Final, cast

from aiohttp import web
from aiohttp.http import HttpRequestParser, RawRequestMessage
from multidict import CIMultiDict, CIMultiDictProxy

from gateway.server.limits import SERVER_OPTIONS
from gateway.server.write_timeout import ReaderWatch

LONG: Final = "/api/v1/queue/stream"
"""What takes long to answer. Written otherwise it is answered all the same, and merely kept."""

_NO_HEADERS: Final = CIMultiDictProxy(CIMultiDict[str]())


class Head:
    """A request's head as aiohttp's parser gives it, but one that can be emptied."""

    __slots__ = (
        "chunked",
        "compression",
        "headers",
        "method",
        "path",
        "raw_headers",
        "should_close",
        "upgrade",
        "url",
        "version",
    )

    def __init__(self, message: RawRequestMessage) -> None:
        self.chunked = message.chunked
        self.compression = message.compression
        self.headers = message.headers
        self.method = message.method
        self.path = message.path
        self.raw_headers = message.raw_headers
        self.should_close = message.should_close
        self.upgrade = message.upgrade
        self.url = message.url
        self.version = message.version


def forgettable(message: RawRequestMessage) -> RawRequestMessage:
    """The same message, of which ``forget`` works."""
    return cast(RawRequestMessage, Head(message))


class Resting(ReaderWatch):
    """A connection that can do without a parser while nothing comes."""

    __slots__ = ()

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # aiohttp's own, see ``wake``.
        self._parser = None

    def rest(self) -> None:
        """Lets go of the parser until something comes. Call it while all that came is parsed and taken."""
        self._parser = None

    def wake(self) -> None:
        """Gets a parser again. Call it before anything is parsed."""
        if self._parser is None and self._manager is not None:
            self._parser = HttpRequestParser(
                self,
                self._loop,
                self._read_bufsize,
                max_line_size=self.max_line_size,
                max_field_size=self.max_field_size,
                max_headers=self.max_headers,
                payload_exception=web.RequestPayloadError,
                auto_decompress=bool(SERVER_OPTIONS["auto_decompress"]),
                # The connection bounds its queue itself. aiohttp's C parser counts a request whose handler runs before
                # its body has come as waiting for ever; behind 32 of them it stops between requests, and loses the one
                # behind an upgrade that is not followed.
                max_msg_queue_size=0,
            )


def forget(request: web.BaseRequest) -> None:
    """Lets go of the request's headers: nobody will ask for them again."""
    if isinstance(request.protocol, Resting):
        request.protocol.rest()
    head: Any = request._message
    if isinstance(head, Head):
        head.headers = request._headers = _NO_HEADERS
        head.raw_headers = ()
        request._cache.pop("headers", None)
