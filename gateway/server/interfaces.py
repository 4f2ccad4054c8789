"""The interfaces between a connection's guard, its server, and the fast path."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from gateway.server.arrivals import Arrivals
from gateway.server.deadlines import Deadlines
from gateway.server.handshake_failures import ConnectionObserver
from gateway.server.head import HeadParser, ParsedHead
from gateway.server.limits import ConnectionLimits
from gateway.server.request_handler import RequestHandler
from gateway.server.whole_response import WholeResponse


class FastConnection(Protocol):
    """A client's connection, as the fast path uses it."""

    transport: asyncio.Transport | None
    writing_paused: bool
    fast_call: FastCall | None
    """What serves the current request on the fast path; set by the fast path, until ``end_fast``."""

    def may_stay_open(self) -> bool:
        """Whether another request will be read after the current one, if its client wants that."""

    def leave(self) -> None:
        """The connection now belongs to another protocol."""

    def end_fast(self, keep_alive: bool, announced: bool, /) -> None:
        """The answer has been written. ``keep_alive``: whether the answer says that the connection stays open.
        ``announced``: whether the client has said that this is its last request."""


class FastCall(Protocol):
    """A request that the fast path serves, as the connection uses it."""

    def client_gone(self) -> None:
        """The connection has ended."""

    def resume_writing(self) -> None:
        """The client has taken most of what waited for it."""


class FastPath(Protocol):
    """Serves plain requests without aiohttp."""

    def may_serve(self, data: bytes, max_line_bytes: int, /) -> bool:
        """Whether ``data`` begins with the request line of a request that may be plain, of at most ``max_line_bytes``
        without its line end."""

    def serve(self, connection: FastConnection, head: ParsedHead, body: bytes, /) -> bool:
        """Serves a whole request if it is plain: returns whether it is, with the answer written or on its way."""


class Listener(Protocol):
    """The server of a connection. ``guard`` is the connection's ``Guard``."""

    limits: ConnectionLimits
    loop: asyncio.AbstractEventLoop
    arrivals: Arrivals | None
    deadlines: Deadlines
    heads: HeadParser
    guards: set[Any]
    probes: set[Any]
    """The guards of connections that are one too many and are answered once."""
    draining: bool
    trusts: Callable[[str], bool]
    """Whether the peer at an address is a proxy that may name its client by the PROXY protocol."""
    fast_path: FastPath | None
    observer: ConnectionObserver

    def is_full(self, transport: asyncio.BaseTransport, /) -> bool:
        """Whether the connection is one too many."""

    def turn_away(self, guard: Any, transport: asyncio.Transport, /, *, may_name_client: bool) -> None:
        """Answers a connection that is one too many, now or once its first bytes have come. ``may_name_client``:
        whether the peer is a proxy that may do so."""

    def hear_first(self, guard: Any, data: bytes, /) -> None:
        """First bytes of a connection that is one too many."""

    def discard(self, guard: Any, /) -> None:
        """The connection has ended, or belongs to another protocol."""

    def handler_for(self, guard: Any, /) -> RequestHandler:
        """Makes aiohttp's part of the connection."""

    def refuse(self, transport: asyncio.BaseTransport, fault: str, /) -> WholeResponse:
        """Makes the answer to a request that can't be read."""
