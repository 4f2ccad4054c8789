"""Warns the operator about a nearby proxy whose ``X-Forwarded-*``, ``Forwarded`` and ``X-Real-IP`` are not trusted."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

from multidict import istr

from gateway.proxy.forwarded import Network, TrustedProxies

log = logging.getLogger(__name__)

FORWARDING_HEADERS: Final = tuple(
    map(istr, ("X-Forwarded-For", "Forwarded", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Real-IP"))
)
"""Every proxy that reports its clients sends one of these. ``istr``, because every request is searched for them."""

_ADDRESS_CACHE_SIZE: Final = 4096
_PRIVATE: Final = tuple(
    ip_network(network)
    for network in (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "fc00::/7",
        "fe80::/10",
        "::1/128",
    )
)
"""Networks from which no client on the internet can come. ``is_private`` includes others as well."""


class UntrustedProxies:
    """Warns once. A client on the internet that sends these headers has made them up, and is not worth a warning."""

    __slots__ = ("active",)

    def __init__(self) -> None:
        self.active = True
        """False once there was a warning, because further checks would find nothing new."""

    def check(self, peer: str, headers: Mapping[str, str], trusted: TrustedProxies) -> None:
        """Checks one request: the address it came from, and its headers."""
        if peer in trusted:
            return
        network = private_network(peer)
        if network is None:
            return
        for name in FORWARDING_HEADERS:
            if name in headers:
                break
        else:
            return
        sent = [name for name in FORWARDING_HEADERS if name in headers]
        self.active = False
        log.warning(
            "%s (private network %s) sends %s, which is not believed because TRUSTED_PROXIES does not hold this "
            "address: services and the access log take it for the client. If it is your proxy, set TRUSTED_PROXIES to "
            "its address or to the network of your proxies (TRUSTED_PROXIES=%s); if not, nothing is to be done. This "
            "is said once",
            peer,
            network,
            " and ".join(sent),
            peer,
        )


@lru_cache(maxsize=_ADDRESS_CACHE_SIZE)
def private_network(address: str) -> Network | None:
    """The private network that an address belongs to; None for public addresses and for text that is not an address."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    if isinstance(parsed, IPv6Address):
        parsed = parsed.ipv4_mapped or parsed
    return next((network for network in _PRIVATE if parsed in network), None)
