"""Connections to Redis that several callers share: by the server they lead to, and at most so many to each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final

from redis.asyncio.connection import AbstractConnection

from gateway.settings.redis_address import Node
from gateway.waiting_room.redis.wire import RedisServers

RECHECK_SECONDS: Final = 1.0
"""A server that was found at least this many seconds ago is looked up again if it behaves as if it were cut off."""


class OpenConnection:
    """A connection to the server of the slot that it was last used for. One caller has it at a time."""

    __slots__ = ("_connection", "_opened", "_servers", "server")

    def __init__(self, servers: RedisServers) -> None:
        self._servers = servers
        self._connection: AbstractConnection | None = None
        self._opened = 0.0
        self.server: Node | None = None
        """The server it leads to, as ``RedisServers.current`` names it."""

    async def ready(self, slot: int) -> AbstractConnection:
        """The open connection, to the server of ``slot``. Raises RedisError, OSError or TimeoutError."""
        connection = self._connection
        if (
            connection is None
            or not connection.is_connected
            or _closed_by_server(connection)
            # Another connection has found another server meanwhile: this one must not go on with the former master.
            or self.server != self._servers.current(slot)
        ):
            await self.close()
            connection = self._connection = await self._servers.connect(slot)
            self.server = self._servers.current(slot)
            self._opened = time.monotonic()
        return connection

    async def recheck_server(self) -> None:
        """Closes the connection, so that the next call looks the server up again, unless it was opened just now: this
        may be a master that was cut off and replaced."""
        if time.monotonic() - self._opened > RECHECK_SECONDS:
            await self.close()

    async def close(self) -> None:
        """Closes the connection; the next use opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)


class Connections:
    """At most ``most`` connections to each server. A caller without one waits its turn."""

    def __init__(self, servers: RedisServers, most: int) -> None:
        self._servers = servers
        self._most = most
        self._idle: dict[Node | None, list[OpenConnection]] = {}
        self._turns: dict[Node | None, asyncio.Semaphore] = {}

    def taken(self, slot: int) -> _Taken:
        """A context manager: a connection for keys of ``slot``, for this caller alone."""
        return _Taken(self, self._servers.current(slot))

    async def take(self, server: Node | None) -> OpenConnection:
        """A connection to ``server``, for ``give_back``; None: it is not known yet, or the only one."""
        turn = self._turns.get(server)
        if turn is None:
            turn = self._turns[server] = asyncio.Semaphore(self._most)
            # It may have replaced another one, which is not called any more. If it is, its connections open again.
            await self._close_all_but(server)
        await turn.acquire()
        idle = self._idle.get(server)
        return idle.pop() if idle else OpenConnection(self._servers)

    async def give_back(self, server: Node | None, connection: OpenConnection) -> None:
        """Ends what ``take`` began."""
        self._turns[server].release()
        idle = self._idle.setdefault(connection.server, [])
        if len(idle) < self._most:
            idle.append(connection)
        else:
            await connection.close()

    async def close(self) -> None:
        """Closes all connections that no caller has."""
        await self._close_all_but(None)
        for connection in self._idle.pop(None, ()):
            await connection.close()

    async def _close_all_but(self, server: Node | None) -> None:
        others = [each for each in self._idle if each not in (server, None)]
        for other in others:
            for connection in self._idle.pop(other):
                await connection.close()


class ConnectionsByKind:
    """Connections for each kind of call, so that no call waits behind another kind. ``make`` makes those of one."""

    def __init__(self, make: Callable[[], Connections]) -> None:
        self._make = make
        self._by_kind: dict[str, Connections] = {}

    def of(self, kind: str) -> Connections:
        """The connections for calls of this kind."""
        found = self._by_kind.get(kind)
        if found is None:
            found = self._by_kind[kind] = self._make()
        return found

    async def close(self) -> None:
        """Closes all connections that no caller has."""
        for connections in self._by_kind.values():
            await connections.close()


class _Taken:
    """One caller's turn with a connection. A class and not a generator, because every Redis call makes one."""

    __slots__ = ("_connection", "_connections", "_server")

    _connection: OpenConnection

    def __init__(self, connections: Connections, server: Node | None) -> None:
        self._connections = connections
        self._server = server

    async def __aenter__(self) -> OpenConnection:
        self._connection = await self._connections.take(self._server)
        return self._connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._connections.give_back(self._server, self._connection)


def _closed_by_server(connection: AbstractConnection) -> bool:
    """Whether the server has closed the connection; a command sent now would be lost."""
    reader = getattr(connection, "_reader", None)
    return reader is None or reader.at_eof()
