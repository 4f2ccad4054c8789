"""Which instance of a service gets the next request."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Protocol

from gateway.errors import NoInstance
from gateway.proxy.ejections import EJECTION_SECONDS, Ejections, FailureCount
from gateway.proxy.service_balancer import ServiceBalancer
from gateway.proxy.service_report import InstanceReport, ServiceReport
from gateway.proxy.upstream import UpstreamBase
from gateway.resilience.services import ServicePolicy

_log = logging.getLogger(__name__)

Addressed = str | UpstreamBase
"""Where a request is to go: the name of a service, or an instance of none."""


class InstanceObserver(Protocol):
    """Is told what becomes of instances."""

    def ejected(self, service: str, /) -> None:
        """An instance of this service is left out because it has failed."""

    def health_changed(self, service: str, healthy: bool, /) -> None:
        """The health checks of an instance of this service have changed their result."""


class _NullObserver:
    """No-op."""

    def ejected(self, service: str, /) -> None: ...
    def health_changed(self, service: str, healthy: bool, /) -> None: ...


class Instances:
    """Instances per service, used in turn or as the service's policy says. Service names are case-insensitive.

    ``static`` maps service names to base URLs. A name that has been looked up counts as one instance for each of its
    addresses; so does the host of a route that names no service. ``clock`` gives seconds. ``load``: how many requests
    each instance has at the moment; those without any may be missing.
    """

    def __init__(
        self,
        static: Mapping[str, Iterable[str]] | None = None,
        clock: Callable[[], float] = time.monotonic,
        load: Mapping[UpstreamBase, int] | None = None,
        observer: InstanceObserver | None = None,
    ) -> None:
        self._clock = clock
        self._observer: InstanceObserver = observer or _NullObserver()
        self._load = {} if load is None else load
        self._balancers: dict[str, ServiceBalancer] = {}
        """Of the services that have a policy."""
        self._failures: dict[UpstreamBase, FailureCount] = {}
        """Of instances whose services leave out those that fail."""
        self._ejections = Ejections(clock)
        self._ejected = self._ejections.until
        self._static: dict[str, tuple[UpstreamBase, ...]] = {}
        self._discovered: dict[str, tuple[UpstreamBase, ...]] = {}
        self._hosts: frozenset[UpstreamBase] = frozenset()
        """The hosts of routes that name no service."""
        self._addresses: dict[UpstreamBase, tuple[str, ...]] = {}
        """Of instances with a name that has been looked up."""
        self._known: dict[Addressed, tuple[UpstreamBase, ...]] = {}
        self._turns: dict[Addressed, int] = {}
        self._listeners: list[Callable[[], None]] = []
        self.replace(static or {})

    # -- which instances there are ---------------------------------------------------------------------------

    def replace(
        self,
        static: Mapping[str, Iterable[str]],
        policies: Mapping[str, ServicePolicy] | None = None,
        hosts: Iterable[UpstreamBase] = (),
    ) -> None:
        """Replaces the configured instances, the policies of services, and the ``hosts`` of routes that name no
        service, in one step; discovered instances stay. Raises ValueError for a bad base URL, and then changes
        nothing."""
        parsed = {
            service.lower(): tuple(dict.fromkeys(UpstreamBase.parse(url) for url in urls))
            for service, urls in static.items()
        }
        made = {name.lower(): ServiceBalancer(policy) for name, policy in (policies or {}).items()}
        balancers = {service: self._balancers.get(service, new) for service, new in made.items()}
        for service, balancer in balancers.items():
            balancer.set_policy(made[service].policy)
        # Each is replaced as a whole: a report in another thread may be reading it.
        self._static, self._balancers = parsed, balancers
        self._hosts = frozenset(host for host in hosts if host.has_name)
        self._turns.clear()
        names = self.names()
        self._addresses = {base: known for base, known in self._addresses.items() if base in names}
        self._merge()

    def discover(self, found: Mapping[str, Iterable[UpstreamBase]]) -> None:
        """Replaces the instances from the registry, which are added to the configured ones. Ejected instances stay
        ejected."""
        self._discovered = {service.lower(): tuple(bases) for service, bases in found.items()}
        self._merge()
        for service in self._turns.keys() - self._known.keys():
            del self._turns[service]

    def names(self) -> frozenset[UpstreamBase]:
        """The configured instances whose names have to be looked up, without addresses."""
        return self._hosts.union(base for bases in self._static.values() for base in bases if base.has_name)

    def set_addresses(self, base: UpstreamBase, addresses: tuple[str, ...]) -> None:
        """The addresses of one of ``names`` from now on, at least one. Those that it had and has no more get no further
        requests; requests that are under way there go on."""
        if self._addresses.get(base) != addresses and base in self.names():
            self._addresses[base] = addresses
            self._merge()

    def on_change(self, listener: Callable[[], None]) -> None:
        """Calls ``listener`` whenever instances or policies may have changed."""
        self._listeners.append(listener)

    def _merge(self) -> None:
        """Merges everything in advance, because every request looks a service up."""
        self._known = {
            service: tuple(
                dict.fromkeys(
                    (*self._expanded(self._static.get(service, ())), *self._discovered.get(service, ()))
                )
            )
            for service in (*self._static, *self._discovered)
        }
        self._known |= {host: self._expanded((host,)) for host in self._hosts if host in self._addresses}
        before, self._failures = self._failures, {}
        for service, balancer in self._balancers.items():
            bases = self.known(service)
            balancer.set_members(bases, self._clock())
            if balancer.policy.eject is not None:
                for base in bases:
                    count = self._failures[base] = before.get(base) or FailureCount()
                    count.service, count.policy = service, balancer.policy.eject
        for listener in self._listeners:
            listener()

    def _expanded(self, bases: Iterable[UpstreamBase]) -> tuple[UpstreamBase, ...]:
        return tuple(
            each
            for base in bases
            for each in ([base._replace(address=one) for one in self._addresses.get(base, ())] or [base])
        )

    def known(self, service: Addressed) -> tuple[UpstreamBase, ...]:
        """All instances of ``service``, each once, including ejected and unhealthy ones."""
        if isinstance(service, str):
            return self._known.get(service.lower(), ())
        return self._known.get(service) or (service,)

    def balancers(self) -> Mapping[str, ServiceBalancer]:
        """The services that have a policy, by name in lower case."""
        return self._balancers

    # -- which is next ---------------------------------------------------------------------------------------

    def pick(self, service: Addressed, tried: Collection[UpstreamBase] = (), key: str = "") -> UpstreamBase:
        """The next instance in turn that is not in ``tried``, not ejected, and healthy as far as checks know. ``key``:
        requests with the same key get the same instance, if the service's policy says so.

        If all untried instances are ejected, returns the one whose time ends first: trying it costs little, and it may
        work again. If none is healthy, health decides nothing. Raises NoInstance if there is none left to try.
        """
        bases = self._known.get(service) or self.known(service)
        if tried:
            bases = tuple(base for base in bases if base not in tried)
        if not bases:
            raise NoInstance(service if isinstance(service, str) else str(service))
        if len(bases) == 1:
            return bases[0]
        balancer = None
        if self._balancers and isinstance(service, str):
            balancer = self._balancers.get(service) or self._balancers.get(service.lower())
        if balancer is None:
            turn = self._turns.get(service, 0)
            self._turns[service] = turn + 1
            if not self._ejected:
                return bases[turn % len(bases)]
            return self._ejections.choose(bases, lambda usable: usable[turn % len(usable)])
        now = self._clock()
        if not self._ejected:
            return balancer.choose(bases, key, self._load, now)
        return self._ejections.choose(bases, lambda usable: balancer.choose(usable, key, self._load, now))

    # -- what became of requests and checks ------------------------------------------------------------------

    def answered(self, base: UpstreamBase, status: int) -> None:
        """``base`` sent the head of an answer. One of 500 or above is a failure, for services that leave out instances
        which fail."""
        count = self._failures.get(base)
        if count is None:
            return
        if status >= 500:
            self._count_failure(base, count, f"the last with status {status}")
        else:
            count.succeeded(self._clock())

    def failed(self, base: UpstreamBase) -> None:
        """``base`` gave no answer."""
        count = self._failures.get(base)
        if count is not None:
            self._count_failure(base, count, "the last without an answer")

    def _count_failure(self, base: UpstreamBase, count: FailureCount, last: str) -> None:
        now = self._clock()
        if not count.failed(now):
            return
        known = self.known(count.service)
        out = sum(1 for each in known if each in self._failures and self._failures[each].until > now)
        if out >= count.policy.most_ejected(len(known)):
            return
        seconds = count.eject(now)
        self._ejections.add(base, count.until, f"{count.policy.failures} failures in a row")
        _log.warning(
            "%s of %s is left out for %g s: %d failures in a row, %s",
            base,
            count.service,
            seconds,
            count.policy.failures,
            last,
        )
        self._observer.ejected(count.service)

    def connected(self, base: UpstreamBase) -> None:
        """``base`` accepted a connection, so it is no longer ejected, unless it has failed in other ways."""
        if self._ejected:
            count = self._failures.get(base)
            now = self._clock()
            if (count is None or count.until <= now) and self._ejections.end(base):
                for balancer in self._balancers.values():
                    balancer.warm_up(base, now)

    def eject(self, base: UpstreamBase) -> None:
        """Leaves ``base`` out for a few seconds, because it accepted no connection."""
        if base not in self._ejected:
            _log.warning(
                "%s takes no connection: one request every %g s tries it again", base, EJECTION_SECONDS
            )
        self._ejections.add(base, self._clock() + EJECTION_SECONDS, "it took no connection")

    def checked(self, service: str, base: UpstreamBase, problem: str) -> None:
        """A health check has ended. ``problem``: why it failed; empty if it passed."""
        balancer = self._balancers.get(service)
        if balancer is None:
            return
        if not problem:
            self.connected(base)
        instance, none_healthy = balancer.checks.get(base), balancer.none_healthy
        before, since = (None, 0.0) if instance is None else (instance.healthy, instance.since)
        now = self._clock()
        if instance is None or not balancer.checked(base, problem, now):
            return
        self._observer.health_changed(service, not problem)
        for_long = "" if before is None else f", after {now - since:.1f} s"
        if problem:
            _log.warning("%s of %s is unhealthy%s: %s", base, service, for_long, problem)
        else:
            _log.info("%s of %s is healthy%s", base, service, for_long)
        if balancer.none_healthy:
            if before:
                _log.warning("no instance of %s is healthy, so all of them get requests", service)
        elif none_healthy and before is False:
            _log.info("%s has a healthy instance again: unhealthy ones get no requests", service)

    # -- what operators see ----------------------------------------------------------------------------------

    def report(self) -> list[ServiceReport]:
        """Every service that is configured, with its instances as they are now. May be called from another thread."""
        names = sorted({*self._static, *self._balancers})
        return [self._report_of(name) for name in names]

    def _report_of(self, service: str) -> ServiceReport:
        balancer, now = self._balancers.get(service), self._clock()
        instances = []
        for base in self.known(service):
            check = None if balancer is None else balancer.checks.get(base)
            state, since, reason = "healthy", None, ""
            if check is not None:
                state = {None: "unknown", True: "healthy", False: "unhealthy"}[check.healthy]
                since, reason = now - check.since, check.reason
            ejection = self._ejections.of(base)
            if ejection is not None:
                state, since, reason = "ejected", now - ejection.since, ejection.reason
            share = 1.0 if balancer is None else balancer.share(base, now)
            instances.append(
                InstanceReport(
                    str(base.configured), base.address, state, since, reason, share, self._load.get(base, 0)
                )
            )
        return ServiceReport(service, tuple(instances))
