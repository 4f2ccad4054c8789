"""Which callers a room treats otherwise: by claims of their verified tokens, and by their addresses. Pure.

A header that a client can set decides nothing here: claims come from a token with a good signature, and addresses as
far as trusted proxies vouch for them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Claims = frozenset[tuple[str, str]]
"""Claims of one token, as ``gateway.auth.claims`` makes them."""

Network = IPv4Network | IPv6Network


@dataclass(frozen=True)
class ClaimRule:
    """A token matches if its ``claim`` is one of ``values``, or a list with one of them."""

    claim: str
    values: tuple[str, ...]

    @cached_property
    def _wanted(self) -> Claims:
        return frozenset((self.claim, value) for value in self.values)

    def matches(self, claims: Claims) -> bool:
        """Whether a token with these claims matches."""
        return not self._wanted.isdisjoint(claims)

    def __str__(self) -> str:
        return f"claim {self.claim} {' or '.join(self.values)}"


@dataclass(frozen=True)
class Bypass:
    """Callers who pass a room's gate without a place: by a claim, or by the network of the client."""

    name: str
    by_claim: ClaimRule | None = None
    networks: tuple[Network, ...] = ()

    def matches(self, claims: Claims, address: str) -> bool:
        """Whether a caller with these claims and this address passes."""
        if self.by_claim is not None:
            return self.by_claim.matches(claims)
        return bool(self.networks) and _is_within(self.networks, address)

    def __str__(self) -> str:
        return f"{self.name}: {self.by_claim or 'from ' + ', '.join(map(str, self.networks))}"


WHOLE_SHARE: Final = 10_000
"""Shares of lanes are in such parts."""
MAX_LANES: Final = 8
"""Lanes that a room may have beside lane ``default``: each costs every call of the room a little."""


@dataclass(frozen=True)
class Lane:
    """A line of its own within a room, with a ``share`` of its admissions in parts of ``WHOLE_SHARE``. ``by_claim``:
    whose it is."""

    name: str
    share: int
    by_claim: ClaimRule

    def __str__(self) -> str:
        return f"{self.name}: {self.share / WHOLE_SHARE:g} of the admissions, by {self.by_claim}"


def lane_of(lanes: Iterable[Lane], claims: Claims) -> str | None:
    """The name of the first lane that takes a caller with these claims; None if none does."""
    return next((lane.name for lane in lanes if lane.by_claim.matches(claims)), None)


def bypass_of(rules: Iterable[Bypass], claims: Claims, address: str) -> str | None:
    """The name of the first rule by which the caller passes; None if there is none. ``address`` is that of the client;
    an unknown one is in no network."""
    return next((rule.name for rule in rules if rule.matches(claims, address)), None)


def wanted_claims(rules: Iterable[ClaimRule]) -> dict[str, frozenset[str]]:
    """The values that rules ask for, by claim. Nothing else of a token need be kept."""
    found: dict[str, frozenset[str]] = {}
    for rule in rules:
        found[rule.claim] = found.get(rule.claim, frozenset()) | frozenset(rule.values)
    return found


def parse_network(text: str) -> Network | None:
    """A network, or an address as the network of one; None if the text is neither."""
    try:
        network = ip_network(text)
    except ValueError:
        return None
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is None or network.prefixlen < 96:
        return network
    return IPv4Network((mapped, network.prefixlen - 96))


def _is_within(networks: Iterable[Network], address: str) -> bool:
    parsed = _address(address)
    return parsed is not None and any(parsed in network for network in networks)


@lru_cache(maxsize=4096)
def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
