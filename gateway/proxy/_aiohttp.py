"""The private parts of aiohttp's client that this package uses: all of them, each with its reason.

aiohttp has no public way to send one request on one connection. ``ClientSession`` follows redirects, keeps cookies,
repeats requests by itself and costs several times as much. So ``pool`` gets connections from aiohttp's connector, and
``connection`` reads answers with the protocol that ``ClientSession`` uses. Once aiohttp offers a client connection as a
public class, that class can replace this module.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Final

from aiohttp import BaseConnector, TCPConnector
from aiohttp.client_proto import ResponseHandler
from aiohttp.streams import StreamReader

from gateway.name_threads import NameResolver

PRIVATE: Final = {
    (TCPConnector, "_factory"): "makes the protocol of each connection; a public parameter would replace it",
    (TCPConnector, "_acquired"): "the connections in use, which must end with the gateway",
    (
        ResponseHandler,
        "_reading_paused",
    ): "whether reading is paused: pause_reading has no counterpart to ask",
    (
        ResponseHandler,
        "_should_close",
    ): "that the connection must not serve again; should_close can only be read",
    (ResponseHandler, "_exception"): "why the connection failed, without the cost of a call",
    (ResponseHandler, "_upgraded"): "that the parser waits for another protocol behind an interim answer",
    (ResponseHandler, "_payload"): "the body that is being read, to end it with the connection's fault",
    (ResponseHandler, "_payload_parser"): "that the connection has left HTTP",
    (ResponseHandler, "_parser"): "whether the connection expects an answer",
}
"""Class, name, and what the gateway uses it for."""


def missing() -> list[str]:
    """The names that the installed version of aiohttp lacks."""
    loop = asyncio.new_event_loop()
    try:
        handler = ResponseHandler(loop)
        there = {ResponseHandler: dir(handler), TCPConnector: BaseConnector.__init__.__code__.co_names}
        return [f"{owner.__name__}.{name}" for owner, name in PRIVATE if name not in there[owner]]
    finally:
        loop.close()


def make_connector(protocol: Callable[[], ResponseHandler], *, dns_seconds: int) -> TCPConnector:
    """A connector that creates connections with ``protocol``. It does not keep them for reuse."""
    connector = TCPConnector(limit=0, ttl_dns_cache=dns_seconds, force_close=True, resolver=NameResolver())
    connector._factory = protocol  # type: ignore[assignment]
    return connector


def acquired_transports(connector: TCPConnector) -> Iterator[asyncio.Transport]:
    """The transports of the connections that are in use: taken from the connector and not returned."""
    for protocol in connector._acquired:
        if protocol.transport is not None:
            yield protocol.transport


class ClientProtocol(ResponseHandler):
    """aiohttp's protocol of a connection to a server, with public names for what a subclass needs."""

    @property
    def reading_is_paused(self) -> bool:
        """Whether aiohttp has stopped reading."""
        return self._reading_paused

    @property
    def fault(self) -> BaseException | None:
        """The error that made the connection fail, if any."""
        return self._exception

    def close_after_response(self) -> None:
        """Marks the connection: it will serve no further request."""
        self._should_close = True

    @property
    def body(self) -> StreamReader | None:
        """The body being read."""
        return self._payload

    @body.setter
    def body(self, body: StreamReader) -> None:
        self._payload = body

    @property
    def expects_response(self) -> bool:
        """Whether there is a parser for incoming bytes."""
        return self._parser is not None

    def drop_parser(self) -> None:
        """Until an answer is expected, incoming bytes are only kept: the connection must then not be used again."""
        self._parser = None

    @property
    def parses_http(self) -> bool:
        """Whether incoming bytes go to the parser of answers."""
        return self._parser is not None and not self._upgraded and self._payload_parser is None

    def reset_upgrade(self) -> None:
        """Undoes the upgrade state after an interim answer that named another protocol."""
        self._upgraded = False
