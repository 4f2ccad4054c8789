"""Who the client is, and what services are told about it: ``Forwarded``, ``X-Forwarded-*``, ``X-Real-IP``.

Pure. What a peer says about others counts only if the peer is a trusted proxy. The client is then the first
address from the right that is not trusted. What stands left of it is dropped, since no trusted proxy wrote it. Where a
trusted proxy names no address (``unknown``, a name, garbage), the client's address is ``unknown``: never the proxy's,
which rules for internal networks would let in. Empty members of a list count as absent (RFC 9110, 5.6.1).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final, NamedTuple

Network = IPv4Network | IPv6Network
RawHeaders = Iterable[tuple[bytes, bytes]]

WHOLE_CHAIN: Final = "chain"
ALL: Final = frozenset({"forwarded", "for", "host", "port", "proto", "prefix", WHOLE_CHAIN})
"""What services can be told: headers by their last word, and whether ``X-Forwarded-For`` has every address."""

_ADDRESSES_REMEMBERED = 4096
# From the right; no chain of proxies is longer, and a client can't make us look at more.
_HOPS_READ = 16
# One pair of one element, and what ends it: a semicolon, a comma, or the end. RFC 7239, section 4.
_FORWARDED_PAIR = re.compile(
    r'[ \t]*(?:([A-Za-z0-9!#$%&\'*+.^_`|~-]+)=("(?:[^"\\]|\\.)*"|[^\s";,]*))?[ \t]*([;,]|$)'
)
# A node as RFC 7239, section 6 has it: an IPv4 address, or an IPv6 one in brackets, with or without a port.
_NODE = re.compile(r"(?:\[([^\[\]]+)\]|([0-9.]+))(?::(?:[0-9]{1,5}|_[A-Za-z0-9._-]+))?")
_UNKNOWN = "unknown"
_SCHEMES = frozenset({"http", "https"})
_HOST = re.compile(r"[A-Za-z0-9._~%!$&'()*+=\-\[\]:]{1,255}")


class TrustedProxies:
    """The networks whose addresses are believed, and addresses of which ``trusts`` says so. Build it once: it remembers
    what it was asked."""

    def __init__(self, networks: Iterable[Network] = (), trusts: Callable[[str], bool] | None = None) -> None:
        self._networks = tuple(map(_unmapped, networks))
        self._says = trusts
        self._any = bool(self._networks) or trusts is not None
        self._trusts = lru_cache(maxsize=_ADDRESSES_REMEMBERED)(self._look_up)

    def __contains__(self, address: str) -> bool:
        return self._any and self._trusts(address)

    def _look_up(self, address: str) -> bool:
        parsed = _parse(address)
        if parsed is None:
            return False
        return any(parsed in network for network in self._networks) or (
            self._says is not None and self._says(str(parsed))
        )


class Origin(NamedTuple):
    """How the client reached the first proxy of the chain.

    ``address`` is an IP address in its usual form, or ``unknown``; ``host`` is what it put into ``Host``; ``chain``
    holds the addresses from the client to our peer.
    """

    address: str
    scheme: str
    host: str
    port: str
    chain: tuple[str, ...]


def origin(raw_headers: RawHeaders, *, peer: str, scheme: str, host: str, trusted: TrustedProxies) -> Origin:
    """Tell where a request came from. ``scheme`` and ``host`` are those of the connection to us."""
    if peer not in trusted:
        return _direct(peer, scheme, host)
    said = _said(raw_headers)
    claims = said["for"]
    chain = [_usual(peer)]
    while claims and chain[-1] in trusted:
        chain.append(_address(claims.pop()))
    hops = len(chain) - 1
    scheme = _vouched(said["proto"], hops, scheme).lower()
    asked = _vouched(said["host"], hops, host)
    port = _vouched(said["port"], hops, "")
    direct = _direct(
        chain[-1], scheme if scheme in _SCHEMES else "http", asked if _HOST.fullmatch(asked) else host
    )
    chain.reverse()
    return direct._replace(chain=tuple(chain), port=port if _is_port(port) else direct.port)


@lru_cache(maxsize=1024)
def forwarded_headers(seen: Origin, told: frozenset[str] = ALL) -> tuple[tuple[bytes, bytes], ...]:
    """Say to a service what is known about the client, in both the standard and the usual way, as far as it is to be
    ``told``."""
    node = f'"[{seen.address}]"' if ":" in seen.address else seen.address
    forwarded = f"proto={seen.scheme};{_quoted_host(seen.host)}for={node}"
    chain = seen.chain if WHOLE_CHAIN in told else seen.chain[-1:]
    said = [
        ("forwarded", "Forwarded", forwarded),
        ("for", "X-Forwarded-For", ", ".join(chain)),
        ("proto", "X-Forwarded-Proto", seen.scheme),
        ("port", "X-Forwarded-Port", seen.port),
        ("", "X-Real-IP", seen.address),
    ]
    if seen.host:
        said.append(("host", "X-Forwarded-Host", seen.host))
    return tuple(
        (name.encode(), value.encode("utf-8", "surrogateescape"))
        for word, name, value in said
        if not word or word in told
    )


def _quoted_host(host: str) -> str:
    return f'host="{host}";' if _HOST.fullmatch(host) else ""


@lru_cache(maxsize=1024)
def _direct(address: str, scheme: str, host: str) -> Origin:
    port = host.rpartition(":")[2]
    if not _is_port(port) or host.endswith("]"):
        port = "443" if scheme == "https" else "80"
    address = _usual(address)
    return Origin(address, scheme, host, port, (address,))


def _said(raw_headers: RawHeaders) -> dict[str, list[str]]:
    """What the trusted peer says, per fact, nearest hop last. ``Forwarded`` counts where X-Forwarded-For
    is missing: a proxy sets one of them and may let the other through from its client."""
    said: dict[str, list[str]] = {"for": [], "proto": [], "host": [], "port": []}
    standard: dict[str, list[str]] = {"for": [], "proto": [], "host": [], "port": []}
    usual = False
    for name, value in raw_headers:
        lowered = name.lower()
        if lowered == b"forwarded":
            for element in _elements(value.decode("latin-1")):
                # A fact that an element leaves out must not let that of another hop move into its place.
                for key in ("for", "proto", "host"):
                    standard[key].append(element.get(key, ""))
        elif lowered.startswith(b"x-forwarded-"):
            key = lowered[12:].decode("latin-1")
            if key in said:
                usual = usual or key == "for"
                items = (item.strip(" \t") for item in value.decode("latin-1").split(","))
                said[key] += filter(None, items)
    if not any(standard["for"]):
        standard["for"] = []  # the proxies tell other things than addresses
    return said if usual or not (standard["for"] or standard["proto"] or standard["host"]) else standard


def _elements(value: str) -> list[dict[str, str]]:
    """The elements of one ``Forwarded`` line, from the right as far as they can be read with certainty: whoever wrote
    the left part may have left a quote open. Of a line that can't be read at all, one element that names no address."""
    commas = [at + 1 for at, character in enumerate(value) if character == ","]
    for start in (0, *commas[-_HOPS_READ:]):
        elements = _all_elements(value[start:])
        if elements is not None:
            return [element for element in elements if element]
    return [{"for": _UNKNOWN}]


def _all_elements(value: str) -> list[dict[str, str]] | None:
    elements: list[dict[str, str]] = [{}]
    at = 0
    while at <= len(value):
        pair = _FORWARDED_PAIR.match(value, at)
        if pair is None:
            return None
        name, content, end = pair.groups()
        if name is not None:
            elements[-1].setdefault(name.lower(), content.strip('"'))
        if not end:
            break
        if end == ",":
            elements.append({})
        at = pair.end()
    return elements


def _vouched(values: Sequence[str], hops: int, otherwise: str) -> str:
    """The value as far from the right as the client is, or the leftmost where fewer proxies spoke."""
    if not values or not hops:
        return values[-1] if values else otherwise
    return values[max(len(values) - hops, 0)] or otherwise


def _unmapped(network: Network) -> Network:
    """An IPv4 network written as IPv6 (``::ffff:10.0.0.0/104``) as the IPv4 one: so addresses are compared, too."""
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is None or network.prefixlen < 96:
        return network
    return IPv4Network((mapped, network.prefixlen - 96))


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5


def _address(text: str) -> str:
    """Read one hop: an address, perhaps with a port, an IPv6 one in brackets then. ``unknown`` if it is none."""
    text = text.strip('"')
    node = _NODE.fullmatch(text)
    return _usual(text if node is None else node[1] or node[2])


def _usual(address: str) -> str:
    parsed = _parse(address)
    return _UNKNOWN if parsed is None else str(parsed)


@lru_cache(maxsize=_ADDRESSES_REMEMBERED)
def _parse(address: str) -> IPv4Address | IPv6Address | None:
    bare, _, _zone = address.partition("%")
    try:
        # A zone is part of an IPv6 address and means something to the machine that wrote it alone.
        parsed = ip_address(bare if ":" in bare else address)
    except ValueError:
        return None
    return (parsed.ipv4_mapped or parsed) if isinstance(parsed, IPv6Address) else parsed
