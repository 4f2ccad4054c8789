"""Connections to Redis servers, below redis-py's client: opened, and asked one thing at a time."""

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

_FEW: Final = 256
_SIZES: Final = tuple(b"$%d" % size for size in range(_FEW))


class BadAddress(ValueError):
    """No connection can be made of an address; ``allowed`` says in words what would do, without the address."""

    def __init__(self, allowed: str) -> None:
        self.allowed = allowed
        super().__init__(allowed)


class ServerNotFound(RedisError):
    """There is no server that may be written to, or nobody knows it. The text holds no address."""


class RedisServers(Protocol):
    """Knows which server to talk to."""

    async def connect(self, slot: int) -> AbstractConnection:
        """An open connection to the server for keys of ``slot``, which means something on a cluster only.

        Raises RedisError, OSError or TimeoutError.
        """

    def present(self, slot: int) -> Node | None:
        """The server that was found last. Who is connected to another one is to connect again."""

    def follow(self, error: AskError) -> bool:
        """A server said that a slot is elsewhere; whether the next ``connect`` takes its word for where."""


class OneServer:
    """A server with an address of its own."""

    def __init__(self, url: str, timeout: float) -> None:
        self._url = url
        self._timeout = timeout
        check_address(url, timeout)

    async def connect(self, slot: int) -> AbstractConnection:
        """See ``RedisServers``."""
        return await opened(make_connection(self._url, self._timeout))

    def present(self, slot: int) -> None:
        """There is no other."""

    def follow(self, error: AskError) -> bool:
        """No: whoever names one server wants no other."""
        return False


def check_address(url: str, timeout: float) -> None:
    """Raises BadAddress for an address of which no connection can be made. Touches the files it names, no network."""
    try:
        # Only this looks at the texts, so that no other fault can pass for one of theirs.
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
    """A connection of redis-py's, not yet connected. ``timeout`` in seconds, for connecting. ``url`` was checked."""
    options: dict[str, Any] = {"socket_connect_timeout": timeout, **parse_url(url)}
    options |= {
        # Time-outs are the caller's: redis-py would start a task for each command it sends.
        "socket_timeout": None,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        "driver_info": None,
    }
    pool = ConnectionPool(**options)
    return cast(AbstractConnection, pool.make_connection())  # type: ignore[no-untyped-call]


async def opened(connection: AbstractConnection) -> AbstractConnection:
    """The connection, open; whatever goes wrong, nothing of it is left behind."""
    try:
        await connection.connect()  # type: ignore[no-untyped-call]
    except BaseException as error:
        await connection.disconnect(nowait=True)
        # redis-py makes an error of the connection out of a refusal.
        refusal = error if isinstance(error, ResponseError) else error.__cause__
        if isinstance(refusal, ResponseError) and (why := _why_no_database(refusal, connection)):
            raise ServerNotFound(why) from None
        raise
    return connection


def _why_no_database(error: ResponseError, connection: AbstractConnection) -> str:
    """Why the database that the address names can't be had; empty if the error is another one."""
    number = getattr(connection, "db", 0)
    named = f"database {number}, which REDIS_URL (or SPRING_DATA_REDIS_DATABASE) names"
    if "DB index is out of range" in str(error):
        return f"there is no {named}: its setting databases says how many there are"
    if "SELECT is not allowed" in str(error):
        return f"it is part of a cluster, which has no {named}"
    if isinstance(error, NoPermissionError) and number:
        return f"its user may not SELECT {named}"
    return ""


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


async def ask(connection: AbstractConnection, *command: Argument) -> Any:
    """One command and its reply, for as long as it takes. An error reply is raised as redis-py's ResponseError."""
    if not connection.is_connected:
        raise ConnectionError("closed")  # redis-py would open it again, without a word
    await connection.send_packed_command(packed(command), check_health=False)
    return await connection.read_response(timeout=math.inf)


def describe(error: BaseException) -> str:
    """What may be said of an error. Texts of libraries can hold addresses, so of theirs it is the kind."""
    return str(error) if isinstance(error, ServerNotFound) else type(error).__name__
