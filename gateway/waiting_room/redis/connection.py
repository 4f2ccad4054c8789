"""Calls to Redis: a connection carries one command at a time, repeats nothing silently, and every wait is bounded.

This uses redis-py's connections without its client: the client repeats commands by itself, and its book-keeping costs
more than the rest of a call.
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

from gateway.errors import NoSuchRoom, QueueUnavailable, SettingsError
from gateway.settings.redis_address import Node, RepeatedParameter, parse_redis_address
from gateway.waiting_room.redis.availability import (
    DEADLINE_SECONDS,
    GIVE_UP_SLICES,
    REFUSALS,
    SLICES,
    Availability,
    Probe,
    RedisState,
)
from gateway.waiting_room.redis.shared import Connections, OpenConnection
from gateway.waiting_room.redis.topology import GuidedServers
from gateway.waiting_room.redis.wire import (
    Argument,
    BadAddress,
    OneServer,
    RedisServers,
    ServerNotFound,
    describe,
    send_command,
)
from gateway.waiting_room.scripts import Script

log = logging.getLogger(__name__)

MOVING_SECONDS: Final = 0.1
"""A call whose slot is being moved to another node retries after a random time between half of this and all of it."""

MAX_REDIRECTIONS: Final = 3
"""How many redirections one call follows before it gives up."""

_EVICTION_WARNING: Final = (
    "Redis has maxmemory-policy %s: at maxmemory it drops keys, and whole lines with them. Set noeviction"
)

MAX_SHARED: Final = 8
"""Connections to one server that calls of one kind share, at most. Redis carries out one script at a time, so more
connections would only hide more of the network's delay."""


class CallObserver(Protocol):
    """Called for every script call: its name, its duration in seconds, the number of users, and whether it failed."""

    def __call__(self, script: str, seconds: float, size: int, failed: bool, /) -> None: ...


def ignore_calls(script: str, seconds: float, size: int, failed: bool, /) -> None:
    """An observer that ignores every call."""


class Redis:
    """The address of Redis and the time-out; makes connections to it.

    ``url``: see ``redis_address``. ``timeout``: seconds for connecting and for each answer. ``main_key``: the key that
    will be probed; on a cluster, what the probe finds then holds for the calls of its slot alone. Raises SettingsError
    for an address that redis-py cannot use.
    """

    def __init__(self, url: str, timeout: float, *, main_key: str | None = None) -> None:
        self.timeout = timeout
        try:
            address = parse_redis_address(url)
        except RepeatedParameter as error:
            raise SettingsError("REDIS_URL", "(hidden)", error.allowed) from None
        except ValueError:
            raise SettingsError("REDIS_URL", "(hidden)", "an address as in docs/reference/redis.md") from None
        self.is_cluster = address.form == "cluster"
        """Whether the address is that of a cluster. A single server's address may still belong to a node of one."""
        self.database = address.database
        """The number of the database. Pub/sub channels are shared by all databases, so their names include it."""
        self.availability = Availability()
        """What the probe found last."""
        self._main_slot = None if main_key is None else self._slot(main_key)
        # By slot. Rooms come and go, so there are more of them than rooms, but no more than slots.
        self._unprobed: dict[int, Availability] = {}
        self._servers: RedisServers
        try:
            self._servers = (
                OneServer(url, timeout) if address.form == "one" else GuidedServers(address, timeout)
            )
        except BadAddress as error:
            raise SettingsError("REDIS_URL", "(hidden)", error.allowed) from None

    async def connection(self, key: str = "") -> AbstractConnection:
        """An open redis-py connection to the server that holds ``key``, made within the time-out.

        Raises RedisError, OSError or TimeoutError.
        """
        async with asyncio.timeout(self.timeout):
            return await self._servers.connect(self._slot(key))

    def link(
        self, observe: CallObserver = ignore_calls, *, key: str = "", shared: Connections | None = None
    ) -> RedisConnection:
        """A connection, opened at its first use. On a cluster it is for keys in the slot of ``key``. ``shared``: the
        connections that it shares with others; None: it has one of its own."""
        slot = self._slot(key)
        connections = Connections(self._servers, 1) if shared is None else shared
        return RedisConnection(
            self._servers, slot, self.timeout, observe, self._availability_of(slot), connections
        )

    def shared(self) -> Connections:
        """Connections for calls of one kind, whichever keys they are for. They are opened when they are needed."""
        return Connections(self._servers, MAX_SHARED)

    @property
    def refused_scripts(self) -> list[str]:
        """Scripts that Redis refuses although it answers, see ``Availability``."""
        return sorted({name for each in self._all_availabilities() for name in each.refused_scripts})

    @property
    def failing_scripts(self) -> list[str]:
        """Scripts that have failed for a while although Redis answers the probe, see ``Availability``."""
        return sorted({name for each in self._all_availabilities() for name in each.failing_scripts})

    def _availability_of(self, slot: int) -> Availability:
        """What is known of the server with this slot. The probe asks only one node of a cluster. Calls to the others
        run into time-outs of their own, and do not fail because that node is away."""
        if self._main_slot is None or slot == self._main_slot:
            return self.availability
        return self._unprobed.setdefault(slot, Availability())

    def _all_availabilities(self) -> tuple[Availability, ...]:
        return (self.availability, *self._unprobed.values())

    @contextlib.asynccontextmanager
    async def probing(
        self, key: str, on_state: Callable[[RedisState], None] = lambda state: None
    ) -> AsyncIterator[None]:
        """Keeps ``availability`` up to date until the block ends. ``key`` names a string that may or may not exist;
        nothing is written to it."""
        # The probe's own connection is not limited by what the probe finds, and the probe itself ends its calls: a
        # time-out by the clock would take an event loop that stood still for a silent Redis.
        timeout = 10 * GIVE_UP_SLICES * DEADLINE_SECONDS / SLICES
        own = Connections(self._servers, 1)
        link = RedisConnection(self._servers, self._slot(key), timeout, ignore_calls, Availability(), own)

        policy: str | None = None

        async def ask_whether_it_writes() -> str:
            nonlocal policy
            try:
                await link.call("PING")
                if policy is None:
                    policy = await _policy(link)
                    if policy.startswith("allkeys-"):
                        log.warning(_EVICTION_WARNING, policy)
                for each in self._unprobed.values():
                    each.forget_refusals()
                    each.forget_failures()
                # Changes nothing, but fails for every reason for which the room's writes fail.
                await link.call("SETRANGE", key, 0, "")
            except ResponseError as error:
                if why := _why_unavailable(error):
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


def _always(reply: Any) -> bool:
    """Always true."""
    return True


class Replication(NamedTuple):
    """How many replicas must have received the writes, if ``needed`` says so of the reply. ``mark`` is a key written
    only so that WAIT has something to wait for."""

    replicas: int
    mark: str
    needed: Callable[[Any], bool] = _always


class RedisConnection:
    """Calls for the keys of one slot, by a connection of ``connections``. A connection carries one command at a time
    and is opened anew after a failure."""

    def __init__(
        self,
        servers: RedisServers,
        slot: int,
        timeout: float,
        observe: CallObserver,
        availability: Availability,
        connections: Connections,
    ) -> None:
        self._servers = servers
        self._slot = slot
        self._timeout = timeout
        self._observe = observe
        self._availability = availability
        self._connections = connections

    @property
    def server(self) -> Node | None:
        """The server that holds the keys, as far as is known; None if there is only one."""
        return self._servers.current(self._slot)

    async def call(self, *command: Argument, replication: Replication | None = None) -> Any:
        """The reply to one command. With ``replication``, it is returned once replicas have all writes of Redis up to
        then.

        Raises QueueUnavailable in three cases: at once while the probe finds Redis away; if there is no reply within
        the time-out; or if too few replicas confirm within half of the time-out. In the last two cases the command may
        have been executed. If the reply is an error of the command itself, redis-py's ResponseError is raised.
        """
        self._availability.check()
        try:
            async with (
                self._availability.limited(self._timeout),
                self._connections.taken(self._slot) as taken,
            ):
                return await self._carried_out(taken, command, replication)
        except ResponseError:
            raise
        except TimeoutError:
            raise QueueUnavailable("Redis did not answer in time") from None
        except (RedisError, OSError) as error:
            raise QueueUnavailable(f"Redis: {describe(error)}") from None

    async def _carried_out(
        self, taken: OpenConnection, command: Sequence[Argument], replication: Replication | None
    ) -> Any:
        """The reply to a command that ``taken`` carries."""
        try:
            connection, reply = await self._reply(taken, command)
            if replication is not None and replication.needed(reply):
                await self._wait_for_replicas(taken, connection, replication.replicas, replication.mark)
        except ResponseError as error:
            # The server was a master and became a replica: disconnect, since another server may be the master by now.
            # Redis 6 puts another code in front of a script's own error, so the text is searched as well.
            if isinstance(error, ReadOnlyError) or "READONLY" in str(error):
                await taken.close()
            elif isinstance(error, ClusterDownError) or "NOREPLICAS" in str(error):
                await taken.recheck_server()
            raise
        return reply

    async def _reply(
        self, taken: OpenConnection, command: Sequence[Argument]
    ) -> tuple[AbstractConnection, Any]:
        """The connection and the reply. A command is sent again only if Redis refused it because its slot is at another
        node; it was not executed then."""
        redirections = 0
        while True:
            connection = await taken.ready(self._slot)
            try:
                return connection, await send_command(connection, *command)
            except MovedError as error:
                redirections += 1
                if redirections > MAX_REDIRECTIONS or not self._servers.follow_redirection(error):
                    raise ServerNotFound("on this cluster the slot is elsewhere") from None
                await taken.close()
            except (AskError, TryAgainError):
                # The slot is being moved to another node, key by key. A script needs all its keys at one node, so the
                # call can only wait for the end of the move.
                await asyncio.sleep(MOVING_SECONDS * random.uniform(0.5, 1.0))

    async def _wait_for_replicas(
        self, taken: OpenConnection, connection: AbstractConnection, replicas: int, mark: str
    ) -> None:
        # WAIT covers only what this connection wrote last. A script that only read may rest its answer on another
        # connection's write.
        try:
            await send_command(connection, "SET", mark, 1)
        except OutOfMemoryError:
            # PEXPIRE needs no memory, and counts as a write if the key already exists.
            await send_command(connection, "PEXPIRE", mark, 86_400_000)
        confirmed = await send_command(connection, "WAIT", replicas, max(1, int(self._timeout * 500)))
        if confirmed < replicas:
            await taken.recheck_server()
            raise QueueUnavailable(f"{confirmed} of {replicas} replicas have the change in time")

    async def run(
        self,
        script: Script,
        keys: Sequence[str] | Sequence[bytes],
        args: Sequence[Argument],
        size: int = 1,
        replication: Replication | None = None,
    ) -> Any:
        """The reply of a script. It is called by its hash; its text is sent only if Redis does not know the hash.

        ``size`` is the number of users, for the observer; ``replication`` as in ``call``. Raises QueueUnavailable.
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
            if "NO_SUCH_ROOM" in str(error):
                failed = False
                raise NoSuchRoom from None
            if not _fails_probe_too(error) and not str(error).startswith("LANES "):
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

    async def close(self) -> None:
        """Closes the connections, shared or not; a later call opens another."""
        await self._connections.close()


async def _policy(link: RedisConnection) -> str:
    """The ``maxmemory-policy``; empty if the gateway has no permission to read it. Raises QueueUnavailable."""
    with contextlib.suppress(ResponseError):
        found = re.search(rb"maxmemory_policy:([a-z-]+)", await link.call("INFO", "memory"))
        if found:
            return found[1].decode()
    return ""


def _refusal(error: ResponseError) -> str:
    """Why a write was refused, as a value of ``REFUSALS``; empty for any other reason. redis-py removes the code from
    errors that it has a class for."""
    if isinstance(error, OutOfMemoryError):
        return REFUSALS["OOM"]
    if isinstance(error, ReadOnlyError):
        return REFUSALS["READONLY"]
    return REFUSALS.get(str(error).partition(" ")[0], "")


def _why_unavailable(error: ResponseError) -> str:
    """Why Redis answers but serves no call, as a reason for ``RedisState.away``; empty if it serves calls."""
    if isinstance(error, MasterDownError):
        return "a replica without its master"
    if isinstance(error, ClusterDownError):
        return "the cluster is down"
    return "busy with a script" if str(error).startswith("BUSY ") else ""


def _fails_probe_too(error: ResponseError) -> bool:
    """Whether the probe fails for the same cause. Redis 6 puts another code in front of a script's own error."""
    if isinstance(error, TryAgainError) or _why_unavailable(error) or _refusal(error):
        return True
    return any(f"-{code} " in str(error) for code in REFUSALS)
