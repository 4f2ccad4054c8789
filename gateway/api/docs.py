"""``/v3/api-docs`` and ``/swagger-ui.html``: the description of the API, for programs and for people."""

from __future__ import annotations

import asyncio
import re
from io import BytesIO
from typing import Final

from aiohttp import web

from gateway.api.endpoints import Endpoint
from gateway.api.envelope import encode
from gateway.api.negotiation import takes_gzip
from gateway.api.openapi import written
from gateway.context import CONFIGURATION, CONTEXT
from gateway.errors import RouteNotFound
from gateway.pages.swagger_files import Content, swagger_files
from gateway.routing.predicates import Path
from gateway.routing.table import RouteTable
from gateway.settings.model import Settings

API_DOCS: Final = "/v3/api-docs"
UI: Final = "/swagger-ui"

_SECURITY: Final = {
    # Swagger UI sets styles from its script, uses data URLs for icons, and needs nothing of any other origin.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

# Only paths that name one document: a path with a variable or a wildcard before it stands for any number.
_DOCUMENT: Final = re.compile(r"/(?P<name>[^?*{}]+)/v3/api-docs(?:/\*\*|/\{\*\w+\})?")


def service_documents(table: RouteTable) -> dict[str, str]:
    """The services that have a route to their API description, in the table's order: name → path."""
    patterns = (
        pattern.source
        for route in table.routes
        for predicate in route.predicates
        if isinstance(predicate, Path)
        for pattern in predicate.patterns
    )
    found = filter(None, map(_DOCUMENT.fullmatch, patterns))
    return {match["name"]: f"/{match['name']}{API_DOCS}" for match in found}


def endpoints(settings: Settings) -> tuple[Endpoint, ...]:
    """The endpoints for documentation. Only exact paths below ``/v3/api-docs``: others may be routed to services."""
    return (
        Endpoint("GET", API_DOCS, document, auth="nothing", label="docs"),
        Endpoint("GET", f"{API_DOCS}.yaml", document_as_yaml, auth="nothing", label="docs"),
        Endpoint("GET", f"{API_DOCS}/swagger-config", config, auth="nothing", label="docs"),
        Endpoint("GET", f"{UI}.html", page, auth="nothing", label="docs.ui"),
        Endpoint("GET", f"{UI}/{{file}}", file, auth="nothing", label="docs.ui"),
    )


async def document(request: web.Request) -> web.StreamResponse:
    """The gateway's own document."""
    return _served(request, (await _documents(request))[0])


async def document_as_yaml(request: web.Request) -> web.StreamResponse:
    """The gateway's own document as YAML, for people."""
    return _served(request, (await _documents(request))[1])


async def _documents(request: web.Request) -> tuple[Content, Content]:
    settings = request.app[CONFIGURATION].settings
    return await asyncio.to_thread(
        written, actuator=settings.management_server_port is None, cookie=settings.jwt_cookie_name
    )


async def config(request: web.Request) -> web.StreamResponse:
    """The list of documents: those of the current route table, or those in the settings. It has the format that
    springdoc gives to Swagger UI."""
    settings = request.app[CONFIGURATION].settings
    documents = settings.api_documents or (
        (settings.spring_application_name, API_DOCS),
        *service_documents(request.app[CONFIGURATION].tables.current.table).items(),
    )
    content: dict[str, object] = {
        "configUrl": f"{API_DOCS}/swagger-config",
        "oauth2RedirectUrl": f"{UI}/oauth2-redirect.html",
        "urls": [{"url": url, "name": name} for name, url in documents],
        "validatorUrl": "",
    }
    if settings.api_document_first:
        content["urls.primaryName"] = settings.api_document_first
    headers = _SECURITY | {"Cache-Control": "no-store"}
    return web.Response(body=encode(content), content_type="application/json", headers=headers)


async def page(request: web.Request) -> web.StreamResponse:
    """Redirects to the page."""
    return web.Response(status=302, headers={"Location": f"{UI}/index.html", "Cache-Control": "no-cache"})


async def file(request: web.Request) -> web.StreamResponse:
    """One file of Swagger UI."""
    content = (await asyncio.to_thread(swagger_files)).get(request[CONTEXT].parameters["file"])
    if content is None:
        raise RouteNotFound
    return _served(request, content)


def _served(request: web.BaseRequest, content: Content) -> web.Response:
    """The content, or 304 if the client already has it. Clients check each time, so an update takes effect at once."""
    headers = _SECURITY | {
        "Cache-Control": "no-cache",
        "Vary": "Accept-Encoding",
        "ETag": f'W/"{content.tag}"',
    }
    if any(tag.value in (content.tag, "*") for tag in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    body = content.body
    if content.zipped and takes_gzip(request.headers.get("Accept-Encoding", "")):
        headers["Content-Encoding"] = "gzip"
        body = content.zipped
    charset = "utf-8" if content.media_type.startswith("text/") else None
    # Written in pieces: written as a whole, each slow client would hold a copy in memory.
    return web.Response(body=BytesIO(body), content_type=content.media_type, charset=charset, headers=headers)
