"""Counts wrong tokens by the client's address, in bounded memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

ALLOWED: Final = 10
"""Wrong tokens of one address within ``SECONDS`` that are answered with 401."""
ALLOWED_OF_SITE: Final = 50
"""The same for a whole /48 of IPv6, which providers give to one customer: it holds 65,536 networks of /64."""
SECONDS: Final = 60.0
MAX_ADDRESSES: Final = 4096
"""Addresses that are remembered. Beyond that, the one whose last wrong token is the oldest is forgotten."""


class WrongTokens:
    """Wrong tokens of the last minute. IPv6 addresses count by /64, because one client has that many, and by /48."""

    def __init__(
        self,
        allowed: int = ALLOWED,
        seconds: float = SECONDS,
        max_addresses: int = MAX_ADDRESSES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clients = _Counts(allowed, seconds, max_addresses, clock)
        self._sites = _Counts(ALLOWED_OF_SITE, seconds, max_addresses, clock)

    def __len__(self) -> int:
        return len(self._clients)

    def seconds_left(self, address: str) -> float:
        """0, or the seconds until this address may send another one. Counts nothing."""
        client, site = _of(address)
        left = self._clients.seconds_left(client)
        return left if site is None else max(left, self._sites.seconds_left(site))

    def add(self, address: str) -> float:
        """Counts a wrong token. Returns 0, or the seconds until this address may send another one.

        A token that comes too early is not counted, so that a client which goes on does not prolong the time.
        """
        client, site = _of(address)
        wait = self._clients.add(client)
        if wait or site is None:
            return wait
        wait = self._sites.add(site)
        if wait:
            self._clients.take_back(client)
        return wait

    def take_back(self, address: str) -> None:
        """What was counted last for this address was none. ``add`` must have returned 0 for it."""
        client, site = _of(address)
        self._clients.take_back(client)
        if site is not None:
            self._sites.take_back(site)


class _Counts:
    """What happened within the last ``seconds``, at most ``allowed`` times for each key."""

    def __init__(self, allowed: int, seconds: float, max_keys: int, clock: Callable[[], float]) -> None:
        self._allowed = allowed
        self._seconds = seconds
        self._max_keys = max_keys
        self._clock = clock
        # The times of the last ones, at most ``allowed``; ordered by the last one.
        self._times: dict[Hashable, tuple[float, ...]] = {}

    def __len__(self) -> int:
        return len(self._times)

    def seconds_left(self, key: Hashable) -> float:
        now = self._clock()
        times = tuple(at for at in self._times.get(key, ()) if at > now - self._seconds)
        return times[0] + self._seconds - now if len(times) >= self._allowed else 0.0

    def add(self, key: Hashable) -> float:
        now = self._clock()
        times = tuple(at for at in self._times.pop(key, ()) if at > now - self._seconds)
        early = len(times) >= self._allowed
        self._times[key] = times if early else (*times, now)
        if len(self._times) > self._max_keys:
            del self._times[next(iter(self._times))]
        return times[0] + self._seconds - now if early else 0.0

    def take_back(self, key: Hashable) -> None:
        times = self._times.get(key, ())
        if len(times) > 1:
            self._times[key] = times[:-1]
        else:
            self._times.pop(key, None)


def _of(address: str) -> tuple[Hashable, Hashable | None]:
    """The address without what a single client can choose, and the site of an IPv6 address."""
    try:
        parsed: IPv4Address | IPv6Address = ip_address(address)
    except ValueError:  # a socket without addresses
        return "", None
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is None:
            return int(parsed) >> 64, int(parsed) >> 80
        parsed = parsed.ipv4_mapped
    return str(parsed), None
