"""Answers that are pages: for the errors of gated calls that a browser navigates to, and for own addresses."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from gateway.api.envelope import error_headers, status_of
from gateway.api.i18n import message
from gateway.api.negotiation import VARY, takes_gzip
from gateway.api.notices import text_for
from gateway.api.own_origin import page_before
from gateway.api.page_language import language_of
from gateway.api.status import registration_json, status_json
from gateway.context import RequestContext
from gateway.errors import (
    CookieRequired,
    GatewayError,
    NotEligible,
    NotInQueue,
    Overloaded,
    PrefetchRefused,
    QueueStorageFull,
    QueueWaiting,
    RoomClosed,
    RoomFull,
    SoldOut,
    TokenExpired,
    TokenInvalid,
    TokenRequired,
)
from gateway.pages.waiting_page.page import Facts, Variant
from gateway.pages.waiting_page.states import RELOADING, WITH_PLACE, PageState
from gateway.routing.gates import RoomPage
from gateway.server.head import RequestHead
from gateway.server.whole_response import WholeResponse
from gateway.waiting_room.notices import Notice
from gateway.waiting_room.state import State

_SAFE: Final = frozenset({"GET", "HEAD"})
_TOKEN_ERRORS: Final = (TokenRequired, TokenExpired, TokenInvalid)
_STATES: Final[Mapping[type[GatewayError], PageState]] = {
    RoomClosed: PageState.CLOSED,
    SoldOut: PageState.SOLD_OUT,
    RoomFull: PageState.FULL,
    QueueStorageFull: PageState.FULL,
    Overloaded: PageState.FULL,
    NotEligible: PageState.NOT_ELIGIBLE,
    CookieRequired: PageState.COOKIES,
}
_WAITED: Final = 429
_COOKIE_SECONDS: Final = 1
"""A visitor with a new cookie asks again so soon."""
_DEFAULT_SECONDS: Final = 10
_POLL_SECONDS: Final = (2, 10)
"""How often a waiting person's page asks: the first in line most often."""


def page_for_error(
    request: RequestHead, context: RequestContext, page: RoomPage, error: GatewayError
) -> WholeResponse | None:
    """The page that answers ``error``; None if the answer is JSON for browsers too."""
    if isinstance(error, PrefetchRefused):
        # No person sees the answer.
        return None
    if isinstance(error, _TOKEN_ERRORS):
        return _to_login(request, context, page) if page.login else None
    status = status_of(error)
    context.outcome = error.code if status != 500 else GatewayError.code
    waiting = error.state if isinstance(error, QueueWaiting) and isinstance(error.state, State) else None
    if waiting is not None:
        state = PageState.REGISTERED if waiting.registered else PageState.WAITING
    else:
        state = _STATES.get(type(error), PageState.ERROR)
    facts = _facts(context, state, waiting, error)
    refused = request.method not in _SAFE
    if refused:
        facts.back = page_before(request, context)
    if status == _WAITED or isinstance(error, NotInQueue):
        status = page.status
    headers = error_headers(error)
    headers.pop("Retry-After", None)
    return page_response(
        request, context, page, state, facts, status=status, refused=refused, headers=headers
    )


def page_response(
    request: RequestHead,
    context: RequestContext,
    page: RoomPage,
    state: PageState,
    facts: Facts,
    *,
    status: int = 200,
    refused: bool = False,
    headers: Mapping[str, str] | None = None,
) -> WholeResponse:
    """The page in one of its states."""
    visitor = context.visitor is not None and state in WITH_PLACE
    prepared = page.page.prepared(Variant(state, language_of(request, context), refused, visitor))
    compressed = takes_gzip(request.headers.get("Accept-Encoding", ""))
    sent = {
        "Content-Type": "text/html; charset=utf-8",
        "Cache-Control": "no-store",
        "X-Robots-Tag": "noindex",
        "Vary": VARY,
        "Content-Security-Policy": prepared.policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
        "Content-Language": prepared.language,
        **(headers or {}),
    }
    if state in RELOADING:
        sent["Retry-After"] = str(facts.retry)
    if compressed:
        sent["Content-Encoding"] = "gzip"
    return WholeResponse(prepared.fill(facts, gzip=compressed), status=status, headers=sent)


def see_other(path: str) -> WholeResponse:
    """Sends a browser on to a path of this site."""
    return WholeResponse(
        b"\n",
        status=303,
        headers={
            "Location": path,
            "Content-Type": "text/plain; charset=utf-8",
            "Cache-Control": "no-store",
            "X-Robots-Tag": "noindex",
            "Referrer-Policy": "same-origin",
            "Vary": VARY,
        },
    )


def new_facts(room: str) -> Facts:
    """Facts of a page made now."""
    return Facts(room=room, now=round(time.time() * 1000))


def poll_seconds(position: int) -> int:
    """After how many seconds the page of a person at this position asks again."""
    least, most = _POLL_SECONDS
    return min(most, max(least, position // 10))


def _facts(context: RequestContext, state: PageState, waiting: State | None, error: GatewayError) -> Facts:
    facts = new_facts(context.room or "default")
    retry = getattr(error, "retry_after", None)
    facts.retry = _DEFAULT_SECONDS if retry is None else max(1, math.ceil(retry))
    notice = error.notice if isinstance(error, RoomClosed) else None if waiting is None else waiting.notice
    if isinstance(notice, Notice):
        facts.notice = text_for(notice, context.languages)
    if waiting is not None:
        facts.room = waiting.room
        _stand_of(facts, waiting, context.locale)
    elif isinstance(error, RoomClosed):
        facts.opens_at = error.opens_at
    elif state is PageState.COOKIES:
        facts.retry = _COOKIE_SECONDS
    elif state is PageState.ERROR:
        facts.message = message(context.locale, f"error.{context.outcome}")
    return facts


def _stand_of(facts: Facts, state: State, locale: str) -> None:
    """Fills in where a user stands."""
    room = f'"{state.room}"'
    facts.lane = state.lane
    if state.registered:
        facts.status = registration_json(room, state, locale)
        facts.registered, facts.opens_at, facts.now = state.total, state.opens_at, state.server_time
        facts.retry = _POLL_SECONDS[1]
        return
    facts.status = status_json(room, state, locale)
    facts.position, facts.behind, facts.paused = state.position, state.behind, state.paused
    facts.unlikely = state.unlikely
    facts.retry = poll_seconds(state.position)
    if (between := state.wait_range) is not None:
        facts.between = (max(1, round(between[0])), max(1, round(between[1])))


def _to_login(request: RequestHead, context: RequestContext, page: RoomPage) -> WholeResponse:
    """Sends a browser without a good token to the login of the site, with the path asked for."""
    if request.method in _SAFE and context.target is not None:
        raw = context.target.raw_path
        asked = f"{raw}?{context.target.raw_query}" if context.target.has_query else raw
    else:
        asked = page_before(request, context)
    context.outcome = TokenRequired.code
    joined = "&" if "?" in page.login else "?"
    # A query may hold any bytes.
    return see_other(f"{page.login}{joined}next={quote(asked.encode('utf-8', 'surrogateescape'), safe='/')}")
