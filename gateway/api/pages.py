"""``/api/v1/queue/…`` for browsers: files of the page, its language, and pages with an address of their own."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from gateway.api.body import form_values
from gateway.api.endpoints import Endpoint
from gateway.api.negotiation import takes_gzip
from gateway.api.own_origin import check_own_page, page_before, referring_path
from gateway.api.page_language import language_cookie
from gateway.api.queue import room_name
from gateway.api.waiting_page import new_facts, page_response, see_other
from gateway.context import CONTEXT, UPLOADS
from gateway.errors import BadRequest, FieldError, RouteNotFound
from gateway.pages.waiting_page.assets import PATH, assets
from gateway.pages.waiting_page.states import PageState
from gateway.pages.waiting_page.texts import LANGUAGES
from gateway.server.whole_response import WholeResponse
from gateway.settings.model import Settings

LEFT: Final = "/api/v1/queue/left"
_FOR_EVER: Final = "public, max-age=31536000, immutable"


def endpoints(settings: Settings) -> tuple[Endpoint, ...]:
    """The endpoints of this module."""
    return (
        Endpoint("GET", f"{PATH}/{{file}}", file, auth="nothing", label="queue.assets"),
        Endpoint("GET", LEFT, left, auth="nothing", label="queue.left", may_be_page=True),
        Endpoint("POST", "/api/v1/queue/language", language, auth="nothing", label="queue.language"),
    )


async def file(request: web.Request) -> web.StreamResponse:
    """A file of the page. Its name has a hash of its content, so it never changes. Raises RouteNotFound."""
    asset = assets().by_name.get(request[CONTEXT].parameters["file"])
    if asset is None:
        raise RouteNotFound
    headers = {
        "Content-Type": asset.media_type,
        "Cache-Control": _FOR_EVER,
        "X-Content-Type-Options": "nosniff",
        "Vary": "Accept-Encoding",
    }
    body = asset.body
    if asset.zipped and takes_gzip(request.headers.get("Accept-Encoding", "")):
        headers["Content-Encoding"] = "gzip"
        body = asset.zipped
    return WholeResponse(body, headers=headers)


async def left(request: web.Request) -> web.StreamResponse:
    """What a person sees who has left the line. Raises RouteNotFound for a room without a page."""
    context = request[CONTEXT]
    if context.page is None:
        raise RouteNotFound
    facts = new_facts(room_name(context))
    facts.back = page_before(request, context)
    return page_response(request, context, context.page, PageState.LEFT, facts)


async def language(request: web.Request) -> web.StreamResponse:
    """Keeps the chosen language, and goes back to the page of this site that has the menu. Raises BadRequest for a
    language that there is not, and CsrfRejected for a choice by a page of another origin."""
    context = request[CONTEXT]
    check_own_page(request, context)
    values = await form_values(request, "language", request.app[UPLOADS], context.client)
    if len(values) != 1 or values[0] not in LANGUAGES:
        allowed = f"must be one of {', '.join(LANGUAGES)}"
        raise BadRequest(f"language {allowed}", (FieldError("language", "", allowed),))
    response = see_other(referring_path(request, context))
    response.headers.add("Set-Cookie", language_cookie(values[0], secure=context.over_tls))
    return response
