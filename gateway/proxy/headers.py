"""Which headers go on, in both directions, and how heads are written. Pure: bytes in, bytes out.

Names are compared in one form (lower case, every other character than letters and digits as ``-``),
because services fold ``X_Forwarded_For`` and ``X-Forwarded-For`` into one variable.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from gateway.errors import BadRequest, UpstreamUnreachable
from gateway.observability.tracing import TRACE_HEADERS, TRACE_ID
from gateway.proxy.forwarded import ALL, Origin, RawHeaders, TrustedProxies, forwarded_headers, origin

_FOLD = bytes(
    c | 0x20 if 0x41 <= c <= 0x5A else c if 0x61 <= c <= 0x7A or 0x30 <= c <= 0x39 else 0x2D
    for c in range(256)
)
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-authentication-info",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
# aiohttp's C parser has 64 bits for it.
_LONGEST_LENGTH = 19
_CONTROLS = bytes({*range(0x20), 0x7F} - {0x09})
# Options of a connection rather than names of headers.
_COMMON_IN_CONNECTION = frozenset({b"close", b"keep-alive", b"host"})
# Set anew for each connection by whoever writes the head.
_FRAMING = frozenset({b"connection", b"content-length", b"transfer-encoding"})
_WRITTEN_HERE = _FRAMING | {b"host"}
_ABOUT_THE_CLIENT = frozenset({b"forwarded", b"x-real-ip", b"x-forwarded"})
_PREFIX = b"x-forwarded-prefix"
# Rewritten; what else begins with X-Forwarded- passes as a trusted proxy said it.
_REWRITTEN = _ABOUT_THE_CLIENT | {
    b"x-forwarded-for",
    b"x-forwarded-proto",
    b"x-forwarded-host",
    b"x-forwarded-port",
}
# What a client says of its trace has been read; services are told the gateway's own place in it.
_OF_TRACES = frozenset(name.encode() for name in TRACE_HEADERS)
# Beside what ends at each hop: the name of the trace, which only the gateway tells its clients.
_NOT_FROM_SERVICES = _HOP_BY_HOP | {TRACE_ID.lower().encode()}
# Expect is answered here, so that no service waits for a client to begin with its body. CGI makes HTTP_PROXY of Proxy,
# through which libraries of the service would send their own calls ("httpoxy").
_NOT_FROM_CLIENTS = _HOP_BY_HOP | _FRAMING | _REWRITTEN | _OF_TRACES | {b"host", b"expect", b"proxy"}


class ResponseHeaders(NamedTuple):
    """End-to-end headers of an answer in their order, and its Content-Length if it has one."""

    fields: list[tuple[bytes, bytes]]
    length: bytes | None


def fold(name: bytes) -> bytes:
    """The form in which names are compared."""
    return name.translate(_FOLD)


def without_named(raw_headers: Sequence[tuple[bytes, bytes]]) -> Sequence[tuple[bytes, bytes]]:
    """A client's headers without those that its ``Connection`` names, and then without that: what is added later is not
    the client's to remove."""
    named: set[bytes] = set()
    for name, value in raw_headers:
        if name.lower() == b"connection":
            named |= _options(value)
    named -= _COMMON_IN_CONNECTION
    if not named:
        return raw_headers
    named.add(b"connection")
    return [field for field in raw_headers if fold(field[0]) not in named]


def _options(connection: bytes) -> set[bytes]:
    return {fold(option.strip(b" \t")) for option in connection.split(b",")}


def upstream_headers(
    raw_headers: Sequence[tuple[bytes, bytes]],
    *,
    peer: str,
    scheme: str,
    host: str,
    trusted: TrustedProxies,
    upstream_host: bytes | None = None,
    extra: Sequence[tuple[bytes, bytes]] = (),
    prefix: str = "",
    seen: Origin | None = None,
    told: frozenset[str] = ALL,
) -> list[tuple[bytes, bytes]]:
    """Turn a client's headers into those for a service, without framing.

    ``peer`` is the address of the connection, ``scheme`` and ``host`` are what it used to reach us.
    ``upstream_host`` becomes ``Host`` (the client's own to preserve it); None leaves it out, and the
    Forwarder puts in that of the instance it picks. ``extra`` goes in last, whatever ``Connection`` named. ``prefix``
    is what the route took off the path, encoded; behind a trusted proxy services are told, as Spring does. ``seen`` is
    what ``origin`` made of these headers, if it has been asked before. ``told`` as in ``forwarded_headers``: what is
    not in it passes as a trusted proxy sent it, and from others not at all.
    """
    believed = peer in trusted
    passing = _passing(told) if believed and told is not ALL else None
    kept = [] if upstream_host is None else [(b"Host", upstream_host)]
    named: set[bytes] = set()
    for field in raw_headers:
        name = field[0].translate(_FOLD)
        if name in _NOT_FROM_CLIENTS:
            if name == b"connection":
                named |= _options(field[1])
            elif passing and name in passing and field[0].lower() == name:
                kept.append(field)
        elif not name.startswith(b"x-forwarded-") or (believed and field[0].lower() == name):
            kept.append(field)
    named -= _COMMON_IN_CONNECTION
    if named:
        kept = [field for field in kept if fold(field[0]) not in named]
    if prefix and believed and "prefix" in told:
        before = [value for name, value in kept if name.lower() == _PREFIX]
        kept = [field for field in kept if field[0].lower() != _PREFIX]
        kept.append((b"X-Forwarded-Prefix", b",".join([*before, prefix.encode()])))
    if seen is None:
        seen = origin(raw_headers, peer=peer, scheme=scheme, host=host, trusted=trusted)
    kept += forwarded_headers(seen, told)
    kept += extra
    return kept


@lru_cache(maxsize=64)
def _passing(told: frozenset[str]) -> frozenset[bytes]:
    """Headers that the gateway does not write itself then."""
    names = {"forwarded": b"forwarded"} | {
        word: f"x-forwarded-{word}".encode() for word in ("for", "host", "port", "proto")
    }
    return frozenset(name for word, name in names.items() if word not in told)


def taken_off(asked: str, sent: str) -> str:
    """The beginning of the path ``asked`` for (encoded) that is missing from the target ``sent``; "" if the one is not
    the end of the other. A slash at the end counts on neither side."""
    asked, sent = asked.removesuffix("/"), sent.partition("?")[0].removesuffix("/")
    return asked.removesuffix(sent) if asked.endswith(sent) else ""


def response_headers(raw_headers: RawHeaders) -> ResponseHeaders:
    """Take from a service's answer what concerns only the connection to it.

    Raises UpstreamUnreachable for two lengths, since aiohttp's parser may have believed the other, for a length that
    not both of its parsers can hold, for a transfer coding other than chunked: none was asked for, and what is inside
    could not be passed on truthfully, and for a name that is none: aiohttp's C parser takes ``Transfer-Encoding :`` for
    the coding and leaves the blank in the name.
    """
    fields: list[tuple[bytes, bytes]] = []
    length: bytes | None = None
    named: set[bytes] = set()
    codings = 0
    for field in raw_headers:
        name = _lowered.get(field[0]) or _learned(field[0])
        if name == b"content-length":
            if length is not None:
                raise UpstreamUnreachable("two lengths")
            length = field[1]
            if len(length) > _LONGEST_LENGTH:
                raise UpstreamUnreachable("a length beyond 64 bits")
        elif name not in _NOT_FROM_SERVICES:
            fields.append(field)
        elif name == b"connection":
            named.update(token.strip(b" \t").lower() for token in field[1].split(b","))
        elif name == b"transfer-encoding":
            codings += 1
            if codings > 1 or field[1].lower() != b"chunked":
                raise UpstreamUnreachable("an unknown transfer coding")
    named -= _COMMON_IN_CONNECTION
    if named:
        fields = [field for field in fields if field[0].lower() not in named]
    return ResponseHeaders(fields, length)


def names_of(fields: RawHeaders) -> list[bytes]:
    """The names in lower case."""
    return [_lowered.get(name) or name.lower() for name, _ in fields]


# Names of services' headers as they came and in lower case. There are few; made-up ones only empty it.
_lowered: dict[bytes, bytes] = {}
_MOST_LOWERED = 1024
_LONGEST_LOWERED = 64


def _learned(name: bytes) -> bytes:
    if _TOKEN.fullmatch(name) is None:
        raise UpstreamUnreachable("the name of a header is malformed")
    lowered = name.lower()
    if len(name) <= _LONGEST_LOWERED:
        if len(_lowered) >= _MOST_LOWERED:
            _lowered.clear()
        _lowered[name] = lowered
    return lowered


def with_cors(headers: ResponseHeaders, cors: Iterable[tuple[bytes, bytes]]) -> ResponseHeaders:
    """Put ``cors`` in the place of what a service says about other origins: browsers refuse two opinions."""
    kept = (field for field in headers.fields if not field[0].lower().startswith(b"access-control-"))
    return ResponseHeaders([*cors, *kept], headers.length)


def request_head(
    method: str, target: str, headers: Sequence[tuple[bytes, bytes]], authority: bytes, framing: bytes
) -> bytes:
    """Write a request's head. ``authority`` is the ``Host`` where ``headers`` has none; ``framing`` is
    the header line that says how long the body is, or nothing, or lines that ask for another protocol.

    Raises BadRequest if there is a control character in it.
    """
    line = f"{method} {target} HTTP/1.1".encode("utf-8", "surrogateescape")
    if line.count(b" ") != 2 or not (target[:1] == "/" or target == "*"):
        raise BadRequest("the target can't be sent on")
    fields = [b": ".join(field) for field in headers if field[0].lower() not in _WRITTEN_HERE]
    host = authority
    if len(fields) != len(headers):
        for name, value in headers:
            if name.lower() == b"host":
                host = value
    lines = [line, b"Host: " + host, *fields]
    if framing:
        lines += framing.split(b"\r\n")
    head = _joined(lines)
    if not head:
        raise BadRequest("a control character in the head")
    return head


def response_head(status: int, reason: str, fields: Iterable[tuple[bytes, bytes]], framing: bytes) -> bytes:
    """Write an answer's head. ``framing`` holds whole lines, each with its end.

    Raises UpstreamUnreachable if there is a control character in it.
    """
    # One of aiohttp's parsers leaves blanks at its end.
    reason = reason.rstrip(" \t")
    lines = [f"HTTP/1.1 {status} {reason}".encode("utf-8", "surrogateescape")]
    lines += map(b": ".join, fields)
    if framing:
        lines += framing.split(b"\r\n")
    head = _joined(lines)
    if not head:
        raise UpstreamUnreachable("a control character in the head")
    return head


def _joined(lines: list[bytes]) -> bytes:
    """The head, or nothing if some line holds a control character other than a tab: strict readers refuse all that such
    a head belongs to, and lenient ones take some for blanks. Bytes beyond ASCII pass. Counting is the cheapest check.
    """
    head = b"\r\n".join(lines)
    breaks = len(lines) - 1
    if head.count(b"\r\n") != breaks or len(head) - len(head.translate(None, _CONTROLS)) != 2 * breaks:
        return b""
    return head + b"\r\n\r\n"
