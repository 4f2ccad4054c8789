"""Connections that have left aiohttp: they stay open for hours and have a small protocol of their own.

For aiohttp such a connection is lost, so its request, task, parser and buffers are freed. The server still counts the
connection, and ends it when the server itself stops. Everything that this module uses is public in aiohttp.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod

from aiohttp import web

from gateway.server.limits import ConnectionLimits
from gateway.server.request_handler import InnerTransport


class DetachedProtocol(asyncio.Protocol, ABC):
    """Serves a connection that has left aiohttp. Calls ``DetachedConnections.discard`` when the connection is lost."""

    __slots__ = ()

    @abstractmethod
    def abort(self) -> None:
        """Ends the connection at once; bytes not sent yet are dropped."""


def transport_of(transport: asyncio.Transport) -> asyncio.Transport:
    """The connection's own transport, behind the one that aiohttp gets from the gateway's server."""
    return transport.outer if isinstance(transport, InnerTransport) else transport


class DetachedConnections:
    """The connections that have left one server and are still open. ``limits`` are the server's."""

    __slots__ = ("_open", "limits")

    def __init__(self, limits: ConnectionLimits | None = None) -> None:
        self.limits = limits or ConnectionLimits()
        self._open: set[DetachedProtocol] = set()

    def __len__(self) -> int:
        """How many connections there are."""
        return len(self._open)

    def detach(self, request: web.BaseRequest, protocol: DetachedProtocol) -> None:
        """Gives the connection of ``request`` to ``protocol``.

        Call this from the handler, which must not await anything afterwards: its task may have been cancelled. aiohttp
        drops what the client has sent after the request. Raises ConnectionResetError if the client has gone.
        """
        transport, aiohttp_protocol = request.transport, request.protocol
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client has gone")
        self._open.add(protocol)
        transport.set_protocol(protocol)
        aiohttp_protocol.transport = None
        aiohttp_protocol.connection_lost(None)
        # aiohttp may have paused reading because of a body or further requests. The end of the connection would go
        # unnoticed.
        transport_of(transport).resume_reading()

    def adopt(self, transport: asyncio.Transport, protocol: DetachedProtocol) -> None:
        """Gives an open connection that aiohttp has never had to ``protocol``."""
        self._open.add(protocol)
        transport.set_protocol(protocol)

    def discard(self, protocol: DetachedProtocol) -> None:
        """The connection of ``protocol`` is lost."""
        self._open.discard(protocol)

    def abort(self) -> None:
        """Ends all connections at once; bytes not sent yet are dropped."""
        for protocol in list(self._open):
            protocol.abort()
