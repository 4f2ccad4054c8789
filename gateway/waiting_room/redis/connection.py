"""Connections to Redis: one command at a time each, no silent repetition, every wait bounded.

redis-py's connections are used below its client, because the client repeats commands by itself, and because its
book-keeping costs more than the rest of a call.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol

from redis.asyncio.connection import AbstractConnection
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from gateway.errors import QueueUnavailable, SettingsError
from gateway.settings.redis_address import Node, RepeatedParameter, parse_redis_address
from gateway.waiting_room.redis.availability import (
    DEADLINE_SECONDS,
    LONGEST_SECONDS,
    REFUSALS,
    Availability,
    Probe,
    RedisState,
)
from gateway.waiting_room.redis.topology import GuidedServers
from gateway.waiting_room.redis.wire import (
    Argument,
    BadAddress,
    OneServer,
    RedisServers,
    ServerNotFound,
    ask,
    describe,
)
from gateway.waiting_room.scripts import Script

log = logging.getLogger(__name__)

MOVING_SECONDS: Final = 0.1
"""A call that meets a slot on its way to another node tries again half of this to all of it later."""

MOST_MOVES: Final = 3
"""How often one call goes where it is sent before it gives up."""

_EVICTS: Final = (
    "Redis has maxmemory-policy %s: at maxmemory it drops keys, and whole lines with them. Set noeviction"
)

DOUBT_SECONDS: Final = 1.0
"""A server found so long ago may be asked for again if it behaves as if it were cut off."""


class CallObserver(Protocol):
    """Told of every script call: its name, how long it took in seconds, for how many users, and whether it failed."""

    def __call__(self, script: str, seconds: float, size: int, failed: bool, /) -> None: ...


def ignore_calls(script: str, seconds: float, size: int, failed: bool, /) -> None:
    """The observer of those who don't look."""


class Redis:
    """Where Redis is and how long it may take; makes links to it.

    ``url``: see ``redis_address``. ``timeout``: seconds for connecting and for each answer. Raises SettingsError for
    an address that redis-py can make nothing of.
    """

    def __init__(self, url: str, timeout: float) -> None:
        self.timeout = timeout
        try:
            address = parse_redis_address(url)
        except RepeatedParameter as error:
            raise SettingsError("REDIS_URL", "(hidden)", error.allowed) from None
        except ValueError:
            raise SettingsError("REDIS_URL", "(hidden)", "an address as in docs/reference/redis.md") from None
        self.is_cluster = address.form == "cluster"
        """The address says so; a server with an address of its own may be part of one all the same."""
        self.database = address.database
        """The number of the database, which channels don't know of by themselves."""
        self.availability = Availability()
        """What the probe found last."""
        self._servers: RedisServers
        try:
            self._servers = (
                OneServer(url, timeout) if address.form == "one" else GuidedServers(address, timeout)
            )
        except BadAddress as error:
            raise SettingsError("REDIS_URL", "(hidden)", error.allowed) from None

    async def connection(self, key: str = "") -> AbstractConnection:
        """An open connection of redis-py's to the server that has ``key``, within the time-out.

        Raises RedisError, OSError or TimeoutError.
        """
        async with asyncio.timeout(self.timeout):
            return await self._servers.connect(self._slot(key))

    def link(self, observe: CallObserver = ignore_calls, *, key: str = "") -> RedisConnection:
        """A new link, which connects when first used. On a cluster it is for keys in the slot of ``key``."""
        return RedisConnection(self._servers, self._slot(key), self.timeout, observe, self.availability)

    @contextlib.asynccontextmanager
    async def probing(
        self, key: str, on_state: Callable[[RedisState], None] = lambda state: None
    ) -> AsyncIterator[None]:
        """Keeps ``availability`` up to date for as long as it lasts. ``key`` is a string that may be there or not;
        nothing is written to it."""
        # Not bound by what it finds itself. The deadline is to find out first: it alone tells an event loop that stood
        # still from Redis's silence. With a long one a connection into the void would hide for long that Redis is back.
        timeout = min(max(self.timeout, 3 * DEADLINE_SECONDS), LONGEST_SECONDS)
        link = RedisConnection(self._servers, self._slot(key), timeout, ignore_calls, Availability())

        policy: str | None = None

        async def ask_whether_it_writes() -> str:
            nonlocal policy
            try:
                await link.call("PING")
                if policy is None:
                    policy = await _policy(link)
                    if policy.startswith("allkeys-"):
                        log.warning(_EVICTS, policy)
                # Of no effect, but refused by whatever refuses the room's writes.
                await link.call("SETRANGE", key, 0, "")
            except ResponseError as error:
                if why := _serves_no_call(error):
                    raise QueueUnavailable(why) from None
                return _refusal(error)
            return ""

        try:
            async with Probe(ask_whether_it_writes, self.availability, on_state).running():
                yield
        finally:
            await link.close()

    def _slot(self, key: str) -> int:
        return key_slot(key.encode()) if self.is_cluster else 0


class Replication(NamedTuple):
    """How many replicas must have what was done. ``mark`` is a key that is written for no other purpose."""

    replicas: int
    mark: str


class RedisConnection:
    """One connection, which carries one command at a time and is opened anew after a failure."""

    def __init__(
        self,
        servers: RedisServers,
        slot: int,
        timeout: float,
        observe: CallObserver,
        availability: Availability,
    ) -> None:
        self._servers = servers
        self._slot = slot
        self._timeout = timeout
        self._observe = observe
        self._availability = availability
        self._connection: AbstractConnection | None = None
        self._server: Node | None = None
        self._opened = 0.0
        self._turn = asyncio.Lock()

    async def call(self, *command: Argument, replication: Replication | None = None) -> Any:
        """The reply to one command; with ``replication`` once replicas have all that Redis had done by then.

        Raises QueueUnavailable: at once while Redis is away by the probe; if the reply can't be had within the
        time-out; or if too few replicas say within half of it that they have all that. In the last two cases the
        command may have been executed.
        A reply that is an error of the command itself raises redis-py's ResponseError.
        """
        self._availability.check()
        try:
            async with self._availability.limited(self._timeout), self._turn:
                connection, reply = await self._reply(*command)
                if replication:
                    await self._replicated(connection, *replication)
                return reply
        except ResponseError as error:
            # A master that became a replica is left: elsewhere there may be another master by now. Redis 6
            # gives a script's own error another code in front, so it is looked for in the text as well.
            if isinstance(error, ReadOnlyError) or "READONLY" in str(error):
                await self.close()
            elif isinstance(error, ClusterDownError) or "NOREPLICAS" in str(error):
                await self._doubt()
            raise
        except TimeoutError:
            raise QueueUnavailable("Redis did not answer in time") from None
        except (RedisError, OSError) as error:
            raise QueueUnavailable(f"Redis: {describe(error)}") from None

    async def _reply(self, *command: Argument) -> tuple[AbstractConnection, Any]:
        """And the connection it came by. A command is sent again only where it was refused, not executed, because
        its slot is elsewhere."""
        moves = 0
        while True:
            connection = await self._ready()
            try:
                return connection, await ask(connection, *command)
            except MovedError as error:
                moves += 1
                if moves > MOST_MOVES or not self._servers.follow(error):
                    raise ServerNotFound("on this cluster the slot is elsewhere") from None
                await self.close()
            except (AskError, TryAgainError):
                # The slot is on its way to another node, key by key. A script needs all of its keys in one place, so
                # there is nothing to do but wait for the end.
                await asyncio.sleep(MOVING_SECONDS * random.uniform(0.5, 1.0))

    async def _replicated(self, connection: AbstractConnection, replicas: int, mark: str) -> None:
        # WAIT is about what this very connection wrote last; and an answer may rest on what another one wrote, if all
        # that a script did was to look.
        try:
            await ask(connection, "SET", mark, 1)
        except OutOfMemoryError:
            # This needs no memory, and is a write wherever the key has been written before.
            await ask(connection, "PEXPIRE", mark, 86_400_000)
        held = await ask(connection, "WAIT", replicas, max(1, int(self._timeout * 500)))
        if held < replicas:
            await self._doubt()
            raise QueueUnavailable(f"{held} of {replicas} replicas have the change in time")

    async def run(
        self,
        script: Script,
        keys: Sequence[str],
        args: Sequence[Argument],
        size: int = 1,
        replication: Replication | None = None,
    ) -> Any:
        """The reply of a script, called by its hash; it is sent as a whole only if Redis doesn't know it.

        ``size`` is the number of users it is about, for the observer; ``replication`` as in ``call``. Raises
        QueueUnavailable.
        """
        began = time.perf_counter()
        failed = True
        try:
            try:
                reply = await self.call(
                    "EVALSHA", script.sha, len(keys), *keys, *args, replication=replication
                )
            except NoScriptError:
                reply = await self.call("EVAL", script.text, len(keys), *keys, *args, replication=replication)
            failed = False
        except ResponseError as error:
            if not _known_to_the_probe(error):
                self._availability.note_refusal(script.name, str(error))
            raise QueueUnavailable(f"script {script.name}: {error}") from error
        except QueueUnavailable as error:
            self._availability.note_failure(script.name, error.reason)
            raise
        else:
            if script.name in self._availability.failing:
                self._availability.note_success(script.name)
            return reply
        finally:
            self._observe(script.name, time.perf_counter() - began, size, failed)

    async def _ready(self) -> AbstractConnection:
        connection = self._connection
        if (
            connection is None
            or not connection.is_connected
            or _gone(connection)
            # Another link has found another server meanwhile: this one must not go on with a master of the past.
            or self._server != self._servers.present(self._slot)
        ):
            await self.close()
            connection = self._connection = await self._servers.connect(self._slot)
            self._server = self._servers.present(self._slot)
            self._opened = time.monotonic()
        return connection

    async def _doubt(self) -> None:
        """This may be a master that was cut off, with another one in its place by now; unless that was just asked."""
        if time.monotonic() - self._opened > DOUBT_SECONDS:
            await self.close()

    async def close(self) -> None:
        """Closes the connection; a later call opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)


async def _policy(link: RedisConnection) -> str:
    """The ``maxmemory-policy``; empty if the gateway may not ask. Raises QueueUnavailable."""
    with contextlib.suppress(ResponseError):
        found = re.search(rb"maxmemory_policy:([a-z-]+)", await link.call("INFO", "memory"))
        if found:
            return found[1].decode()
    return ""


def _refusal(error: ResponseError) -> str:
    """Why a write was refused, in the words of ``REFUSALS``; empty if for none of these. redis-py takes the code off
    the errors that it has a class for."""
    if isinstance(error, OutOfMemoryError):
        return REFUSALS["OOM"]
    if isinstance(error, ReadOnlyError):
        return REFUSALS["READONLY"]
    return REFUSALS.get(str(error).partition(" ")[0], "")


def _serves_no_call(error: ResponseError) -> str:
    """Why Redis answers and yet serves no call, as a reason of ``RedisState.away``; empty if it serves them."""
    if isinstance(error, MasterDownError):
        return "a replica without its master"
    if isinstance(error, ClusterDownError):
        return "the cluster is down"
    return "busy with a script" if str(error).startswith("BUSY ") else ""


def _known_to_the_probe(error: ResponseError) -> bool:
    """Whether the probe meets the cause, too. Redis 6 gives a script's own error another code in front."""
    if isinstance(error, TryAgainError) or _serves_no_call(error) or _refusal(error):
        return True
    return any(f"-{code} " in str(error) for code in REFUSALS)


def _gone(connection: AbstractConnection) -> bool:
    """Whether the other side has hung up meanwhile; sending would only lose the command."""
    reader = getattr(connection, "_reader", None)
    return reader is None or reader.at_eof()
