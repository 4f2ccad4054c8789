"""Which parsed heads go no further, because two servers could see different requests in them.

aiohttp's two parsers (C and Python) do not refuse quite the same; whoever comes after us must not depend on which
of them was at work. What is decided here is decided before the request reaches any handler, and ends the connection:
where a head is in doubt, so is where the next one begins.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, Protocol

from aiohttp import HttpVersion, HttpVersion11, web
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_FORBIDDEN_IN_VALUES: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_LENGTH: Final = re.compile(rb"[0-9]{1,18}")
_HOST: Final = re.compile(rb"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")


class Head(Protocol):
    """What is looked at of a parsed request."""

    @property
    def method(self) -> str: ...
    @property
    def version(self) -> HttpVersion: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def raw_headers(self) -> Iterable[tuple[bytes, bytes]]: ...


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
    """Why this request must not be answered as if it were clear: one clause without client data, or None."""
    if head.method == "CONNECT":
        return "CONNECT is not for gateways"
    lengths: list[bytes] = []
    codings: list[bytes] = []
    hosts: list[bytes] = []
    for name, value in head.raw_headers:
        if _TOKEN.fullmatch(name) is None or _FORBIDDEN_IN_VALUES.search(value):
            return "a header holds a character that is not allowed"
        size = len(name)
        if size == 4 and name.lower() == b"host":
            hosts.append(value)
        elif size == 14 and name.lower() == b"content-length":
            lengths.append(value)
        elif size == 17 and name.lower() == b"transfer-encoding":
            codings.append(value)
    if len(hosts) != 1:
        return "there must be exactly one Host"
    if _HOST.fullmatch(hosts[0]) is None:
        return "Host is malformed"
    if lengths or codings:
        return _fault_of_framing(lengths, codings, head.version)
    return None


def _fault_of_framing(lengths: list[bytes], codings: list[bytes], version: HttpVersion) -> str | None:
    if len(lengths) + len(codings) > 1:
        return "the length of the body is given twice"
    if lengths and _LENGTH.fullmatch(lengths[0]) is None:
        return "Content-Length is not a length"
    if codings and (codings[0].lower() != b"chunked" or version != HttpVersion11):
        return "a transfer coding other than chunked"
    return None
