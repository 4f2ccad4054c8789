"""The gateway's part in Eureka as one resource, and the Config EurekaServers that Eureka knows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from types import MappingProxyType
from typing import Final

from gateway.discovery.eureka.lease import Lease, own
from gateway.discovery.eureka.messages import parse_config_servers
from gateway.discovery.eureka.registry import Fetcher, Services
from gateway.discovery.eureka.transport import EurekaServers, session
from gateway.observability.metrics import Metrics
from gateway.settings.model import Settings

_OK: Final = frozenset({200})


async def config_servers(servers: EurekaServers, names: Sequence[str]) -> tuple[str, ...]:
    """Where the Config EurekaServers are, by the first of ``names`` that has instances; user and password within the
    addresses. Empty if there is none. Raises EurekaAway."""
    said = await servers.ask("config", "GET", "apps", _OK, read=partial(parse_config_servers, names=names))
    return said.content or ()


_GOODBYE_SECONDS = 2.0


class Eureka:
    """Knows the services that are registered, and has this gateway registered, each if the settings want it."""

    def __init__(self, settings: Settings, servers: EurekaServers, metrics: Metrics) -> None:
        self._settings = settings
        self._servers = servers
        self._listeners: list[Callable[[Services], None]] = []
        # A stop has so long for everything; most of it is for requests and streams.
        self.goodbye_seconds = min(_GOODBYE_SECONDS, settings.shutdown_grace_seconds / 5)
        self._lease: Lease | None = None
        if settings.eureka_register:
            renewal = settings.eureka_instance_leaserenewalintervalinseconds
            self._lease = Lease(servers, renewal, self.goodbye_seconds)
        self._fetcher: Fetcher | None = None
        if settings.eureka_fetch:
            interval = settings.eureka_client_registryfetchintervalseconds
            self._fetcher = Fetcher(servers, interval, self._changed, metrics)

    def services(self) -> Services:
        """The instances that are up, by the service's name in lower case: the last good registry."""
        return MappingProxyType({}) if self._fetcher is None else self._fetcher.services

    def on_change(self, listener: Callable[[Services], None]) -> None:
        """Calls ``listener`` now, and whenever the services are others than before. It must not wait."""
        self._listeners.append(listener)
        listener(self.services())

    def _changed(self, services: Services) -> None:
        for listener in self._listeners:
            listener(services)

    def listening(self, port: int, management_port: int | None = None) -> None:
        """The ports are open: registers."""
        if self._lease is not None:
            self._lease.begin(partial(own, self._settings, self._servers.all, port, management_port))

    async def draining(self) -> None:
        """Says DOWN while requests are still taken; returns after ``goodbye_seconds`` at the latest."""
        if self._lease is not None:
            await self._lease.down()

    def health(self) -> tuple[bool, dict[str, object]]:
        """Whether all that is wanted of Eureka works, and how it stands."""
        details: dict[str, object] = {}
        good = True
        if self._fetcher is not None:
            services = self._fetcher.services
            details |= {"services": len(services), "instances": sum(map(len, services.values()))}
            good = self._fetcher.fresh
        if self._lease is not None:
            details["registered"] = self._lease.registered
            good = good and self._lease.registered
        return good, details

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Fetches and registers while inside."""
        async with AsyncExitStack() as stack:
            for part in (self._fetcher, self._lease):
                if part is not None:
                    await stack.enter_async_context(part.running())
            yield


@asynccontextmanager
async def discovering(settings: Settings, metrics: Metrics) -> AsyncIterator[Eureka | None]:
    """Takes part in Eureka as the settings want it; None if they want nothing of it."""
    urls = settings.eureka_client_serviceurl_defaultzone
    if not urls or not (settings.eureka_register or settings.eureka_fetch):
        yield None
        return
    async with session() as connections:
        eureka = Eureka(settings, EurekaServers(connections, urls, metrics), metrics)
        async with eureka.running():
            yield eureka
