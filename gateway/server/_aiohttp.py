"""The private parts of aiohttp's server that the gateway uses: all of them, each with its reason."""

from __future__ import annotations

import asyncio
import socket
from typing import Final, Protocol, cast

from aiohttp import web
from aiohttp.http import HttpRequestParser
from aiohttp.streams import StreamReader

from gateway.server.limits import SERVER_OPTIONS

PRIVATE: Final = {
    (
        web.AppRunner,
        "_make_server",
    ): "starts the application and makes its server; a public parameter for the class of "
    "the server would replace it",
    (
        web.BaseSite,
        "_server",
    ): "what a site stops and takes its address from; a public parameter for it would replace it",
    (
        web.RequestHandler,
        "_parser",
    ): "the parser, which is replaced after a body that has not gone through it",
    (web.RequestHandler, "_read_bufsize"): "how much of a body is kept, for the next parser",
    (web.RequestHandler, "_max_msg_queue_size"): "how many requests are kept, for the next parser",
    (web.RequestHandler, "_close"): "whether bytes of the client are dropped",
    (web.RequestHandler, "_force_close"): "the same, of a connection that has ended",
}
"""Class, name, and what the gateway uses it for."""


def missing() -> list[str]:
    """The names that the installed version of aiohttp lacks."""
    return [f"{owner.__name__}.{name}" for owner, name in PRIVATE if not hasattr(owner, name)]


class OpenPort(Protocol):
    """What aiohttp uses of a site's server."""

    @property
    def sockets(self) -> tuple[socket.socket, ...]: ...
    def close(self) -> None: ...


class Site(web.BaseSite):
    """A site whose port is already open: that of ``server``."""

    __slots__ = ()

    def __init__(self, runner: web.BaseRunner, server: OpenPort) -> None:
        super().__init__(runner)
        self._server = cast(asyncio.AbstractServer, server)

    @property
    def name(self) -> str:
        """Of no use: the runner's ``addresses`` say where the gateway listens."""
        return "https"

    async def start(self) -> None:
        """Makes the runner stop the port."""
        await super().start()


class AppRunner(web.AppRunner):
    """An ``AppRunner`` whose server a subclass can choose."""

    __slots__ = ()

    async def _make_server(self) -> web.Server:
        return self.make_server(await super()._make_server())

    def make_server(self, plain: web.Server) -> web.Server:
        """Returns the server to run: by default ``plain``, aiohttp's own server, which calls the application."""
        return plain


class BodyFeeder(web.RequestHandler):
    """aiohttp's part of a connection, which can take the rest of a body past its parser."""

    __slots__ = ()

    def feed_body(self, body: StreamReader, data: bytes, *, last: bool) -> None:
        """Gives a piece of the current ``body``, whose length is known, to its reader. The parser would only copy it.
        ``last``: whether the piece ends the body."""
        if self._force_close or self._close:
            return
        body.feed_data(data)
        if last:
            body.feed_eof()
            # The old one still waits for this body.
            self._parser = self._next_parser()

    def _next_parser(self) -> HttpRequestParser:
        return HttpRequestParser(
            self,
            self._loop,
            self._read_bufsize,
            max_line_size=self.max_line_size,
            max_field_size=self.max_field_size,
            max_headers=self.max_headers,
            payload_exception=web.RequestPayloadError,
            auto_decompress=bool(SERVER_OPTIONS["auto_decompress"]),
            max_msg_queue_size=self._max_msg_queue_size,
        )
