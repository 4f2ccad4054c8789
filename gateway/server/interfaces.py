"""What the guard of a connection needs of its server."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from gateway.server.arrivals import Arrivals
from gateway.server.deadlines import Deadlines
from gateway.server.head import HeadParser
from gateway.server.limits import ConnectionLimits
from gateway.server.request_handler import RequestHandler
from gateway.server.whole_response import WholeResponse


class Listener(Protocol):
    """The server of a connection. ``guard`` is the connection's ``Guard``."""

    limits: ConnectionLimits
    loop: asyncio.AbstractEventLoop
    arrivals: Arrivals | None
    deadlines: Deadlines
    heads: HeadParser
    guards: set[Any]
    draining: bool

    def is_full(self, transport: asyncio.BaseTransport, /) -> bool:
        """Whether the connection is one too many."""

    def turn_away(self, guard: Any, transport: asyncio.Transport, /) -> None:
        """Answers a connection that is one too many, now or once its first bytes have come."""

    def hear_first(self, guard: Any, data: bytes, /) -> None:
        """First bytes of a connection that is one too many."""

    def is_probe(self, guard: Any, /) -> bool:
        """Whether the connection is one too many and is answered once."""

    def discard(self, guard: Any, /) -> None:
        """The connection has ended, or belongs to another protocol."""

    def handler_for(self, guard: Any, /) -> RequestHandler:
        """Makes aiohttp's part of the connection."""

    def refuse(self, transport: asyncio.BaseTransport, fault: str, /) -> WholeResponse:
        """Makes the answer to a request that can't be read."""
