"""The registry as this gateway knows it: the last good one, whatever happens to the servers. No I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from gateway.proxy.eureka.wire import UP, Instance, Listing
from gateway.proxy.upstream import UpstreamBase

LINGER_SECONDS: Final = 90.0
"""The lease that services have by default: whoever lives has sent a heartbeat by then, and was registered again."""

Services = Mapping[str, tuple[UpstreamBase, ...]]


class Registry:
    """Whole listings replace it, deltas change it. Times are seconds of any steady clock.

    A server that lost its memory says that nobody is there, until everybody has registered anew. So whoever is missing
    in a whole listing without having been seen to leave goes on getting requests for ``LINGER_SECONDS``.
    (One that does not live any more refuses connections, and is left out by the balancing at once.)
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Instance] = {}
        self._lingering: dict[tuple[str, str], tuple[Instance, float]] = {}
        self._services: Services | None = None

    def replace(self, listing: Listing, now: float, *, linger: bool = True) -> None:
        """Takes a whole listing. Without ``linger`` who is missing in it has left: for servers without deltas."""
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
        """Takes a delta, which may repeat what is known. Returns whether the registry is now as the server's: if not,
        something was missed and the whole listing is needed."""
        for instance in delta.instances:
            if instance.gone:
                self._known.pop(instance.key, None)
            else:
                self._known[instance.key] = instance
        if delta.instances or self._lingering:
            self._settle(delta.instances, now)
        return self.hash == delta.hash

    def _settle(self, told: Iterable[Instance], now: float) -> None:
        """Ends the lingering of whoever was heard of, whose address another one has now, or whose time is over."""
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
        """Eureka's own: how many instances have which status, such as ``DOWN_1_UP_4_``."""
        counts = Counter(instance.status for instance in self._known.values())
        return "".join(f"{status}_{count}_" for status, count in sorted(counts.items()))

    def services(self) -> Services:
        """Who is up, by the names of services in lower case, each address once and in a fixed order. The same object
        for as long as nothing was told."""
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
