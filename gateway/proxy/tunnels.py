"""All tunnels of an instance: how many there may be, how one comes about, and their end with the instance.

Inner parts relied on, of aiohttp 3.14: ``RequestHandler.set_parser``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, cast

from aiohttp import ClientOSError, web
from aiohttp.http import RawResponseMessage, WebSocketReader

from gateway.errors import Overloaded, UpstreamUnreachable
from gateway.observe.logs import ABORTED, BROKEN
from gateway.proxy.connection import UpstreamConnection
from gateway.proxy.headers import response_head
from gateway.proxy.plan import ForwardPlan
from gateway.proxy.response import BEGUN, ForwardedResponse, answer_headers
from gateway.proxy.tunnel import Tunnel
from gateway.proxy.websocket import UPGRADE, accepts

# How long a service may take for what was sent before the end.
_LAST_BYTES_SECONDS = 30.0
_FULL_RETRY_SECONDS = 5.0


class TunnelObserver(Protocol):
    """Is told of each tunnel. ``by`` is ``client``, ``service``, ``idle`` or ``shutdown``."""

    def tunnel_opened(self) -> None: ...
    def tunnel_closed(self, route: str, by: str) -> None: ...


class Tunnels:
    """All tunnels of an instance, at most ``most`` at a time; ``idle`` as for ``Tunnel``."""

    def __init__(self, most: int, idle: float, observer: TunnelObserver | None = None) -> None:
        self._most = most
        self._idle = idle
        self._observer = observer
        self._taken = 0
        self._open: set[Tunnel] = set()
        self._draining = False

    @contextmanager
    def place(self) -> Iterator[None]:
        """Keeps room for one from the handshake to the end. Raises Overloaded if there is none."""
        if self._draining or self._taken >= self._most:
            raise Overloaded(_FULL_RETRY_SECONDS)
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1

    async def drain(self, seconds: float) -> None:
        """Ends all, evenly over so many seconds, and takes no new ones."""
        self._draining = True
        left = list(self._open)
        for tunnel in left:
            tunnel.end("shutdown")
            await asyncio.sleep(seconds / len(left))

    async def carry(
        self,
        request: web.BaseRequest,
        connection: UpstreamConnection,
        message: RawResponseMessage,
        plan: ForwardPlan,
    ) -> ForwardedResponse:
        """Passes on a 101 and all that follows, until the end of either side.

        Raises UpstreamUnreachable, with nothing written, if it is not the answer to this handshake.
        """
        if plan.websocket is None or not accepts(message.headers, plan.websocket):
            raise UpstreamUnreachable("a 101 that belongs to no handshake of ours")
        head = response_head(101, message.reason, answer_headers(message, plan).fields, UPGRADE)
        response = ForwardedResponse(message, 101, message.reason, keep_alive=False)
        tunnel = Tunnel(request.protocol, connection.protocol, self._idle)
        connection.switch(tunnel.service)
        request[BEGUN] = response
        try:
            await request.writer.write(head)
        except ConnectionError:
            return response
        request.protocol.set_parser(cast(WebSocketReader, tunnel.client))
        by = "client"
        self._opened(tunnel)
        try:
            by = await tunnel.run()
        finally:
            self._closed(tunnel, plan.route_id, by)
            # An end of the connection is how a tunnel ends; a reset is not.
            response.finish(tunnel.sent)
            if by == "client" and isinstance(getattr(request.protocol, "lost", None), OSError):
                response.end = ABORTED
            elif by == "service" and isinstance(connection.protocol.exception(), ClientOSError):
                response.end = BROKEN
            connection.hang_up(_LAST_BYTES_SECONDS)
        return response

    def _opened(self, tunnel: Tunnel) -> None:
        self._open.add(tunnel)
        if self._observer is not None:
            self._observer.tunnel_opened()
        if self._draining:
            tunnel.end("shutdown")

    def _closed(self, tunnel: Tunnel, route: str, by: str) -> None:
        self._open.discard(tunnel)
        if self._observer is not None:
            self._observer.tunnel_closed(route, by)
