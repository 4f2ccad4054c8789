"""The registry of services in the gateway's memory, and the task that keeps it up to date.

The task fetches a whole listing first, then deltas as long as the hash agrees. If the servers fail, the last good
registry stays.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from types import MappingProxyType
from typing import Final, TypeVar

from gateway.background import background_task
from gateway.discovery.eureka.messages import UP, Instance, Listing, parse_listing
from gateway.discovery.eureka.transport import EurekaAway, EurekaResponse, EurekaServer, EurekaServers, pause
from gateway.observability.metrics import Metrics
from gateway.proxy.upstream import UpstreamBase

LINGER_SECONDS: Final = 90.0
"""The default lease. A service that is alive has sent a heartbeat by then, and has been registered again."""

Services = Mapping[str, tuple[UpstreamBase, ...]]


class InstanceRegistry:
    """The known instances. Whole listings replace them, deltas change them. Times are seconds of any monotonic clock.

    A server that has lost its memory lists no instances until all have registered again. So an instance that is missing
    in a whole listing, but was not seen to leave, keeps getting requests for ``LINGER_SECONDS``. (If it is dead, it
    refuses connections, and the load balancer leaves it out at once.)
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Instance] = {}
        self._lingering: dict[tuple[str, str], tuple[Instance, float]] = {}
        self._services: Services | None = None

    def replace(self, listing: Listing, now: float, *, linger: bool = True) -> None:
        """Applies a whole listing. Without ``linger``, for servers without deltas, an instance that is missing in it
        has left."""
        known = {instance.key: instance for instance in listing.instances if not instance.gone}
        if linger:
            for key, instance in self._known.items():
                if instance.status == UP:
                    self._lingering[key] = (instance, now + LINGER_SECONDS)
        else:
            self._lingering.clear()
        self._known = known
        self._settle(known.values(), now)

    def apply(self, delta: Listing, now: float) -> bool:
        """Applies a delta, which may repeat known changes. Returns whether the registry now equals the server's. If it
        does not, a change was missed and the whole listing is needed."""
        for instance in delta.instances:
            if instance.gone:
                self._known.pop(instance.key, None)
            else:
                self._known[instance.key] = instance
        if delta.instances or self._lingering:
            self._settle(delta.instances, now)
        return self.hash == delta.hash

    def _settle(self, told: Iterable[Instance], now: float) -> None:
        """Stops lingering for instances that were listed again, whose address another instance has now, or whose time
        is over."""
        self._services = None
        if not self._lingering:
            return
        keys = {instance.key for instance in told}
        taken = {instance.base for instance in self._known.values()}
        self._lingering = {
            key: (instance, until)
            for key, (instance, until) in self._lingering.items()
            if until > now and key not in keys and instance.base not in taken
        }

    @property
    def hash(self) -> str:
        """Eureka's hash: the number of instances by status, such as ``DOWN_1_UP_4_``."""
        counts = Counter(instance.status for instance in self._known.values())
        return "".join(f"{status}_{count}_" for status, count in sorted(counts.items()))

    def services(self) -> Services:
        """The addresses of UP instances by the service's name in lower case, each once and in a fixed order. Returns
        the same object until a listing or delta changes it."""
        if self._services is None:
            self._services = self._by_name()
        return self._services

    def _by_name(self) -> Services:
        found: dict[str, set[UpstreamBase]] = {}
        up = [instance for instance in self._known.values() if instance.status == UP]
        for instance in (*up, *(instance for instance, _ in self._lingering.values())):
            if instance.base is not None:
                for name in instance.names:
                    found.setdefault(name, set()).add(instance.base)
        return MappingProxyType({name: tuple(sorted(bases)) for name, bases in sorted(found.items())})


log = logging.getLogger(__name__)

T = TypeVar("T")

DELTA_SECONDS: Final = 120.0
"""After a longer silence the whole listing is fetched. Servers keep changes for three minutes; a later delta may lack
some, and the hash may agree all the same, because it only counts instances."""
FIRST_FETCH_SECONDS: Final = 2.0

_OK: Final = frozenset({200})
# 403 and 404 are the statuses of a server that is configured to send no deltas.
_OK_OR_NO_DELTAS: Final = frozenset({200, 403, 404})


class Fetcher:
    """Fetches every ``interval`` seconds and calls ``on_change`` with the services whenever they have changed.

    While no server answers, the last fetched registry stays.
    """

    def __init__(
        self,
        servers: EurekaServers,
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
        self._registry = InstanceRegistry()
        self._source: EurekaServer | None = None
        self._fetched_at = 0.0
        self._failures = 0
        self.services: Services = self._registry.services()

    @property
    def fresh(self) -> bool:
        """Whether the last fetch succeeded."""
        return self._source is not None and not self._failures

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Fetches until the block ends. Entering it waits for the first fetch, so that services are known before
        requests arrive. It does not wait long, so that the gateway starts even if Eureka is away."""
        tried = asyncio.Event()
        async with background_task(self._for_ever(tried), "eureka registry"):
            with suppress(TimeoutError):
                async with asyncio.timeout(FIRST_FETCH_SECONDS):
                    await tried.wait()
            yield

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
            # A delta from another server does not cover the changes since the last fetch from the previous one.
            if delta.content is not None and delta.server is self._source:
                agreed = await self._apply_and_notify(
                    partial(self._registry.apply, delta.content, self._clock())
                )
                if agreed:
                    self._fetched_at = self._clock()
                    return
        whole = await self._ask("fetch", "apps", _OK)
        if whole.content is not None:
            await self._apply_and_notify(
                partial(self._registry.replace, whole.content, self._clock(), linger=deltas)
            )
            self._source = whole.server
            self._fetched_at = self._clock()

    async def _ask(self, operation: str, path: str, statuses: frozenset[int]) -> EurekaResponse[Listing]:
        return await self._servers.ask(operation, "GET", path, statuses, read=parse_listing)

    async def _apply_and_notify(self, change: Callable[[], T]) -> T:
        """Runs ``change`` on the registry in a thread, because with thousands of instances it takes tens of
        milliseconds. Calls ``on_change`` if the services have changed. Returns what ``change`` returns."""

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
