"""Which instance of a service gets the next request."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit

from gateway.errors import NoInstance

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
    """Instances per service, used in turn. Service names are case-insensitive.

    ``static`` maps service names to base URLs. ``clock`` gives seconds.
    """

    def __init__(
        self,
        static: Mapping[str, Iterable[str]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._static: dict[str, tuple[UpstreamBase, ...]] = {}
        self._discovered: dict[str, tuple[UpstreamBase, ...]] = {}
        self._known: dict[str, tuple[UpstreamBase, ...]] = {}
        self._turns: dict[str, int] = {}
        self._ejected_until: dict[UpstreamBase, float] = {}
        self.replace(static or {})

    def replace(self, static: Mapping[str, Iterable[str]]) -> None:
        """Replaces the configured instances in one step; discovered instances stay. Raises ValueError for a bad base
        URL, and then changes nothing."""
        self._static = {
            service.lower(): tuple(dict.fromkeys(UpstreamBase.parse(url) for url in urls))
            for service, urls in static.items()
        }
        self._turns.clear()
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

    def known(self, service: str) -> tuple[UpstreamBase, ...]:
        """All instances of ``service``, each once, including ejected ones."""
        return self._known.get(service.lower(), ())

    def pick(self, service: str, tried: Collection[UpstreamBase] = ()) -> UpstreamBase:
        """The next instance in turn that is neither ejected nor in ``tried``.

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

    def connected(self, base: UpstreamBase) -> None:
        """``base`` accepted a connection, so it is no longer ejected."""
        if self._ejected_until:
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
        self._ejected_until[base] = now + EJECTION_SECONDS
