"""Finds Redis servers through others: the master that sentinels name, or the owner of a cluster's slot.

A *guide* is the server that is queried: a sentinel, or any node of the cluster. A guide may be away, out of date, or
cut off together with a former master. So the server that it names is checked for its role before it is used; if that
fails, the next guide is queried.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import AskError, RedisError

from gateway.settings.redis_address import MAX_NODES, Node, RedisAddress, is_host
from gateway.waiting_room.redis.wire import (
    ServerNotFound,
    check_address,
    describe,
    make_connection,
    open_connection,
    send_command,
)

log = logging.getLogger(__name__)

PAUSE_SECONDS: Final = 0.2
"""After a search without a result, the next search starts after a random time between half of this and all of it. Until
then every call fails at once: a crowd of callers must not become a crowd of queries."""

_NO_SERVER: Final = "an answer that names no server"
_PORT: Final = re.compile("[0-9]{1,5}")


class MasterAddress(NamedTuple):
    """A guide's answer: the server to use, and further guides to query from now on, besides that server and the nodes
    of the address."""

    server: Node
    guides: tuple[Node, ...] = ()


Question = Callable[[AbstractConnection, Node, int], Awaitable[MasterAddress]]
"""Queries a guide, over a connection to it, for the server of a slot. Raises RedisError if the guide knows none."""


class GuidedServers:
    """Servers that are found through guides.

    ``timeout``: seconds for a whole call. One guide, together with the server that it names, may take half of it.
    """

    def __init__(self, address: RedisAddress, timeout: float) -> None:
        self._address = address
        self._timeout = timeout
        self._question = _ask_node if address.form == "cluster" else _ask_sentinel_for(address.service)
        # In the order in which they are queried. A guide that did not help goes to the end.
        self._guides = list(address.nodes)
        # The server of each slot, and the server that a redirection named for a slot, of the slots that rooms have had.
        self._present: dict[int, Node] = {}
        self._moved: dict[int, Node] = {}
        # When the next search for the server of a slot may begin, and why the last one found none.
        self._not_before: dict[int, tuple[float, str]] = {}
        for url in (address.url_of(address.nodes[0]), address.url_of_guide(address.nodes[0])):
            check_address(url, timeout)

    async def connect(self, slot: int) -> AbstractConnection:
        """See ``RedisServers``. Raises ServerNotFound when all guides have been queried."""
        loop = asyncio.get_running_loop()
        not_before, why = self._not_before.get(slot, (0.0, ""))
        if loop.time() < not_before:
            raise ServerNotFound(why)
        if moved_to := self._moved.pop(slot, None):
            try:
                async with asyncio.timeout(self._timeout / 2):
                    return await self._open(moved_to, slot)
            except (RedisError, OSError, TimeoutError) as error:
                log.debug("where a slot was said to be: %s", describe(error))
        for guide in tuple(self._guides):
            try:
                async with asyncio.timeout(self._timeout / 2):
                    return await self._open(await self._advice_of(guide, slot), slot)
            except (RedisError, OSError, TimeoutError) as error:
                why = f"no address that was asked named a master ({describe(error)})"
                self._guides.sort(key=guide.__eq__)  # this one to the end
            except asyncio.CancelledError:
                # The caller's time was over before this guide answered: the next call begins with another guide.
                self._guides.sort(key=guide.__eq__)
                raise
        self._not_before[slot] = loop.time() + PAUSE_SECONDS * random.uniform(0.5, 1.0), why
        raise ServerNotFound(why)

    def current(self, slot: int) -> Node | None:
        """See ``RedisServers``."""
        return self._present.get(slot)

    def follow_redirection(self, error: AskError) -> bool:
        """See ``RedisServers``. A redirection without a host means the server that answered, which the guides know."""
        if self._address.form != "cluster":
            return False
        if is_host(error.host):
            self._moved[error.slot_id] = Node(error.host, error.port)
        return True

    async def _advice_of(self, guide: Node, slot: int) -> Node:
        connection = await open_connection(make_connection(self._address.url_of_guide(guide), self._timeout))
        try:
            advice = await self._question(connection, guide, slot)
        finally:
            await connection.disconnect(nowait=True)
        if advice.guides:
            self._guides[:] = dict.fromkeys((guide, *advice.guides[:MAX_NODES], *self._address.nodes))
        return advice.server

    async def _open(self, server: Node, slot: int) -> AbstractConnection:
        """A connection to a server that reports itself as a master."""
        connection = await open_connection(make_connection(self._address.url_of(server), self._timeout))
        try:
            role = await send_command(connection, "ROLE")
            if not isinstance(role, list) or role[:1] != [b"master"]:
                raise ServerNotFound("what was named is no master")
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        if server != self._present.get(slot):
            self._present[slot] = server
            # A cluster has a server for each slot. Redis Sentinel has one for all.
            log.info("Redis: the master is %s%s", server, f" (slot {slot})" if slot else "")
        return connection


def _ask_sentinel_for(service: str) -> Question:
    async def question(connection: AbstractConnection, guide: Node, slot: int) -> MasterAddress:
        reply = await send_command(connection, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", service)
        if reply is None:
            raise ServerNotFound("a sentinel knows no master of that name")
        return MasterAddress(_node(reply, guide))

    return question


async def _ask_node(connection: AbstractConnection, guide: Node, slot: int) -> MasterAddress:
    # Deprecated since Redis 7, but its replacement does not exist in 6.2.
    ranges = await send_command(connection, "CLUSTER", "SLOTS")
    if not isinstance(ranges, list) or not all(map(_is_range, ranges)):
        raise ServerNotFound(_NO_SERVER)
    nodes = tuple(dict.fromkeys(_node(node, guide) for _, _, *of_range in ranges for node in of_range))
    for first, last, master, *_ in ranges:
        if first <= slot <= last:
            return MasterAddress(_node(master, guide), nodes)
    raise ServerNotFound("a node knows nobody who has the slot")


def _is_range(reply: Any) -> bool:
    """Whether this is an entry of ``CLUSTER SLOTS``: first slot, last slot, nodes, the master first."""
    return (
        isinstance(reply, list)
        and len(reply) >= 3
        and isinstance(reply[0], int)
        and isinstance(reply[1], int)
    )


def _node(reply: Any, guide: Node) -> Node:
    """The node of a reply that begins with host and port. If no host is given, it is the guide's.

    Raises ServerNotFound for a reply of another shape.
    """
    if not isinstance(reply, list) or len(reply) < 2:
        raise ServerNotFound(_NO_SERVER)
    host, port = reply[:2]
    if host in (None, b"", b"?"):
        name = guide.host
    else:
        name = host.decode("utf-8", "replace") if isinstance(host, bytes) else ""
    digits = str(port) if isinstance(port, int) else port.decode("latin-1") if isinstance(port, bytes) else ""
    if not is_host(name) or not _PORT.fullmatch(digits) or not 0 < int(digits) < 65536:
        raise ServerNotFound(_NO_SERVER)
    return Node(name, int(digits))
