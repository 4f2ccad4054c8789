"""Looks up the names of services again and again, so that requests go to the addresses that a name has now."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final

from gateway.background import background_task
from gateway.name_threads import addresses_of
from gateway.proxy.load_balancer import Instances
from gateway.proxy.upstream import UpstreamBase

_log = logging.getLogger(__name__)

MAX_ADDRESSES: Final = 256
"""Of one name; further ones are not used."""
_AT_A_TIME: Final = 16
# The system's resolver has time-outs of its own, which are longer. Serving begins without the addresses then.
_FIRST_SECONDS: Final = 1.0
# Many gateways that start together ask at different times.
_SPREAD: Final = 0.1

Lookup = Callable[[str], Awaitable[Sequence[str]]]
"""Looks a name up: returns its addresses, or raises OSError."""


async def look_up(host: str) -> Sequence[str]:
    """The addresses of a name, by the system's resolver (``/etc/hosts``, DNS). Of a name with addresses of both
    families only those of IPv4: the others mostly belong to the same machines. Raises OSError, or UnicodeError for a
    name that can't exist."""
    found = await addresses_of(host)
    for family in (socket.AF_INET, socket.AF_INET6):
        addresses = [each.address for each in found if each.family == family]
        if addresses:
            return addresses
    return ()


class NameLookups:
    """Keeps the addresses of all configured instances up to date. ``interval``: seconds between two lookups of a name.
    A name that can't be looked up keeps its last addresses. ``on_lookup`` is told whether a lookup has succeeded."""

    def __init__(
        self,
        instances: Instances,
        interval: float,
        on_lookup: Callable[[bool], None] = lambda ok: None,
        lookup: Lookup = look_up,
    ) -> None:
        self._instances = instances
        self._interval = interval
        self._on_lookup = on_lookup
        self._lookup = lookup
        self._names: frozenset[UpstreamBase] = frozenset()
        self._known: dict[str, tuple[str, ...]] = {}
        self._failing: set[str] = set()
        self._under_way: set[str] = set()
        self._changed = asyncio.Event()
        self._first_done = asyncio.Event()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Looks up all names, for at most a second, and then again and again until the block ends."""
        self._names = self._instances.names()
        self._instances.on_change(self._follow)
        async with background_task(self._run(), "lookups of names"):
            if self._names:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_FIRST_SECONDS):
                        await self._first_done.wait()
            yield

    def _follow(self) -> None:
        """The instances have changed: new names are looked up at once."""
        names = self._instances.names()
        if names - self._names:
            self._changed.set()
        self._names = names

    async def _run(self) -> None:
        turns = asyncio.Semaphore(_AT_A_TIME)
        async with asyncio.TaskGroup() as lookups:
            while True:
                self._changed.clear()
                hosts = {base.host for base in self._names}
                self._known = {host: known for host, known in self._known.items() if host in hosts}
                self._failing.intersection_update(hosts)
                # A name whose last lookup goes on does not hold up the others.
                for host in sorted(hosts - self._under_way):
                    self._under_way.add(host)
                    lookups.create_task(self._look_up(host, turns))
                pause = self._interval * random.uniform(1 - _SPREAD, 1 + _SPREAD)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._changed.wait()

    async def _look_up(self, host: str, turns: asyncio.Semaphore) -> None:
        try:
            async with turns:
                await self._look_up_now(host)
        finally:
            self._under_way.discard(host)
            if not self._under_way:
                self._first_done.set()

    async def _look_up_now(self, host: str) -> None:
        addresses: tuple[str, ...] = ()
        problem = "it has no address"
        try:
            found = await self._lookup(host)
        except (OSError, UnicodeError) as error:
            problem = f"{type(error).__name__} {error}"
        else:
            addresses = tuple(sorted(set(found)))[:MAX_ADDRESSES]
        self._on_lookup(bool(addresses))
        if not addresses:
            self._failed(host, problem)
            return
        if host in self._failing:
            self._failing.discard(host)
            _log.info("%s can be looked up again", host)
        before = self._known.get(host)
        if before is not None and before != addresses:
            _log.info(
                "%s has the addresses %s now, before: %s", host, ", ".join(addresses), ", ".join(before)
            )
        self._known[host] = addresses
        for base in self._names:
            if base.host == host:
                self._instances.set_addresses(base, addresses)

    def _failed(self, host: str, problem: str) -> None:
        if host in self._failing:
            return
        self._failing.add(host)
        known = self._known.get(host)
        kept = f"its last addresses stay in use: {', '.join(known)}" if known else "no address is known"
        _log.warning("%s can't be looked up (%s): %s", host, problem, kept)
