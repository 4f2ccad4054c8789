"""The parts of a request's head that decisions need, and a parser for heads outside a connection's own parser."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from aiohttp import HttpVersion, HttpVersion11, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser, RawRequestMessage
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from multidict import CIMultiDict, CIMultiDictProxy

from gateway.server.framing import announces_body, head_error, whole_request, with_host
from gateway.server.limits import MAX_DROPPED_BODY_BYTES, ConnectionLimits
from gateway.server.socket_buffer import over_tls

_READ_BYTES: Final = 64 * 1024


class RequestHead(Protocol):
    """What decisions read of a request. An aiohttp request has all of it, and so has a ``ParsedHead``."""

    @property
    def method(self) -> str: ...
    @property
    def raw_path(self) -> str: ...
    @property
    def version(self) -> HttpVersion: ...
    @property
    def headers(self) -> CIMultiDictProxy[str]: ...
    @property
    def raw_headers(self) -> tuple[tuple[bytes, bytes], ...]: ...
    @property
    def remote(self) -> str | None: ...
    @property
    def scheme(self) -> str: ...


class ParsedHead:
    """The parsed head of a request that has not reached a handler."""

    __slots__ = ("headers", "keep_alive", "method", "raw_headers", "raw_path", "remote", "scheme", "version")

    fault: Final = None
    """It could be read: see ``UnreadableHead``."""

    def __init__(self, message: RawRequestMessage, remote: str | None, scheme: str) -> None:
        self.method = message.method
        self.raw_path = message.path
        self.version = message.version
        self.headers = message.headers
        self.raw_headers = message.raw_headers
        self.keep_alive = not message.should_close
        self.remote = remote
        self.scheme = scheme


class UnreadableHead:
    """A placeholder for a request that can't be read."""

    __slots__ = ("fault", "remote")

    method = "UNKNOWN"
    raw_path = "/"
    version = HttpVersion(1, 1)
    headers: CIMultiDictProxy[str] = CIMultiDictProxy(CIMultiDict())
    raw_headers: tuple[tuple[bytes, bytes], ...] = ()
    scheme = "http"

    def __init__(self, remote: str | None, fault: str) -> None:
        self.remote = remote
        self.fault = fault
        """Why it can't be read: one clause without client data."""


class HeadParser:
    """Parses whole requests, with one parser for all connections."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limits: ConnectionLimits) -> None:
        self._loop = loop
        self._limits = limits
        self._parser: HttpRequestParser | None = None

    def read_whole(
        self, data: bytes, remote: str | None, scheme: str = "http"
    ) -> tuple[ParsedHead, bytes] | None:
        """The parsed head and the body of ``data``, which begins with a plain request line, if that is exactly one
        request with a body of at most ``MAX_DROPPED_BODY_BYTES`` that is not chunked; otherwise as ``parse``."""
        end = whole_request(data, self._limits.head_bytes, MAX_DROPPED_BODY_BYTES)
        if not end:
            return None
        head, body = (data, b"") if end == len(data) else (data[:end], data[end:])
        parsed = self.parse(head, remote, body, scheme)
        if parsed is None or (not body and announces_body(parsed.headers, head)):
            return None
        return parsed, body

    def parse(
        self, head: bytes, remote: str | None, body: bytes = b"", scheme: str = "http"
    ) -> ParsedHead | None:
        """The parsed head of a request with this body; None if the request is invalid, has another body, or asks for
        another protocol."""
        parser = self._parser
        if parser is None:
            limits = self._limits
            parser = self._parser = HttpRequestParser(
                BaseProtocol(self._loop),
                self._loop,
                _READ_BYTES,
                max_line_size=limits.line_bytes,
                max_field_size=limits.line_bytes,
                max_headers=limits.headers,
                payload_exception=web.RequestPayloadError,
                auto_decompress=False,
                max_msg_queue_size=0,
            )
        try:
            messages, upgraded, _ = parser.feed_data(head + body if body else head)
        except (HttpProcessingError, ValueError, IndexError):
            self._parser = None
            return None
        if len(messages) == 1 and not upgraded:
            message, payload = messages[0]
            if _holds(payload, body) if body else payload is EMPTY_PAYLOAD:
                if message.should_close:
                    # After a request that is the last of its connection, the parser refuses all others.
                    self._parser = None
                if message.version != HttpVersion11:
                    message = with_host(message)
                return ParsedHead(message, remote, scheme) if head_error(message) is None else None
        # The parser could not tell later heads from the rest of this one.
        self._parser = None
        return None


def _holds(payload: StreamReader, body: bytes) -> bool:
    """Whether the parser has taken exactly this body."""
    return payload.is_eof() and payload.exception() is None and payload.read_nowait() == body


def scheme_of(transport: asyncio.BaseTransport) -> str:
    """``https`` if the connection is encrypted, else ``http``."""
    return "https" if over_tls(transport) else "http"


def remote_of(transport: asyncio.BaseTransport) -> str | None:
    """The peer's address; None if the connection is not TCP."""
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple | list) and peer else None
