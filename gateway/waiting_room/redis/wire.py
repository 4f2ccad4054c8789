"""Connections to Redis servers, without redis-py's client: opens them and sends one command at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final, Protocol, cast

from redis.asyncio.connection import AbstractConnection, ConnectionPool, SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AskError, NoPermissionError, RedisError, ResponseError

from gateway.settings.redis_address import Node

Argument = str | bytes | int | float

_CACHED_SIZES: Final = 256
_SIZES: Final = tuple(b"$%d" % size for size in range(_CACHED_SIZES))


class BadAddress(ValueError):
    """The address can't be used for a connection. ``allowed`` says what would be valid, without repeating the
    address."""

    def __init__(self, allowed: str) -> None:
        self.allowed = allowed
        super().__init__(allowed)


class ServerNotFound(RedisError):
    """No server accepts writes, or none of the servers queried knows it. The text contains no address."""


class RedisServers(Protocol):
    """Knows which server to connect to."""

    async def connect(self, slot: int) -> AbstractConnection:
        """An open connection to the server for keys of ``slot``; the slot matters on a cluster only.

        Raises RedisError, OSError or TimeoutError.
        """

    def current(self, slot: int) -> Node | None:
        """The server that was found last. A caller connected to another server must reconnect."""

    def follow_redirection(self, error: AskError) -> bool:
        """Handles a redirection to another server. Returns whether the next ``connect`` uses the server that it
        names."""


class OneServer:
    """A server with an address of its own."""

    def __init__(self, url: str, timeout: float) -> None:
        self._url = url
        self._timeout = timeout
        check_address(url, timeout)

    async def connect(self, slot: int) -> AbstractConnection:
        """See ``RedisServers``."""
        return await open_connection(make_connection(self._url, self._timeout))

    def current(self, slot: int) -> None:
        """Always None: there is no other server."""

    def follow_redirection(self, error: AskError) -> bool:
        """Always False: the operator named one server, so no other is used."""
        return False


def check_address(url: str, timeout: float) -> None:
    """Raises BadAddress for an address that can't be used for a connection. Reads the files it names; uses no
    network."""
    try:
        # Only this call checks the texts, so no other error can be mistaken for a wrong text.
        parse_url(url)
    except ValueError:
        raise BadAddress("an address whose parameters have values that redis-py can read") from None
    try:
        connection = make_connection(url, timeout)
        if isinstance(connection, SSLConnection):
            connection.ssl_context.get()
    except (RedisError, OSError, ValueError):
        if not url.startswith("rediss://"):
            raise
        raise BadAddress("an address whose ssl_… parameters name readable files and known values") from None


def make_connection(url: str, timeout: float) -> AbstractConnection:
    """A redis-py connection that is not connected yet. ``timeout``: seconds for connecting. ``url`` has been
    checked."""
    options: dict[str, Any] = {"socket_connect_timeout": timeout, **parse_url(url)}
    options |= {
        # The caller sets time-outs: redis-py would start a task for each command it sends.
        "socket_timeout": None,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        "driver_info": None,
    }
    pool = ConnectionPool(**options)
    return cast(AbstractConnection, pool.make_connection())  # type: ignore[no-untyped-call]


async def open_connection(connection: AbstractConnection) -> AbstractConnection:
    """Opens the connection and returns it. On any failure it is closed."""
    try:
        await connection.connect()  # type: ignore[no-untyped-call]
    except BaseException as error:
        await connection.disconnect(nowait=True)
        # redis-py wraps Redis's error reply in a connection error.
        refusal = error if isinstance(error, ResponseError) else error.__cause__
        if isinstance(refusal, ResponseError) and (why := _why_no_database(refusal, connection)):
            raise ServerNotFound(why) from None
        raise
    return connection


def _why_no_database(error: ResponseError, connection: AbstractConnection) -> str:
    """Why the database in the address can't be selected; empty if the error has another cause."""
    number = getattr(connection, "db", 0)
    named = f"database {number}, which REDIS_URL (or SPRING_DATA_REDIS_DATABASE) names"
    if "DB index is out of range" in str(error):
        return f"there is no {named}: its setting databases says how many there are"
    if "SELECT is not allowed" in str(error):
        return f"it is part of a cluster, which has no {named}"
    if isinstance(error, NoPermissionError) and number:
        return f"its user may not SELECT {named}"
    return ""


def pack_command(command: Sequence[Argument]) -> bytes:
    """A command encoded for Redis. redis-py's own encoder takes four times as long, and there are hundreds of
    arguments."""
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
        lines += (_SIZES[size] if size < _CACHED_SIZES else b"$%d" % size, data)
    lines.append(b"")
    return b"\r\n".join(lines)


async def send_command(connection: AbstractConnection, *command: Argument) -> Any:
    """Sends one command and returns its reply, without a time limit. An error reply raises redis-py's ResponseError."""
    if not connection.is_connected:
        raise ConnectionError("closed")  # redis-py would reopen it silently
    await connection.send_packed_command(pack_command(command), check_health=False)
    return await connection.read_response(timeout=math.inf)


def describe(error: BaseException) -> str:
    """An error described for the log. Texts of libraries can contain addresses, so for their errors it is only the
    class."""
    return str(error) if isinstance(error, ServerNotFound) else type(error).__name__
