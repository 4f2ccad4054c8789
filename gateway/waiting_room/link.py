"""Connections to Redis: one command at a time each, no silent repetition, every wait bounded.

redis-py's connections are used below its client, because the client repeats commands by itself, and because its
book-keeping costs more than the rest of a call.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, ReadOnlyError, RedisError, ResponseError

from gateway.errors import QueueUnavailable
from gateway.waiting_room.scripts import Script

Argument = str | bytes | int | float

_FEW = 256
_SIZES = tuple(b"$%d" % size for size in range(_FEW))


class CallObserver(Protocol):
    """Told of every script call: its name, how long it took in seconds, for how many users, and whether it failed."""

    def __call__(self, script: str, seconds: float, size: int, failed: bool, /) -> None: ...


def ignore_calls(script: str, seconds: float, size: int, failed: bool, /) -> None:
    """The observer of those who don't look."""


def packed(command: Sequence[Argument]) -> bytes:
    """A command as Redis reads it. redis-py's own way takes four times as long, and there are hundreds of arguments."""
    lines = [b"*%d" % len(command)]
    for argument in command:
        data = (
            argument.encode()
            if type(argument) is str
            else argument
            if type(argument) is bytes
            else str(argument).encode()
        )
        size = len(data)
        lines += (_SIZES[size] if size < _FEW else b"$%d" % size, data)
    lines.append(b"")
    return b"\r\n".join(lines)


class Redis:
    """Where Redis is and how long it may take; makes links to it.

    ``url``: ``redis://``, ``rediss://`` or ``unix://``. ``timeout``: seconds for connecting and for each answer.
    """

    def __init__(self, url: str, timeout: float) -> None:
        self.timeout = timeout
        self._pool = ConnectionPool.from_url(
            url,
            socket_connect_timeout=timeout,
            # Time-outs are this module's: redis-py would start a task for each command it sends.
            socket_timeout=None,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
            driver_info=None,
        )

    @property
    def database(self) -> int:
        """The number of the database, which channels don't know of by themselves."""
        return int(self._pool.connection_kwargs.get("db") or 0)

    def connection(self) -> AbstractConnection:
        """A connection of redis-py's, not yet connected."""
        return cast(AbstractConnection, self._pool.make_connection())  # type: ignore[no-untyped-call]

    def link(self, observe: CallObserver = ignore_calls) -> Link:
        """A new link, which connects when first used."""
        return Link(self.connection, self.timeout, observe)


class Link:
    """One connection, which carries one command at a time and connects anew after a failure."""

    def __init__(
        self, make: Callable[[], AbstractConnection], timeout: float, observe: CallObserver = ignore_calls
    ) -> None:
        self._make = make
        self._timeout = timeout
        self._observe = observe
        self._connection: AbstractConnection | None = None
        self._turn = asyncio.Lock()

    async def call(self, *command: Argument) -> Any:
        """The reply to one command.

        Raises QueueUnavailable if it can't be had within the time-out; the command may then have been executed.
        A reply that is an error of the command itself raises redis-py's ResponseError.
        """
        try:
            async with asyncio.timeout(self._timeout), self._turn:
                connection = await self._ready()
                await connection.send_packed_command(packed(command), check_health=False)
                return await connection.read_response(timeout=math.inf)
        except ResponseError as error:
            # A master that became a replica is left: under its name there may be another master by now. Redis 6
            # gives a script's own error another code in front, so it is looked for in the text as well.
            if isinstance(error, ReadOnlyError) or "READONLY" in str(error):
                await self.close()
            raise
        except TimeoutError:
            raise QueueUnavailable("Redis did not answer in time") from None
        except (RedisError, OSError) as error:
            raise QueueUnavailable(f"Redis: {type(error).__name__}") from None

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[Argument], size: int = 1) -> Any:
        """The reply of a script, called by its hash; it is sent as a whole only if Redis doesn't know it.

        ``size`` is the number of users it is about, for the observer. Raises QueueUnavailable.
        """
        began = time.perf_counter()
        failed = True
        try:
            try:
                reply = await self.call("EVALSHA", script.sha, len(keys), *keys, *args)
            except NoScriptError:
                reply = await self.call("EVAL", script.text, len(keys), *keys, *args)
            failed = False
        except ResponseError as error:
            raise QueueUnavailable(f"script {script.name}: {error}") from error
        else:
            return reply
        finally:
            self._observe(script.name, time.perf_counter() - began, size, failed)

    async def _ready(self) -> AbstractConnection:
        connection = self._connection
        if connection is None:
            connection = self._connection = self._make()
        if connection.is_connected and _gone(connection):
            await connection.disconnect(nowait=True)
        if not connection.is_connected:
            await connection.connect()  # type: ignore[no-untyped-call]
        return connection

    async def close(self) -> None:
        """Closes the connection; a later call opens it again."""
        if self._connection is not None:
            await self._connection.disconnect(nowait=True)


def _gone(connection: AbstractConnection) -> bool:
    """Whether the other side has hung up meanwhile; sending would only lose the command."""
    reader = getattr(connection, "_reader", None)
    return reader is None or reader.at_eof()
