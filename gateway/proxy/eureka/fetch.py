"""Keeping the registry fresh: a whole listing first, then deltas for as long as the hash agrees."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Final, TypeVar

from gateway.observe.metrics import Metrics
from gateway.proxy.eureka.registry import Registry, Services
from gateway.proxy.eureka.servers import EurekaAway, Said, Server, Servers, pause
from gateway.proxy.eureka.wire import Listing, parse_listing

log = logging.getLogger(__name__)

T = TypeVar("T")

DELTA_SECONDS: Final = 120.0
"""Servers keep what changed for three minutes. After a longer silence a delta may lack something, and the hash, which
only counts, may agree all the same."""
FIRST_FETCH_SECONDS: Final = 2.0

_OK: Final = frozenset({200})
# What a server says that was told to give no deltas.
_OK_OR_NO_DELTAS: Final = frozenset({200, 403, 404})


class Fetcher:
    """Fetches every ``interval`` seconds and tells ``on_change`` of the services whenever they are others than before.

    While no server answers, what was fetched last stays.
    """

    def __init__(
        self,
        servers: Servers,
        interval: float,
        on_change: Callable[[Services], None],
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._servers = servers
        self._interval = interval
        self._on_change = on_change
        self._metrics = metrics
        self._clock = clock
        self._registry = Registry()
        self._source: Server | None = None
        self._fetched_at = 0.0
        self._failures = 0
        self.services: Services = self._registry.services()

    @property
    def fresh(self) -> bool:
        """Whether the last fetch succeeded."""
        return self._source is not None and not self._failures

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Fetches while inside. Waits for the first attempt, but not for long: requests should not come before services
        are known, and Eureka being away must not stop the start."""
        tried = asyncio.Event()
        task = asyncio.create_task(self._for_ever(tried), name="eureka registry")
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(FIRST_FETCH_SECONDS):
                    await tried.wait()
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _for_ever(self, tried: asyncio.Event) -> None:
        while True:
            try:
                await self.fetch()
                self._failures = 0
            except EurekaAway:
                self._failures += 1
            except Exception:
                self._failures += 1
                log.exception("the registry could not be taken over")
            tried.set()
            await asyncio.sleep(pause(self._interval, self._failures))

    async def fetch(self) -> None:
        """Brings the registry up to date once. Raises EurekaAway."""
        deltas = True
        if self._source is not None and self._clock() - self._fetched_at < DELTA_SECONDS:
            delta = await self._ask("delta", "apps/delta", _OK_OR_NO_DELTAS)
            deltas = delta.content is not None
            # Of another server it says nothing about what this one had changed before.
            if delta.content is not None and delta.server is self._source:
                agreed = await self._told(partial(self._registry.apply, delta.content, self._clock()))
                if agreed:
                    self._fetched_at = self._clock()
                    return
        whole = await self._ask("fetch", "apps", _OK)
        if whole.content is not None:
            await self._told(partial(self._registry.replace, whole.content, self._clock(), linger=deltas))
            self._source = whole.server
            self._fetched_at = self._clock()

    async def _ask(self, operation: str, path: str, statuses: frozenset[int]) -> Said[Listing]:
        return await self._servers.ask(operation, "GET", path, statuses, read=parse_listing)

    async def _told(self, change: Callable[[], T]) -> T:
        """Changes the registry in a thread, because with thousands of instances that takes tens of milliseconds, and
        tells of the services if they are others than before. Returns what ``change`` returns."""

        def changed() -> tuple[T, Services, bool]:
            outcome = change()
            services = self._registry.services()
            return outcome, services, services != self.services

        outcome, services, other = await asyncio.to_thread(changed)
        if other:
            self.services = services
            self._metrics.eureka_instances(sum(map(len, services.values())))
            self._on_change(services)
        return outcome
