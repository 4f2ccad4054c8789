"""``/actuator/refresh`` and ``/actuator/gateway/refresh``: read routes and configuration again, on a call from an
operator or from a git server's webhook."""

from __future__ import annotations

import hashlib
import hmac
import re
from contextlib import aclosing

from aiohttp import web

from gateway.api.actuator import BASE
from gateway.api.body import pieces_of
from gateway.api.endpoints import Endpoint
from gateway.api.spring_json import spring_json
from gateway.context import CONFIGURATION, CONTEXT, REFRESH, UPLOADS
from gateway.errors import RouteNotFound, TokenInvalid, TokenRequired
from gateway.settings.model import Settings

MAX_BYTES = 1024 * 1024
"""A push of many commits is long. Its signature is computed piece by piece, so nothing of it is kept."""

SIGNATURE = "X-Hub-Signature-256"
_FORM = re.compile(r"sha256=[0-9a-f]{64}")


def signature_of(secret: str, body: bytes) -> str:
    """The signature header of a git server."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def endpoints(settings: Settings) -> tuple[Endpoint, ...]:
    """The endpoints of this module."""
    return (
        Endpoint("POST", f"{BASE}/refresh", refresh, auth="management", label="actuator.refresh"),
        Endpoint(
            "POST",
            f"{BASE}/gateway/refresh",
            refresh_routes,
            auth="management",
            label="actuator.refresh",
        ),
        Endpoint("POST", f"{BASE}/refresh/webhook", webhook, auth="nothing", label="actuator.refresh"),
    )


async def refresh(request: web.Request) -> web.StreamResponse:
    """Answers as Spring does: the names of the properties that changed."""
    return spring_json(request, list(await request.app[REFRESH].refresh()))


async def refresh_routes(request: web.Request) -> web.StreamResponse:
    """The same as ``refresh``, but answers as Spring Cloud Gateway does: 200, and no body."""
    await request.app[REFRESH].refresh()
    return web.Response(headers={"Cache-Control": "no-store"})


async def webhook(request: web.Request) -> web.StreamResponse:
    """Answers 202. The gateway then checks the configuration in the background."""
    secret = request.app[CONFIGURATION].settings.config_server_webhook_secret
    if not secret:
        raise RouteNotFound
    given = request.headers.getall(SIGNATURE, ())
    if not given:
        raise TokenRequired
    # Nothing of the body is read for a header that can't be right.
    if len(given) > 1 or _FORM.fullmatch(given[0]) is None:
        raise TokenInvalid("not the webhook's signature")
    computed = hmac.new(secret.encode(), digestmod=hashlib.sha256)
    async with aclosing(
        pieces_of(request, MAX_BYTES, request.app[UPLOADS], request[CONTEXT].client)
    ) as pieces:
        async for piece in pieces:
            computed.update(piece)
    if not hmac.compare_digest(given[0], f"sha256={computed.hexdigest()}"):
        raise TokenInvalid("not the webhook's signature")
    request.app[REFRESH].poll_config_server()
    return web.Response(status=202, headers={"Cache-Control": "no-store"})
