"""Which headers are passed on, in both directions, and how heads are written. Pure functions: bytes in, bytes out.

Names are compared in one form (lower case, every character except letters and digits as ``-``), because services fold
``X_Forwarded_For`` and ``X-Forwarded-For`` into one variable.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import NamedTuple

from multidict import CIMultiDict

from gateway.errors import BadRequest, UpstreamUnreachable
from gateway.observability.tracing import TRACE_HEADERS, TRACE_ID
from gateway.proxy.forwarded import ALL_FIELDS, Origin, RawHeaders, forwarded_headers
from gateway.proxy.queue_commands import COMMAND, STOCK
from gateway.server.framing import MAX_CONNECTION_OPTIONS

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
# aiohttp's C parser holds a length in 64 bits.
_MAX_CONTENT_LENGTH_DIGITS = 19
_CONTROLS = bytes({*range(0x20), 0x7F} - {0x09})
# Options of a connection, not names of headers.
_CONNECTION_OPTIONS = frozenset({b"close", b"keep-alive", b"host"})
# The code that writes the head sets these anew for each connection.
_FRAMING = frozenset({b"connection", b"content-length", b"transfer-encoding"})
_REGENERATED = _FRAMING | {b"host"}
_CLIENT_HEADERS = frozenset({b"forwarded", b"x-real-ip", b"x-forwarded"})
_PREFIX = b"x-forwarded-prefix"
# The gateway rewrites these. Other X-Forwarded- headers from a trusted proxy pass unchanged.
_REWRITTEN = _CLIENT_HEADERS | {
    b"x-forwarded-for",
    b"x-forwarded-proto",
    b"x-forwarded-host",
    b"x-forwarded-port",
}
# The gateway has already read a client's trace headers. Services get the gateway's own span instead.
_TRACE_HEADERS = frozenset(name.encode() for name in TRACE_HEADERS)
# Besides hop-by-hop headers: the trace id, which only the gateway sends to its clients, and what is for the gateway.
_STRIPPED_FROM_RESPONSES = _HOP_BY_HOP | {name.lower().encode() for name in (TRACE_ID, COMMAND, STOCK)}
# The gateway answers Expect itself, so that no service waits for a client's body. CGI turns Proxy into HTTP_PROXY, and
# libraries of the service would send their own calls through that proxy ("httpoxy").
_STRIPPED_FROM_REQUESTS = (
    _HOP_BY_HOP | _FRAMING | _REWRITTEN | _TRACE_HEADERS | {b"host", b"expect", b"proxy"}
)


class ResponseHeaders(NamedTuple):
    """End-to-end headers of an answer in their order, and its Content-Length if it has one."""

    fields: list[tuple[bytes, bytes]]
    length: bytes | None


def fold(name: bytes) -> bytes:
    """Converts a name to the form in which names are compared."""
    return name.translate(_FOLD)


def without_connection_headers(raw_headers: Sequence[tuple[bytes, bytes]]) -> Sequence[tuple[bytes, bytes]]:
    """A client's headers without those that its ``Connection`` names, and without ``Connection``: a client must not be
    able to remove headers that the gateway adds later."""
    named: set[bytes] = set()
    for name, value in raw_headers:
        if name.lower() == b"connection":
            named |= _options(value)
    named -= _CONNECTION_OPTIONS
    if not named:
        return raw_headers
    named.add(b"connection")
    return [field for field in raw_headers if fold(field[0]) not in named]


def _options(connection: bytes) -> set[bytes]:
    return {fold(option.strip(b" \t")) for option in connection.split(b",")}


def upstream_headers(
    raw_headers: Sequence[tuple[bytes, bytes]],
    client_origin: Origin,
    *,
    peer_trusted: bool,
    upstream_host: bytes | None = None,
    extra: Sequence[tuple[bytes, bytes]] = (),
    prefix: str = "",
    forwarded_fields: frozenset[str] = ALL_FIELDS,
) -> list[tuple[bytes, bytes]]:
    """Turns a client's headers into those for a service, without framing.

    * ``client_origin``: where the request came from; ``peer_trusted``: whether its connection is that of a trusted
      proxy.
    * ``upstream_host``: the ``Host`` to send (the client's own to preserve it). None leaves it out, and the Forwarder
      adds that of the instance it picks.
    * ``extra``: added last, even if ``Connection`` names these headers.
    * ``prefix``: the part of the path that the route removed, encoded. As in Spring, services learn it only behind a
      trusted proxy.
    * ``forwarded_fields``: as in ``forwarded_headers``. Headers outside it pass unchanged from a trusted proxy, and are
      dropped from other peers.
    """
    passed_through = (
        _passed_through(forwarded_fields) if peer_trusted and forwarded_fields is not ALL_FIELDS else None
    )
    kept = [] if upstream_host is None else [(b"Host", upstream_host)]
    named: set[bytes] = set()
    for field in raw_headers:
        name = _special_names.get(field[0])
        if name is None:
            name = _special_name(field[0])
        if not name:
            kept.append(field)
        elif name == b"connection":
            named |= _options(field[1])
        elif name in _STRIPPED_FROM_REQUESTS:
            if passed_through and name in passed_through and field[0].lower() == name:
                kept.append(field)
        elif peer_trusted and field[0].lower() == name:
            kept.append(field)
    named -= _CONNECTION_OPTIONS
    if named:
        kept = [field for field in kept if fold(field[0]) not in named]
    if prefix and peer_trusted and "prefix" in forwarded_fields:
        before = [value for name, value in kept if name.lower() == _PREFIX]
        kept = [field for field in kept if field[0].lower() != _PREFIX]
        kept.append((b"X-Forwarded-Prefix", b",".join([*before, prefix.encode()])))
    kept += forwarded_headers(client_origin, forwarded_fields)
    kept += extra
    return kept


# Names of clients' headers, as sent → the folded name if the gateway treats the header specially, else empty.
_special_names: dict[bytes, bytes] = {}


def _special_name(name: bytes) -> bytes:
    folded = fold(name)
    special = folded if folded in _STRIPPED_FROM_REQUESTS or folded.startswith(b"x-forwarded-") else b""
    if len(name) <= _MAX_CACHED_NAME_LENGTH:
        if len(_special_names) >= _MAX_CACHED_NAMES:
            _special_names.clear()
        _special_names[name] = special
    return special


@lru_cache(maxsize=64)
def _passed_through(forwarded_fields: frozenset[str]) -> frozenset[bytes]:
    """The headers about the client that the gateway then does not write itself."""
    names = {"forwarded": b"forwarded"} | {
        word: f"x-forwarded-{word}".encode() for word in ("for", "host", "port", "proto")
    }
    return frozenset(name for word, name in names.items() if word not in forwarded_fields)


def removed_prefix(asked: str, sent: str) -> str:
    """The beginning of the path ``asked`` for (encoded) that is missing from the target ``sent``; "" if ``sent`` is not
    the end of ``asked``. A slash at the end counts on neither side."""
    asked, sent = asked.removesuffix("/"), sent.partition("?")[0].removesuffix("/")
    return asked.removesuffix(sent) if asked.endswith(sent) else ""


def response_headers(raw_headers: RawHeaders) -> ResponseHeaders:
    """Removes from a service's answer the headers that concern only the connection to it.

    Raises UpstreamUnreachable for:

    * two lengths, because aiohttp's parser may have used the other one;
    * a length that one of aiohttp's parsers can't hold;
    * ``Connection`` with too many members, because each costs time;
    * a transfer coding other than chunked: the gateway requested none, and can't pass on its content correctly;
    * an invalid name: aiohttp's C parser takes ``Transfer-Encoding :`` for the coding and leaves the blank in the name.
    """
    fields: list[tuple[bytes, bytes]] = []
    length: bytes | None = None
    named: set[bytes] = set()
    codings = options = 0
    for field in raw_headers:
        name = _lowered_names.get(field[0]) or _lower_name(field[0])
        if name == b"content-length":
            if length is not None:
                raise UpstreamUnreachable("two lengths")
            length = field[1]
            if len(length) > _MAX_CONTENT_LENGTH_DIGITS:
                raise UpstreamUnreachable("a length beyond 64 bits")
        elif name not in _STRIPPED_FROM_RESPONSES:
            fields.append(field)
        elif name == b"connection":
            options += field[1].count(b",")
            if options >= MAX_CONNECTION_OPTIONS:
                raise UpstreamUnreachable("Connection has too many members")
            named.update(token.strip(b" \t").lower() for token in field[1].split(b","))
        elif name == b"transfer-encoding":
            codings += 1
            if codings > 1 or field[1].lower() != b"chunked":
                raise UpstreamUnreachable("an unknown transfer coding")
    named -= _CONNECTION_OPTIONS
    if named:
        fields = [field for field in fields if field[0].lower() not in named]
    return ResponseHeaders(fields, length)


def names_of(fields: RawHeaders) -> list[bytes]:
    """The names in lower case."""
    return [_lowered_names.get(name) or name.lower() for name, _ in fields]


# Services' header names, as sent and in lower case. There are few of them. Invented names only empty this cache.
_lowered_names: dict[bytes, bytes] = {}
_MAX_CACHED_NAMES = 1024
_MAX_CACHED_NAME_LENGTH = 64


def _lower_name(name: bytes) -> bytes:
    if _TOKEN.fullmatch(name) is None:
        raise UpstreamUnreachable("the name of a header is malformed")
    lowered = name.lower()
    if len(name) <= _MAX_CACHED_NAME_LENGTH:
        if len(_lowered_names) >= _MAX_CACHED_NAMES:
            _lowered_names.clear()
        _lowered_names[name] = lowered
    return lowered


def with_cors(headers: ResponseHeaders, cors: Iterable[tuple[bytes, bytes]]) -> ResponseHeaders:
    """Replaces a service's CORS headers with ``cors``: browsers reject an answer with both."""
    kept = (field for field in headers.fields if not field[0].lower().startswith(b"access-control-"))
    return ResponseHeaders([*cors, *kept], headers.length)


_SHARED_DIRECTIVES = frozenset({"public", "s-maxage", "proxy-revalidate"})
_CACHE_CONTROL = b"cache-control"
_NOT_STORED = "no-store"
_MAX_DIRECTIVES = 100
_FOR_SHARED_CACHES = frozenset(
    {
        b"cdn-cache-control",
        b"edge-control",
        b"surrogate-control",
        b"x-accel-expires",
        b"x-litespeed-cache-control",
    }
)
"""Headers that shared caches obey instead of ``Cache-Control``: of RFC 9213, and of Akamai, Fastly, Varnish, NGINX and
LiteSpeed."""


def kept_private(fields: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """An answer's headers, changed so that no shared cache keeps it. A ``no-store`` stays as it is, and stands for more
    directives than any service needs: each costs time."""
    kept, stated = [], []
    for name, value in fields:
        lowered = name.lower()
        if lowered == _CACHE_CONTROL:
            stated.append(value)
        elif lowered not in _FOR_SHARED_CACHES and not lowered.endswith(b"-cdn-cache-control"):
            kept.append((name, value))
    if sum(value.count(b",") for value in stated) >= _MAX_DIRECTIVES:
        stated = [_NOT_STORED.encode()]
    text = b",".join(stated).decode("latin-1")
    directives = [each.strip() for each in text.split(",") if each.strip()]
    # What looks like a directive may be a part of a quoted text, as in ``ext="a, no-store, b"``.
    plain = directives if '"' not in text else []
    if not any(each.partition("=")[0].strip().lower() == _NOT_STORED for each in plain):
        directives = [
            each for each in directives if each.partition("=")[0].strip().lower() not in _SHARED_DIRECTIVES
        ]
        # ``private="Set-Cookie"`` keeps that header alone from shared caches.
        if not any(each.lower() == "private" for each in plain):
            directives.insert(0, "private")
    return [*kept, (b"Cache-Control", ", ".join(directives).encode("latin-1"))]


def keep_private(headers: CIMultiDict[str]) -> None:
    """``kept_private``, for headers of an answer that the gateway makes itself."""
    if headers.getall("Cache-Control", ()) == [_NOT_STORED]:
        # Nearly all of them, and none of those has a header for other caches.
        return
    fields = [
        (name.encode("utf-8", "surrogateescape"), value.encode("utf-8", "surrogateescape"))
        for name, value in headers.items()
    ]
    headers.clear()
    headers.extend(
        (name.decode("utf-8", "surrogateescape"), value.decode("utf-8", "surrogateescape"))
        for name, value in kept_private(fields)
    )


def request_head(
    method: str, target: str, headers: Sequence[tuple[bytes, bytes]], authority: bytes, framing: bytes
) -> bytes:
    """Writes a request's head. ``authority`` is the ``Host`` if ``headers`` has none. ``framing`` is the header line
    that says how long the body is, or empty, or lines that ask for another protocol.

    Raises BadRequest if there is a control character in the head.
    """
    line = f"{method} {target} HTTP/1.1".encode("utf-8", "surrogateescape")
    if line.count(b" ") != 2 or not (target[:1] == "/" or target == "*"):
        raise BadRequest("the target can't be sent on")
    host = authority
    if not _sent_names.issuperset(map(_NAME, headers)):
        for name, value in headers:
            if name.lower() == b"host":
                host = value
        headers = [field for field in headers if not _is_regenerated(field[0])]
    lines = [line, b"Host: " + host, *map(b": ".join, headers)]
    if framing:
        lines += framing.split(b"\r\n")
    head = _join_head(lines)
    if not head:
        raise BadRequest("a control character in the head")
    return head


# Names of clients' headers, as sent, that are not written anew. There are few of them. Invented names only empty this
# cache.
_sent_names: set[bytes] = set()
_NAME = itemgetter(0)


def _is_regenerated(name: bytes) -> bool:
    if name.lower() in _REGENERATED:
        return True
    if len(name) <= _MAX_CACHED_NAME_LENGTH:
        if len(_sent_names) >= _MAX_CACHED_NAMES:
            _sent_names.clear()
        _sent_names.add(name)
    return False


def response_head(status: int, reason: str, fields: Iterable[tuple[bytes, bytes]], framing: bytes) -> bytes:
    """Writes an answer's head. ``framing`` holds whole lines, each with its line end.

    Raises UpstreamUnreachable if there is a control character in the head.
    """
    lines = [_status_line(status, reason), *map(b": ".join, fields)]
    if framing:
        lines += framing.split(b"\r\n")
    head = _join_head(lines)
    if not head:
        raise UpstreamUnreachable("a control character in the head")
    return head


@lru_cache(maxsize=256)
def _status_line(status: int, reason: str) -> bytes:
    # One of aiohttp's parsers leaves blanks at the end of the reason.
    reason = reason.rstrip(" \t")
    return f"HTTP/1.1 {status} {reason}".encode("utf-8", "surrogateescape")


def _join_head(lines: list[bytes]) -> bytes:
    """The head; empty if a line holds a control character other than a tab. Strict readers refuse the message of such a
    head, and lenient ones take some of these characters for blanks. Bytes beyond ASCII pass."""
    text = b"".join(lines)
    if len(text.translate(None, _CONTROLS)) != len(text):
        return b""
    return b"\r\n".join((*lines, b"\r\n"))
