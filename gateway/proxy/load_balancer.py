"""Which instance of a service gets the next request."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit

from gateway.errors import NoInstance
from gateway.resilience.services import EjectPolicy, ServicePolicy, hash_score

_log = logging.getLogger(__name__)

_DEFAULT_PORTS = {"http": 80, "https": 443}


class UpstreamBase(NamedTuple):
    """Where requests go: ``http`` or ``https``, a host name or address (IPv6 without brackets), a port.

    A named tuple, because it is hashed several times per request.
    """

    scheme: str
    host: str
    port: int

    @classmethod
    def parse(cls, url: str) -> UpstreamBase:
        """Reads ``http://host:port``. A path is ignored, as in a route's ``uri``.

        Raises ValueError for another scheme, no host, a bad port, or credentials.
        """
        parts = urlsplit(url)
        if parts.scheme not in _DEFAULT_PORTS:
            raise ValueError(f"not http:// or https://: {url!r}")
        if not parts.hostname or parts.username is not None or parts.password is not None:
            raise ValueError(f"not scheme://host:port: {url!r}")
        port = parts.port
        return cls(parts.scheme, parts.hostname, _DEFAULT_PORTS[parts.scheme] if port is None else port)

    @property
    def authority(self) -> bytes:
        """The ``Host`` header for this instance; the scheme's default port is left out."""
        return _authority(self)

    def __str__(self) -> str:
        return f"{self.scheme}://{_authority(self).decode()}"


@lru_cache(maxsize=1024)
def _authority(base: UpstreamBase) -> bytes:
    host = f"[{base.host}]" if ":" in base.host else base.host
    if base.port != _DEFAULT_PORTS.get(base.scheme):
        host = f"{host}:{base.port}"
    return host.encode("idna" if not host.isascii() else "ascii")


# Long enough that not every request tries a restarting service, short enough that its return is noticed soon.
EJECTION_SECONDS = 5.0
EJECTION_MEMORY_SECONDS = 60.0


class Instances:
    """Instances per service, used in turn or as the service's policy says. Service names are case-insensitive.

    ``static`` maps service names to base URLs. ``clock`` gives seconds. ``load``: how many requests each instance has
    at the moment; those without any may be missing. ``on_ejected`` is called with the service of which an instance is
    left out because it has failed.
    """

    def __init__(
        self,
        static: Mapping[str, Iterable[str]] | None = None,
        clock: Callable[[], float] = time.monotonic,
        load: Mapping[UpstreamBase, int] | None = None,
        on_ejected: Callable[[str], None] = lambda service: None,
    ) -> None:
        self._clock = clock
        self._on_ejected = on_ejected
        self._load = {} if load is None else load
        self._policies: dict[str, _Balanced] = {}
        self._watched: dict[UpstreamBase, _Watch] = {}
        """What is known of instances whose services leave out those that fail."""
        self._static: dict[str, tuple[UpstreamBase, ...]] = {}
        self._discovered: dict[str, tuple[UpstreamBase, ...]] = {}
        self._known: dict[str, tuple[UpstreamBase, ...]] = {}
        self._turns: dict[str, int] = {}
        self._ejected_until: dict[UpstreamBase, float] = {}
        self.replace(static or {})

    def replace(
        self, static: Mapping[str, Iterable[str]], policies: Mapping[str, ServicePolicy] | None = None
    ) -> None:
        """Replaces the configured instances and the policies of services in one step; discovered instances stay. Raises
        ValueError for a bad base URL, and then changes nothing."""
        self._static = {
            service.lower(): tuple(dict.fromkeys(UpstreamBase.parse(url) for url in urls))
            for service, urls in static.items()
        }
        self._turns.clear()
        self._policies = {name.lower(): _Balanced(policy) for name, policy in (policies or {}).items()}
        self._merge()

    def discover(self, found: Mapping[str, Iterable[UpstreamBase]]) -> None:
        """Replaces the instances from the registry, which are added to the configured ones. Ejected instances stay
        ejected."""
        self._discovered = {service.lower(): tuple(bases) for service, bases in found.items()}
        for service in set(self._turns) - set(self._static) - set(self._discovered):
            del self._turns[service]
        self._merge()

    def _merge(self) -> None:
        """Merges both in advance, because every request looks a service up."""
        self._known = {
            service: tuple(
                dict.fromkeys((*self._static.get(service, ()), *self._discovered.get(service, ())))
            )
            for service in (*self._static, *self._discovered)
        }
        before = self._watched
        self._watched = {}
        for service, balanced in self._policies.items():
            if balanced.policy.eject is not None:
                for base in self.known(service):
                    watch = before.get(base) or _Watch()
                    watch.service, watch.policy = service, balanced.policy.eject
                    self._watched[base] = watch

    def known(self, service: str) -> tuple[UpstreamBase, ...]:
        """All instances of ``service``, each once, including ejected ones."""
        return self._known.get(service.lower(), ())

    def pick(self, service: str, tried: Collection[UpstreamBase] = (), key: str = "") -> UpstreamBase:
        """The next instance in turn that is neither ejected nor in ``tried``. ``key``: requests with the same key get
        the same instance, if the service's policy says so.

        If all untried instances are ejected, returns the one whose time ends first: trying it costs little, and it may
        work again. Raises NoInstance if there is none left to try.
        """
        bases = self._known.get(service) or self.known(service)
        if tried:
            bases = tuple(base for base in bases if base not in tried)
        if not bases:
            raise NoInstance(service)
        if len(bases) == 1:
            return bases[0]
        service = service.lower()
        balanced = self._policies.get(service)
        if balanced is not None:
            return self._pick_balanced(balanced, bases, key)
        turn = self._turns.get(service, 0)
        self._turns[service] = turn + 1
        if not self._ejected_until:
            return bases[turn % len(bases)]
        now = self._clock()
        ejected = self._ejected_until
        healthy = [base for base in bases if ejected.get(base, 0.0) <= now]
        if not healthy:
            return min(bases, key=lambda base: ejected[base])
        base = healthy[turn % len(healthy)]
        if base in ejected:
            # The instance's time is over. Only this request checks whether it works again: if the machine does not even
            # refuse the connection, each request that tries waits for the time-out.
            ejected[base] = now + EJECTION_SECONDS
        return base

    def _pick_balanced(self, balanced: _Balanced, bases: tuple[UpstreamBase, ...], key: str) -> UpstreamBase:
        now, ejected = self._clock(), self._ejected_until
        healthy = [base for base in bases if ejected.get(base, 0.0) <= now] if ejected else list(bases)
        if not healthy:
            return min(bases, key=lambda base: ejected[base])
        base = balanced.choose(healthy, key, self._load)
        if base in ejected:
            # As in ``pick``: only this request checks whether it works again.
            ejected[base] = now + EJECTION_SECONDS
        return base

    def answered(self, base: UpstreamBase, status: int) -> None:
        """``base`` sent the head of an answer. One of 500 or above is a failure, for services that leave out instances
        which fail."""
        watch = self._watched.get(base)
        if watch is None:
            return
        if status >= 500:
            self._failed(base, watch)
        else:
            watch.failures = 0
            if watch.times and self._clock() >= watch.until + watch.policy.seconds:
                watch.times = 0

    def failed(self, base: UpstreamBase) -> None:
        """``base`` gave no answer."""
        watch = self._watched.get(base)
        if watch is not None:
            self._failed(base, watch)

    def _failed(self, base: UpstreamBase, watch: _Watch) -> None:
        watch.failures += 1
        now = self._clock()
        if watch.failures < watch.policy.failures or watch.until > now:
            return
        known = self.known(watch.service)
        out = sum(1 for each in known if each in self._watched and self._watched[each].until > now)
        if out >= watch.policy.most_ejected(len(known)):
            return
        watch.until = now + watch.policy.ejection_seconds(watch.times)
        watch.times += 1
        watch.failures = 0
        self._ejected_until[base] = watch.until
        _log.warning(
            "an instance of %s is left out for %g s: %d failures in a row",
            watch.service,
            watch.until - now,
            watch.policy.failures,
        )
        self._on_ejected(watch.service)

    def connected(self, base: UpstreamBase) -> None:
        """``base`` accepted a connection, so it is no longer ejected, unless it has failed in other ways."""
        if self._ejected_until:
            watch = self._watched.get(base)
            if watch is None or watch.until <= self._clock():
                self._ejected_until.pop(base, None)

    def eject(self, base: UpstreamBase) -> None:
        """Leaves ``base`` out for a few seconds, because it accepted no connection."""
        now = self._clock()
        # Dropping old entries limits this to the instances that failed in the last minute or so.
        self._ejected_until = {
            other: until
            for other, until in self._ejected_until.items()
            if until > now - EJECTION_MEMORY_SECONDS
        }
        self._ejected_until[base] = max(now + EJECTION_SECONDS, self._ejected_until.get(base, 0.0))


class _Watch:
    """What is known of an instance that is left out when it fails."""

    __slots__ = ("failures", "policy", "service", "times", "until")

    def __init__(self) -> None:
        self.service = ""
        self.policy = EjectPolicy()
        self.failures = 0
        """Failures in a row."""
        self.times = 0
        """How often it has been left out in a row."""
        self.until = 0.0


class _Balanced:
    """A service with a policy of its own."""

    def __init__(self, policy: ServicePolicy) -> None:
        self.policy = policy
        self._weights = {UpstreamBase.parse(url): weight for url, weight in policy.weights.items()}
        self._credit: dict[UpstreamBase, int] = {}

    def choose(
        self, bases: Sequence[UpstreamBase], key: str, load: Mapping[UpstreamBase, int]
    ) -> UpstreamBase:
        """One of ``bases``, of which there is at least one."""
        balance, weights = self.policy.balance, self._weights
        if balance == "hash" and key:
            return max(bases, key=lambda base: hash_score(key, str(base), weights.get(base, 1)))
        if balance == "least-requests":
            least = min((load.get(base, 0) + 1) / weights.get(base, 1) for base in bases)
            bases = [base for base in bases if (load.get(base, 0) + 1) / weights.get(base, 1) == least]
        return self._in_turn(bases)

    def _in_turn(self, bases: Sequence[UpstreamBase]) -> UpstreamBase:
        """Smooth weighted round robin, as in NGINX: each gets its weight as credit, and the one with the most pays for
        all."""
        credit, total = self._credit, 0
        for base in bases:
            weight = self._weights.get(base, 1)
            credit[base] = credit.get(base, 0) + weight
            total += weight
        chosen = max(bases, key=lambda base: credit[base])
        credit[chosen] -= total
        if len(credit) > 4 * len(bases) + 16:
            # Instances of a registry come and go.
            self._credit = {base: credit[base] for base in bases}
        return chosen
