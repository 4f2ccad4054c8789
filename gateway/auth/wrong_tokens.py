"""Counts wrong tokens by the client's address, in bounded memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from typing import Final

ALLOWED: Final = 10
"""Wrong tokens of one address within ``SECONDS`` that are answered with 401."""
SECONDS: Final = 60.0
MAX_ADDRESSES: Final = 4096
"""Addresses that are remembered. Beyond that, the one whose last wrong token is the oldest is forgotten."""


class WrongTokens:
    """Wrong tokens of the last minute. IPv6 addresses count by /64, because one client has that many."""

    def __init__(
        self,
        allowed: int = ALLOWED,
        seconds: float = SECONDS,
        max_addresses: int = MAX_ADDRESSES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._allowed = allowed
        self._seconds = seconds
        self._max_addresses = max_addresses
        self._clock = clock
        # The times of the last wrong tokens, at most ``allowed``; ordered by the last one.
        self._times: dict[str | int, tuple[float, ...]] = {}

    def __len__(self) -> int:
        return len(self._times)

    def seconds_left(self, address: str) -> float:
        """0, or the seconds until this address may send another one. Counts nothing."""
        now = self._clock()
        times = tuple(at for at in self._times.get(_client(address), ()) if at > now - self._seconds)
        return times[0] + self._seconds - now if len(times) >= self._allowed else 0.0

    def add(self, address: str) -> float:
        """Counts a wrong token. Returns 0, or the seconds until this address may send another one.

        A token that comes too early is not counted, so that a client which goes on does not prolong the time.
        """
        client = _client(address)
        now = self._clock()
        times = tuple(at for at in self._times.pop(client, ()) if at > now - self._seconds)
        early = len(times) >= self._allowed
        self._times[client] = times if early else (*times, now)
        if len(self._times) > self._max_addresses:
            del self._times[next(iter(self._times))]
        return times[0] + self._seconds - now if early else 0.0

    def take_back(self, address: str) -> None:
        """What was counted last for this address was none. ``add`` must have returned 0 for it."""
        client = _client(address)
        times = self._times.get(client, ())
        if len(times) > 1:
            self._times[client] = times[:-1]
        else:
            self._times.pop(client, None)


def _client(address: str) -> str | int:
    """The address without what a single client can choose."""
    try:
        parsed = ip_address(address)
    except ValueError:  # a socket without addresses
        return ""
    if isinstance(parsed, IPv6Address):
        mapped = parsed.ipv4_mapped
        return str(mapped) if mapped is not None else int(parsed) >> 64
    return str(parsed)
