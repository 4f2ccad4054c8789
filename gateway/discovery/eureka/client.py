"""The gateway's Eureka client as one resource, and the Config Servers that are registered with Eureka."""

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
    """The addresses of the Config Servers: the instances of the first of ``names`` that has any. User and password are
    part of an address. Empty if there are none. Raises EurekaAway."""
    said = await servers.ask("config", "GET", "apps", _OK, read=partial(parse_config_servers, names=names))
    return said.content or ()


_GOODBYE_SECONDS = 2.0


class Eureka:
    """Fetches the registered services and registers this gateway, each only if the settings enable it."""

    def __init__(self, settings: Settings, servers: EurekaServers, metrics: Metrics) -> None:
        self._settings = settings
        self._servers = servers
        self._listeners: list[Callable[[Services], None]] = []
        # At most a fifth of the time for a shutdown. The rest is for requests and streams.
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
        """The UP instances of the last good registry, by the service's name in lower case."""
        return MappingProxyType({}) if self._fetcher is None else self._fetcher.services

    def on_change(self, listener: Callable[[Services], None]) -> None:
        """Calls ``listener`` now and whenever the services have changed. ``listener`` must not block."""
        self._listeners.append(listener)
        listener(self.services())

    def _changed(self, services: Services) -> None:
        for listener in self._listeners:
            listener(services)

    def listening(self, port: int, management_port: int | None = None) -> None:
        """Registers the gateway. Called when its ports are open."""
        if self._lease is not None:
            self._lease.begin(partial(own, self._settings, self._servers.all, port, management_port))

    async def draining(self) -> None:
        """Sets the status DOWN while requests are still accepted. Returns within ``goodbye_seconds``."""
        if self._lease is not None:
            await self._lease.down()

    def health(self) -> tuple[bool, dict[str, object]]:
        """Whether everything that is enabled works, and the details for health."""
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
        """Fetches and registers until the block ends."""
        async with AsyncExitStack() as stack:
            for part in (self._fetcher, self._lease):
                if part is not None:
                    await stack.enter_async_context(part.running())
            yield


@asynccontextmanager
async def discovering(settings: Settings, metrics: Metrics) -> AsyncIterator[Eureka | None]:
    """Runs the Eureka client as the settings say; None if they enable no part of it."""
    urls = settings.eureka_client_serviceurl_defaultzone
    if not urls or not (settings.eureka_register or settings.eureka_fetch):
        yield None
        return
    async with session() as connections:
        eureka = Eureka(settings, EurekaServers(connections, urls, metrics), metrics)
        async with eureka.running():
            yield eureka
