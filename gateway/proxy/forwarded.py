"""Who the client is, and what services are told about it: ``Forwarded``, ``X-Forwarded-*``, ``X-Real-IP``.

Pure functions. What a peer says about others counts only if the peer is a trusted proxy. The client is the first
address from the right that is not trusted. The part left of it is dropped, because no trusted proxy wrote it. If a
trusted proxy names no address (``unknown``, a name, garbage, nothing), the client's address is ``unknown``. It is never
the proxy's address, which rules for internal networks would accept. Empty members of a list count as absent (RFC 9110,
5.6.1).

The address comes from ``X-Forwarded-For``, else from ``Forwarded``, else from ``X-Real-IP``. ``Forwarded`` is ignored
if there is an ``X-Forwarded-For``: a proxy sets one of them and may pass the other on from its client. The amount that
is read is limited, because clients write the left part of all these headers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final, NamedTuple

Network = IPv4Network | IPv6Network
RawHeaders = Iterable[tuple[bytes, bytes]]
Report = tuple[tuple[str, bytes], ...]
"""The lines that name an origin, in their order: the field that each is, and its value."""

WHOLE_CHAIN: Final = "chain"
ALL_FIELDS: Final = frozenset({"forwarded", "for", "host", "port", "proto", "prefix", WHOLE_CHAIN})
"""What services can be told: headers by their last word, and whether ``X-Forwarded-For`` has every address."""

_ADDRESS_CACHE_SIZE = 4096
_ORIGIN_CACHE_SIZE = 1024
# Longer reports are read anew each time, so that clients can't fill the cache with long texts.
_MAX_CACHED_REPORT_BYTES = 256
# From the right. No real chain of proxies is longer, and a client can't cause more work.
_MAX_HOPS = 16
# Also limited: characters of all lines of ``Forwarded`` together, and of one address.
_MAX_FORWARDED_CHARS = 2048
_MAX_NODE_LENGTH = 128
# A pair of an element as in RFC 7239, section 4, or nothing; and an element with its terminator. Possessive, so that
# each character of a text is read at most once.
_NAME_CHAR = r"[A-Za-z0-9!#$%&'*+.^_`|~-]"
_NAME, _VALUE = f"{_NAME_CHAR}++", r'"(?:[^"\\]++|\\.)*+"|[^\s";,]*+'
_PAIR = re.compile(f"(?<!{_NAME_CHAR})({_NAME})=({_VALUE})")
_OPTIONAL = rf"[ \t]*+(?:{_NAME}=(?:{_VALUE}))?+[ \t]*+"
_ELEMENT = re.compile(rf"(?:{_OPTIONAL};)*+{_OPTIONAL}(,|\Z)")
# A node as in RFC 7239, section 6: an IPv4 address, or an IPv6 one in brackets, with or without a port.
_NODE = re.compile(r"(?:\[([^\[\]]+)\]|([0-9.]+))(?::(?:[0-9]{1,5}|_[A-Za-z0-9._-]+))?")
_UNKNOWN = "unknown"
# Some proxies use the schemes of WebSockets in their handshakes.
_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
_FIELD_OF_HEADER = {
    b"forwarded": "forwarded",
    b"x-forwarded-for": "for",
    b"x-forwarded-proto": "proto",
    b"x-forwarded-host": "host",
    b"x-forwarded-port": "port",
    b"x-real-ip": "real",
}
_HOST = re.compile(r"[A-Za-z0-9._~%!$&'()*+=\-\[\]:]{1,255}")


class TrustedProxies:
    """The networks of trusted proxies, and further addresses that ``trusts`` accepts. Create it once, because it caches
    its results."""

    def __init__(self, networks: Iterable[Network] = (), trusts: Callable[[str], bool] | None = None) -> None:
        self._networks = tuple(map(_unmapped, networks))
        self._extra_trust = trusts
        self._any = bool(self._networks) or trusts is not None
        self._trusts = lru_cache(maxsize=_ADDRESS_CACHE_SIZE)(self._look_up)
        self._origins = lru_cache(maxsize=_ORIGIN_CACHE_SIZE)(self._read_origin)

    def __contains__(self, address: str) -> bool:
        return self._any and self._trusts(address)

    def _look_up(self, address: str) -> bool:
        parsed = _parse(address)
        if parsed is None:
            return False
        return any(parsed in network for network in self._networks) or (
            self._extra_trust is not None and self._extra_trust(str(parsed))
        )

    def origin_by(self, report: Report, peer: str, scheme: str, host: str) -> Origin:
        """What the trusted ``peer`` reports of a request's origin. Equal reports have equal origins, so the usual ones
        are read once."""
        length = len(host)
        for _, value in report:
            length += len(value)
        read = self._origins if length <= _MAX_CACHED_REPORT_BYTES else self._read_origin
        return read(report, peer, scheme, host)

    def _read_origin(self, report: Report, peer: str, scheme: str, host: str) -> Origin:
        reported = _read_report(report)
        claims = reported["for"]
        chain = [_canonical_address(peer)]
        while claims and chain[-1] in self:
            chain.append(_address(claims.pop()))
        hops = len(chain) - 1
        scheme = _vouched_value(reported["proto"], hops, scheme).lower()
        asked = _vouched_value(reported["host"], hops, host)
        port = _vouched_value(reported["port"], hops, "")
        asked = asked if _HOST.fullmatch(asked) else host
        direct = direct_origin(chain[-1], _SCHEMES.get(scheme, "http"), asked)
        chain.reverse()
        return direct._replace(chain=tuple(chain), port=port if _is_port(port) else direct.port)


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
    """Determines where a request came from. ``scheme`` and ``host`` are those of the connection to the gateway."""
    if peer not in trusted:
        return direct_origin(peer, scheme, host)
    report = _report_in(raw_headers)
    return trusted.origin_by(report, peer, scheme, host) if report else direct_origin(peer, scheme, host)


@lru_cache(maxsize=1024)
def forwarded_headers(
    client_origin: Origin, forwarded_fields: frozenset[str] = ALL_FIELDS
) -> tuple[tuple[bytes, bytes], ...]:
    """The headers that tell a service about the client, in both the standard and the usual form. ``forwarded_fields``
    selects what they tell."""
    node = f'"[{client_origin.address}]"' if ":" in client_origin.address else client_origin.address
    forwarded = f"proto={client_origin.scheme};{_quoted_host(client_origin.host)}for={node}"
    chain = client_origin.chain if WHOLE_CHAIN in forwarded_fields else client_origin.chain[-1:]
    reported = [
        ("forwarded", "Forwarded", forwarded),
        ("for", "X-Forwarded-For", ", ".join(chain)),
        ("proto", "X-Forwarded-Proto", client_origin.scheme),
        ("port", "X-Forwarded-Port", client_origin.port),
        ("", "X-Real-IP", client_origin.address),
    ]
    if client_origin.host:
        reported.append(("host", "X-Forwarded-Host", client_origin.host))
    return tuple(
        (name.encode(), value.encode("utf-8", "surrogateescape"))
        for word, name, value in reported
        if not word or word in forwarded_fields
    )


def _quoted_host(host: str) -> str:
    return f'host="{host}";' if _HOST.fullmatch(host) else ""


@lru_cache(maxsize=1024)
def direct_origin(address: str, scheme: str, host: str) -> Origin:
    """Where a request came from, by its connection alone, without information from proxies."""
    port = host.rpartition(":")[2]
    if not _is_port(port) or host.endswith("]"):
        port = "443" if scheme == "https" else "80"
    address = _canonical_address(address)
    return Origin(address, scheme, host, port, (address,))


def _report_in(raw_headers: RawHeaders) -> Report:
    field_of = _FIELD_OF_HEADER.get
    found = []
    for name, value in raw_headers:
        field = field_of(name.lower())
        if field is not None:
            found.append((field, value))
    return tuple(found)


def _read_report(report: Report) -> dict[str, list[str]]:
    """What the trusted peer says, per fact, nearest hop last."""
    lines: dict[str, list[bytes]] = {}
    for field, value in report:
        lines.setdefault(field, []).append(value)
    reported = {
        field: _members(lines[field])[0] if field in lines else [] for field in ("proto", "host", "port")
    }
    if "for" in lines:
        addresses, more = _members(lines["for"])
        reported["for"] = [_UNKNOWN, *addresses] if more or not addresses else addresses
    elif "forwarded" in lines:
        elements = _elements(lines["forwarded"])
        # If an element leaves a fact out, the fact of another hop must not take its place.
        for field in ("proto", "host"):
            if field not in lines:
                reported[field] = [element.get(field, "") for element in elements]
        addresses = [element.get("for", "") for element in elements]
        # Proxies may send other facts than addresses.
        reported["for"] = addresses if any(addresses) else [] if elements else [_UNKNOWN]
    elif "real" in lines:
        real = [line.decode("latin-1").strip(" \t") for line in lines["real"]]
        one = real[0] if len(real) == 1 and len(real[0]) <= _MAX_NODE_LENGTH else ""
        # Only a bare address counts: this header never has a node in brackets or with a port.
        reported["for"] = [_canonical_address(one)]
    else:
        reported["for"] = []
    return reported


def _members(lines: Sequence[bytes]) -> tuple[list[str], bool]:
    """The members of a list, up to the limit, and whether there are more to the left."""
    parts = b",".join(lines).decode("latin-1").rsplit(",", _MAX_HOPS)
    members = [member for part in parts[-_MAX_HOPS:] if (member := part.strip(" \t"))]
    return members, len(parts) > _MAX_HOPS


def _elements(lines: Sequence[bytes]) -> list[dict[str, str]]:
    """The elements of ``Forwarded``, from the right as far as they can be read with certainty: the author of the left
    part may have left a quote open. One element without an address stands for the part that can't be, or is not,
    read."""
    text = b",".join(lines).decode("latin-1")
    floor = max(len(text) - _MAX_FORWARDED_CHARS, 0)
    starts: list[int] = []
    at = text.rfind(",", floor)
    while at >= 0 and len(starts) < _MAX_HOPS:
        starts.append(at + 1)
        at = text.rfind(",", floor, at)
    if at < 0 and not floor:
        starts.append(0)
    # Start of each element from which everything to the right can be read → start of the next one; None for the last.
    ends: dict[int, int | None] = {}
    for start in starts:
        element = _ELEMENT.match(text, start)
        if element is None:
            continue
        if not element[1]:
            ends[start] = None
        elif element.end() in ends:
            ends[start] = element.end()
    begin: int | None = min(ends, default=None)
    elements = [] if begin == 0 else [{"for": _UNKNOWN}]
    while begin is not None:
        end = ends[begin]
        pairs: dict[str, str] = {}
        for pair in _PAIR.finditer(text, begin, len(text) if end is None else end):
            pairs.setdefault(pair[1].lower(), pair[2].strip('"'))
        if pairs:
            elements.append(pairs)
        begin = end
    return elements


def _vouched_value(values: Sequence[str], hops: int, otherwise: str) -> str:
    """The value at the client's position from the right, or the leftmost one if fewer proxies sent a value."""
    if not values or not hops:
        return values[-1] if values else otherwise
    return values[max(len(values) - hops, 0)] or otherwise


def _unmapped(network: Network) -> Network:
    """Converts an IPv4 network written as IPv6 (``::ffff:10.0.0.0/104``) to IPv4: addresses are compared in that
    form."""
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is None or network.prefixlen < 96:
        return network
    return IPv4Network((mapped, network.prefixlen - 96))


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) <= 65535


def _address(text: str) -> str:
    """Reads one hop: an address, perhaps with a port (an IPv6 one then in brackets). ``unknown`` if it is not an
    address."""
    return _read_node(text) if len(text) <= _MAX_NODE_LENGTH else _UNKNOWN


@lru_cache(maxsize=_ADDRESS_CACHE_SIZE)
def _read_node(text: str) -> str:
    text = text.strip('"')
    node = _NODE.fullmatch(text)
    return _canonical_address(text if node is None else node[1] or node[2])


@lru_cache(maxsize=_ADDRESS_CACHE_SIZE)
def _canonical_address(address: str) -> str:
    parsed = _parse(address)
    return _UNKNOWN if parsed is None else str(parsed)


def _parse(address: str) -> IPv4Address | IPv6Address | None:
    bare, _, _zone = address.partition("%")
    try:
        # A zone is part of an IPv6 address, but has a meaning only on the machine that wrote it.
        parsed = ip_address(bare if ":" in bare else address)
    except ValueError:
        return None
    return (parsed.ipv4_mapped or parsed) if isinstance(parsed, IPv6Address) else parsed
