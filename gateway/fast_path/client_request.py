"""The client's side of a plain call, in the form that the forwarder's coroutines expect of a request."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import ClientConnectionResetError, HttpVersion, HttpVersion11, web

from gateway.server.head import ParsedHead
from gateway.server.interfaces import FastConnection


class ClientSide:
    """Stands for the request in ``Forwarder.exchange`` and ``Forwarder.complete``; also its writer and its protocol.

    ``started_response`` is the answer that is being written, if any: see ``proxy.response.STARTED_RESPONSE``.
    """

    __slots__ = ("_connection", "_head", "_resumed", "method", "output_size", "started_response")

    version: Final[HttpVersion] = HttpVersion11

    def __init__(self, connection: FastConnection, head: ParsedHead) -> None:
        self._connection = connection
        self._head = head
        self._resumed: asyncio.Future[None] | None = None
        self.method = head.method
        self.started_response: web.StreamResponse | None = None
        self.output_size = 0
        """Bytes written to the client."""

    @property
    def transport(self) -> asyncio.Transport | None:
        """The client's connection; None if it has ended."""
        return self._connection.transport

    @property
    def keep_alive(self) -> bool:
        """Whether another request will be read after this one, as far as is known now."""
        return self._head.keep_alive and self._connection.may_stay_open()

    @property
    def writer(self) -> ClientSide:
        """The object that counts written bytes in ``output_size`` and waits for a slow client in ``drain``."""
        return self

    @property
    def protocol(self) -> ClientSide:
        """The object with ``writing_paused``."""
        return self

    @property
    def writing_paused(self) -> bool:
        """Whether the client does not take what was written."""
        return self._connection.writing_paused

    def __setitem__(self, key: object, value: web.StreamResponse) -> None:
        """Notes the answer that is being written. The only key is ``STARTED_RESPONSE``."""
        self.started_response = value

    async def drain(self) -> None:
        """Waits until the client has taken enough. Raises ConnectionError if it has gone."""
        while self.writing_paused:
            self._resumed = asyncio.get_running_loop().create_future()
            await self._resumed
        if self.transport is None:
            raise ClientConnectionResetError("the client has gone")

    def resume(self) -> None:
        """The client has taken most of what waited, or has gone."""
        if self._resumed is not None and not self._resumed.done():
            self._resumed.set_result(None)
