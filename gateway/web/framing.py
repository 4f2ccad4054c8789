"""Which parsed heads go no further, because two servers could see different requests in them.

aiohttp's two parsers (C and Python) do not refuse quite the same; whoever comes after us must not depend on which
of them was at work. What is decided here is decided before the request reaches any handler, and ends the connection:
where a head is in doubt, so is where the next one begins.
"""

from __future__ import annotations

import re
from typing import Final, Protocol

from aiohttp import HttpVersion, HttpVersion10, HttpVersion11, hdrs, web
from aiohttp.http import RawRequestMessage
from multidict import CIMultiDict, CIMultiDictProxy, MultiMapping
from yarl import URL

_LENGTH: Final = re.compile(r"[0-9]{1,18}")
HEAD_TOO_LATE: Final = "the head did not arrive in time"
# Not ``lower()``, which makes a k of the Kelvin sign.
_CHUNKED: Final = re.compile("chunked", re.ASCII | re.IGNORECASE)
_HOST: Final = re.compile(r"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_ABSOLUTE: Final = re.compile(r"https?://([^/?#]*)", re.IGNORECASE)
# A tunnel, and what HTTP/2 begins with.
_NEVER: Final = frozenset({"CONNECT", "PRI"})
_LONGEST_METHOD: Final = 64


class Head(Protocol):
    """What is looked at of a parsed request."""

    @property
    def method(self) -> str: ...
    @property
    def version(self) -> HttpVersion: ...
    @property
    def headers(self) -> MultiMapping[str]: ...


class Unreadable:
    """Stands where a request should be that can't be read. ``reason``: one clause without client data."""

    __slots__ = ("reason",)

    method = "UNKNOWN"
    path = "/"
    version = HttpVersion11
    headers: CIMultiDictProxy[str] = CIMultiDictProxy(CIMultiDict())
    raw_headers: tuple[tuple[bytes, bytes], ...] = ()
    should_close = True
    compression = None
    upgrade = False
    chunked = False
    url = URL("/")

    def __init__(self, reason: str) -> None:
        self.reason = reason


def fault_in(request: web.BaseRequest) -> str | None:
    """Why the request can't be read; None if it can."""
    message = request._message
    return message.reason if isinstance(message, Unreadable) else None


def fault_of(head: Head) -> str | None:
    """Why this request must not be answered as if it were clear: one clause without client data, or None.

    That names and values hold no character they may not, both parsers have seen to.
    """
    if head.method in _NEVER:
        return f"{head.method} is not for gateways"
    if len(head.method) > _LONGEST_METHOD:
        return "the method is too long"
    headers = head.headers
    hosts = headers.getall(hdrs.HOST, ())
    if len(hosts) == 1:
        # Empty is what a client sends whose target has no authority, and some load balancers' checks (RFC 9112, 3.2).
        if hosts[0] and _HOST.fullmatch(hosts[0]) is None:
            return "Host is malformed"
    elif hosts or head.version != HttpVersion10:
        # HTTP/1.0 has no Host, and load balancers' default checks speak it.
        return "there must be exactly one Host"
    lengths = headers.getall(hdrs.CONTENT_LENGTH, ())
    codings = headers.getall(hdrs.TRANSFER_ENCODING, ())
    if not (lengths or codings):
        return None
    if len(lengths) + len(codings) > 1:
        return "the length of the body is given twice"
    if lengths and _LENGTH.fullmatch(lengths[0]) is None:
        return "Content-Length is not a length"
    if codings and (_CHUNKED.fullmatch(codings[0]) is None or head.version != HttpVersion11):
        return "a transfer coding other than chunked"
    return None


def with_host(message: RawRequestMessage) -> RawRequestMessage:
    """A request whose absolute target names the host that HTTP/1.0 has no header for, with that as its Host; any other
    one as it is."""
    if message.version != HttpVersion10 or hdrs.HOST in message.headers:
        return message
    absolute = _ABSOLUTE.match(message.path)
    if absolute is None or _HOST.fullmatch(absolute[1]) is None:
        return message
    headers = CIMultiDict([(hdrs.HOST, absolute[1]), *message.headers.items()])
    raw_headers = ((b"Host", absolute[1].encode("ascii")), *message.raw_headers)
    return message._replace(headers=CIMultiDictProxy(headers), raw_headers=raw_headers)
