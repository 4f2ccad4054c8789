"""The first bytes of a connection above the limit, with or without a header of the PROXY protocol in front."""

from __future__ import annotations

import asyncio

from gateway.server.proxied_transport import ProxiedTransport
from gateway.server.proxy_protocol import MalformedHeader, may_begin, read_header


class FirstBytes:
    """``transport`` is that of the client: once a proxy has named it, it says that the client is the peer. ``request``
    is what the client has sent, without that header; empty while the header is not complete.

    ``received``: what has come by now. ``may_name_client``: whether the peer is a proxy that may name its client.
    """

    __slots__ = ("_preamble", "request", "transport")

    def __init__(self, transport: asyncio.Transport, received: bytes, *, may_name_client: bool) -> None:
        self.transport = transport
        self.request = b""
        self._preamble: bytes | None = b"" if may_name_client else None
        """What has come of a header; None: there is none any more."""
        self.add(received)

    def add(self, data: bytes) -> None:
        """Further bytes have come."""
        if self._preamble is None:
            self.request += data
            return
        received, self._preamble = self._preamble + data, None
        if not may_begin(received):
            self.request = received
            return
        try:
            header = read_header(received)
        except MalformedHeader:
            # No request that is known, so the connection is refused like any other.
            self.request = received
            return
        if header is None:
            self._preamble = received
            return
        if header.client is not None:
            self.transport = ProxiedTransport(self.transport, header.client)
        self.request = received[header.size :]
