"""Decides whether a request that a cookie identifies may act: a page of another origin must not act for its visitor.

Browsers add cookies to requests by themselves, whichever page causes them. So a cookie alone does not show that the
user wanted the request. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

from gateway.errors import CsrfRejected

_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN_SITES: Final = ("same-origin", "none")
"""Values of ``Sec-Fetch-Site`` with which a request may act: it comes from an own page, or from the user, who typed the
address or chose a bookmark."""
_NO_PAGE: Final = ("", "null")
"""Origins that name no page. Every sandboxed page has the origin "null"."""
_OF_HANDSHAKES: Final = ("Sec-WebSocket-Key", "Sec-WebSocket-Version")
"""What browsers send with each handshake of a WebSocket, and pages can't set. A proxy that asks about a call may leave
out ``Upgrade``, since it concerns one connection: Traefik does."""


class Headers(Protocol):
    """Request headers: names in any case, all values in order (a ``CIMultiDictProxy`` is one)."""

    def getall(self, key: str, default: Any, /) -> Sequence[str]: ...


class Origins(Protocol):
    """What origins mean for one request."""

    def is_own(self, origin: str, /) -> bool:
        """Whether ``origin`` is the one at which the client reached the gateway."""
        ...

    def may_act(self, origin: str, /) -> bool:
        """Whether CORS allows pages of ``origin`` this call with credentials."""
        ...


class NoOrigins:
    """No origin is the gateway's own, and none may act."""

    def is_own(self, _origin: str, /) -> bool:
        """Always false."""
        return False

    def may_act(self, _origin: str, /) -> bool:
        """Always false."""
        return False


NO_ORIGINS: Final = NoOrigins()


def is_unsafe(method: str, headers: Headers) -> bool:
    """Whether the request may change something: by its method, or because it opens a WebSocket, on which a page of any
    origin could then send what it likes."""
    if method not in _SAFE_METHODS or any(headers.getall(name, ()) for name in _OF_HANDSHAKES):
        return True
    return any("websocket" in value.lower() for value in headers.getall("Upgrade", ()))


def check_csrf(method: str, headers: Headers, origins: Origins) -> None:
    """Refuses an unsafe request that comes from a page of another origin. For requests that a cookie identifies.

    Current browsers send ``Sec-Fetch-Site``, which pages can't set; then it decides, and only an ``Origin`` that CORS
    allows with credentials overrides it. Older browsers send an ``Origin``, which must be the gateway's own or allowed
    in this way. A request with neither is refused. Raises CsrfRejected.
    """
    if not is_unsafe(method, headers):
        return
    sites = headers.getall("Sec-Fetch-Site", ())
    if len(sites) == 1 and sites[0] in _OWN_SITES:
        return
    named = headers.getall("Origin", ())
    if len(named) == 1 and named[0] not in _NO_PAGE:
        origin = named[0]
        if origins.may_act(origin) or (not sites and origins.is_own(origin)):
            return
    raise CsrfRejected
