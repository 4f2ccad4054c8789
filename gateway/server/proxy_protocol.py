"""The PROXY protocol, versions 1 and 2: what a proxy says of its client in front of the first bytes of a connection.

Pure functions on bytes. https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final, NamedTuple

V1_START: Final = b"PROXY "
V2_START: Final = b"\r\n\r\n\0\r\nQUIT\n"
MAX_V1_BYTES: Final = 107
MAX_V2_BYTES: Final = 2048
"""The standard allows 65,551 bytes. Real headers, with what load balancers in clouds add, have some hundred."""

UNKNOWN: Final = "unknown"
"""The client of a proxy that does not say which address the client has."""

_V2_FIXED: Final = 16
_LOCAL, _PROXY = 0x20, 0x21
_ADDRESS_BYTES: Final = {0x11: 4, 0x12: 4, 0x21: 16, 0x22: 16}
"""By family and transport: TCP and UDP over IPv4 and IPv6."""


class MalformedHeader(ValueError):
    """The bytes begin like a header of the PROXY protocol, and are none."""


class Header(NamedTuple):
    """``client``: the address and port of the client, ``unknown`` if the proxy does not know it; None if the proxy
    speaks for itself, as for a health check. ``size``: of the header, in bytes."""

    client: tuple[str, int] | None
    size: int


def may_begin(data: bytes) -> bool:
    """Whether ``data``, the first bytes of a connection, may be the beginning of a header."""
    return any(data.startswith(start[: len(data)]) for start in (V1_START, V2_START))


def own_bytes(data: bytes) -> int:
    """How many of these bytes, which begin a header that is not complete, belong to the header at least."""
    if data.startswith(V2_START) and len(data) >= _V2_FIXED:
        return min(len(data), _V2_FIXED + int.from_bytes(data[14:16], "big"))
    return len(data)


def read_header(data: bytes) -> Header | None:
    """The header at the beginning of ``data``; None if it is not complete. Raises MalformedHeader."""
    if not may_begin(data):
        raise MalformedHeader("no header of the PROXY protocol")
    return _read_v2(data) if data.startswith(V2_START) else _read_v1(data)


def _read_v1(data: bytes) -> Header | None:
    end = data.find(b"\r\n", len(V1_START), MAX_V1_BYTES)
    if end < 0 or not data.startswith(V1_START):
        if len(data) >= MAX_V1_BYTES:
            raise MalformedHeader("the line of the PROXY protocol has no end")
        return None
    words = data[len(V1_START) : end].decode("latin-1").split(" ")
    if words[0] == "UNKNOWN":
        return Header((UNKNOWN, 0), end + 2)
    if len(words) != 5 or words[0] not in ("TCP4", "TCP6"):
        raise MalformedHeader("the line of the PROXY protocol is malformed")
    version = 4 if words[0] == "TCP4" else 6
    source, _ = (_address(word, version) for word in words[1:3])
    port, _ = (_port(word) for word in words[3:5])
    return Header((source, port), end + 2)


def _address(text: str, version: int) -> str:
    try:
        parsed = ip_address(text)
    except ValueError:
        raise MalformedHeader("an address of the PROXY protocol is malformed") from None
    if parsed.version != version or "%" in text:
        raise MalformedHeader("an address of the PROXY protocol is of the other family")
    return str(parsed)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535):
        raise MalformedHeader("a port of the PROXY protocol is malformed")
    return int(text)


def _read_v2(data: bytes) -> Header | None:
    if len(data) < _V2_FIXED:
        return None
    command, family = data[12], data[13]
    size = _V2_FIXED + int.from_bytes(data[14:16], "big")
    if command not in (_LOCAL, _PROXY):
        raise MalformedHeader("a command of the PROXY protocol is unknown")
    if size > MAX_V2_BYTES:
        raise MalformedHeader("the header of the PROXY protocol is too long")
    if len(data) < size:
        return None
    if command == _LOCAL:
        return Header(None, size)
    length = _ADDRESS_BYTES.get(family)
    if length is None:
        return Header((UNKNOWN, 0), size)
    if size < _V2_FIXED + 2 * length + 4:
        raise MalformedHeader("the header of the PROXY protocol is too short")
    source = ip_address(data[_V2_FIXED : _V2_FIXED + length])
    port_at = _V2_FIXED + 2 * length
    return Header((str(source), int.from_bytes(data[port_at : port_at + 2], "big")), size)
