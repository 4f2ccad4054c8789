"""The gateway as the client sees it, and paths of this site."""

from __future__ import annotations

import re
from typing import Final

from gateway.auth.csrf import check_csrf
from gateway.context import RequestContext
from gateway.proxy.forwarded import Origin, direct_origin
from gateway.routing.cors import is_same_origin
from gateway.server.head import RequestHead
from gateway.waiting_room.keys import DEFAULT_ROOM

_ADDRESS: Final = re.compile(r"(https?://[^/?#\\\s@]+)(/[^#\s\\]*)?(?:#.*)?")
_PATH: Final = re.compile(r"/(?!/)[!-\[\]-~]{0,2000}")
QUEUE_PATHS: Final = "/api/v1/queue/"
_NAMES_OF_PAGES: Final = ("Sec-Fetch-Site", "Origin")


def origin_of(request: RequestHead, context: RequestContext) -> Origin:
    """How the client reaches the gateway, as far as a trusted proxy says so."""
    return context.origin or direct_origin(
        request.remote or "", request.scheme, request.headers.get("Host", "")
    )


def is_own(request: RequestHead, context: RequestContext, named: str) -> bool:
    """Whether ``named`` is the origin at which the client reaches the gateway."""
    own = origin_of(request, context)
    return is_same_origin(named, own.scheme, own.host, own.port)


class _OwnPagesOnly:
    """What origins mean for one request that only pages of this site may cause."""

    def __init__(self, request: RequestHead, context: RequestContext) -> None:
        self._request = request
        self._context = context

    def is_own(self, origin: str, /) -> bool:
        """Whether ``origin`` is the one at which the client reaches the gateway."""
        return is_own(self._request, self._context, origin)

    def may_act(self, _origin: str, /) -> bool:
        """Always false: CORS rules are about other calls."""
        return False


def check_own_page(request: RequestHead, context: RequestContext) -> None:
    """Refuses an unsafe request that a page of another origin caused. For calls that need no cookie.

    A browser names the page in ``Sec-Fetch-Site`` or ``Origin``: without TLS, current browsers send the second alone.
    A client that sends neither is no browser, and passes. Raises CsrfRejected.
    """
    if any(name in request.headers for name in _NAMES_OF_PAGES):
        check_csrf(request.method, request.headers, _OwnPagesOnly(request, context))


def referring_path(request: RequestHead, context: RequestContext) -> str:
    """Path and query of the page of this site that the request comes from; ``/`` if it comes from none.

    Only ``Referer`` says so, and it counts only with the own origin. No parameter of a request is ever a target.
    """
    values = request.headers.getall("Referer", ())
    match = _ADDRESS.fullmatch(values[0]) if len(values) == 1 else None
    if match is None or not is_own(request, context, match[1]):
        return "/"
    path = match[2] or "/"
    return path if _PATH.fullmatch(path) else "/"


def page_before(request: RequestHead, context: RequestContext) -> str:
    """As ``referring_path``, but for the gateway's own pages: from these there is no way back."""
    path = referring_path(request, context)
    return "/" if path.lower().startswith(QUEUE_PATHS) else path


def with_room(path: str, room: str) -> str:
    """A path of the queue API, for this room."""
    return path if room == DEFAULT_ROOM else f"{path}?room={room}"
