"""aiohttp's part of a connection: its request, its handler, and a transport that keeps the guard informed of both."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Protocol

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from multidict import CIMultiDictProxy

from gateway.server._aiohttp import BodyFeeder
from gateway.server.framing import has_too_many_segments, head_error, url_of, with_host
from gateway.server.whole_response import SERVER_NAME

log = logging.getLogger(__name__)


class ConnectionGuard(Protocol):
    """The guard of a connection, as aiohttp's part uses it."""

    connection_error: BaseException | None

    def stays_open(self, request: ClientRequest, /) -> bool:
        """Whether another request will be read after ``request``."""

    def answered(self, handler: RequestHandler, keep_alive: bool, /) -> None:
        """Called when the answer to the current request has been written."""

    def parse_failed(self) -> web.StreamResponse:
        """Called when the request could not be parsed; returns the answer."""

    def tunnel(self) -> None:
        """Called when the connection has become a tunnel."""

    def set_paused(self, paused: bool, /) -> None:
        """Called when aiohttp accepts no more of the current body for now, or accepts more again."""

    def end(self) -> None:
        """Called when the connection is to end."""

    def leave(self) -> None:
        """Called when the connection now belongs to another protocol."""


class ClientRequest(web.Request):
    """A client's request. Its answer states correctly whether the connection stays open."""

    fault: str | None = None
    """Why the request can't be read, in one clause without client data; None if it can."""
    parse_failed = False
    """Whether aiohttp could not parse the head: the request is then a placeholder."""

    @property
    def host(self) -> str:
        """The Host header; empty if there is none. aiohttp would return the machine's own name, after a DNS query."""
        return self.headers.get(hdrs.HOST, "")

    @property
    def keep_alive(self) -> bool:
        """Whether another request will be read after this one, as far as is known now."""
        protocol = self.protocol
        return super().keep_alive and (
            not isinstance(protocol, RequestHandler) or protocol.guard.stays_open(self)
        )


def parsed_request(
    message: RawRequestMessage,
    payload: StreamReader,
    handler: RequestHandler,
    writer: Any,
    task: asyncio.Task[None],
    loop: asyncio.AbstractEventLoop,
) -> ClientRequest:
    """Creates the request that aiohttp has read as ``message``, and checks it: see ``ClientRequest.fault``. Handles all
    versions and all forms of the target."""
    headers: object = message.headers
    parse_failed = not isinstance(headers, CIMultiDictProxy)
    if message.version != HttpVersion11:
        message = message._replace(version=HttpVersion11) if parse_failed else with_host(message)
    if not message.path.startswith("/") or has_too_many_segments(message.path):
        message = message._replace(url=url_of(message.path))
    request = ClientRequest(message, payload, handler, writer, task, loop)
    request.parse_failed = parse_failed
    if not parse_failed:
        request.fault = head_error(message)
        bodiless = not message.chunked and not message.headers.get(hdrs.CONTENT_LENGTH, "").strip("0")
        if request.fault is None and (payload is EMPTY_PAYLOAD) != bodiless:
            request.fault = "the length of the body can be read in two ways"
    return request


class InnerTransport(asyncio.Transport):
    """The transport that aiohttp gets: it tells the guard when aiohttp pauses, resumes or closes the connection."""

    __slots__ = (
        "_guard",
        "abort",
        "get_extra_info",
        "get_write_buffer_size",
        "is_closing",
        "outer",
        "write",
        "write_eof",
        "writelines",
    )

    def __init__(self, guard: ConnectionGuard, outer: asyncio.Transport) -> None:
        self._guard = guard
        self.outer = outer
        """The connection's own transport."""
        # Bound once: a call through a method of this class would cost as much as the write itself.
        self.write = outer.write  # type: ignore[method-assign]
        self.writelines = outer.writelines  # type: ignore[method-assign]
        self.write_eof = outer.write_eof  # type: ignore[method-assign]
        self.abort = outer.abort  # type: ignore[method-assign]
        self.is_closing = outer.is_closing  # type: ignore[method-assign]
        self.get_extra_info = outer.get_extra_info  # type: ignore[method-assign]
        self.get_write_buffer_size = outer.get_write_buffer_size  # type: ignore[method-assign]

    def close(self) -> None:
        """Called when aiohttp is done with the connection."""
        self._guard.end()

    def pause_reading(self) -> None:
        """Called when aiohttp accepts no more of the current body for now."""
        self._guard.set_paused(True)

    def resume_reading(self) -> None:
        """Called when aiohttp accepts more of the body again."""
        self._guard.set_paused(False)

    def is_reading(self) -> bool:
        return self.outer.is_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.outer.set_write_buffer_limits(high, low)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self.outer.get_write_buffer_limits()

    def can_write_eof(self) -> bool:
        return self.outer.can_write_eof()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """The connection leaves aiohttp and the guard: from now on it belongs to ``protocol``."""
        self._guard.leave()
        self.outer.set_protocol(protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.outer.get_protocol()


class RequestHandler(BodyFeeder):
    """aiohttp's part of a connection: parses the requests that its ``guard`` passes on, and runs their handlers."""

    __slots__ = ("guard",)

    def __init__(self, server: web.Server, guard: ConnectionGuard, **options: Any) -> None:
        super().__init__(server, **options)
        self.guard = guard

    @property
    def connection_error(self) -> BaseException | None:
        """The error that ended the connection; None if it ended in order."""
        return self.guard.connection_error

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Sends the rest of the answer, and tells the guard once the client reads. aiohttp itself waits for the client
        only within an answer of more than 64 KiB, so the answers to a client that never reads would pile up."""
        if not resp.prepared:
            resp.headers.setdefault("Server", SERVER_NAME)
        resp, gone = await super().finish_response(request, resp, start_time)
        if self.writing_paused and resp.keep_alive and not gone:
            try:
                await request.writer.drain()
            except ConnectionError:
                gone = True
        self.guard.answered(self, bool(resp.keep_alive))
        return resp, gone

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to a request that aiohttp could not parse, or whose handler failed."""
        if not isinstance(exc, HttpProcessingError):
            log.error("a request failed outside the application", exc_info=exc)
        return self.guard.parse_failed()

    def set_parser(self, *args: Any, **options: Any) -> None:
        """From now on all bytes from the client go to this parser: the connection has become a tunnel."""
        super().set_parser(*args, **options)
        self.guard.tunnel()
