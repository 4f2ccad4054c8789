"""``/actuator/refresh`` and ``/actuator/gateway/refresh``: read routes and configuration anew, told by an operator or
by a git server's webhook."""

from __future__ import annotations

import hashlib
import hmac

from aiohttp import web

from gateway.api.actuator import BASE
from gateway.api.body import read_small
from gateway.api.endpoints import Endpoint
from gateway.context import Context, Exchange
from gateway.errors import RouteNotFound, TokenInvalid, TokenRequired
from gateway.web.actuator_json import spring_json

MOST_BYTES = 1024 * 1024
"""A push of many commits is long, but nothing of it is kept: the signature is over all of it."""

SIGNATURE = "X-Hub-Signature-256"


def signature_of(secret: str, body: bytes) -> str:
    """What a git server writes into the header."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


class RefreshApi:
    """Refreshing needs the management token. The webhook needs a signature instead, says nothing of what comes of
    it, and however often it is called one look at the configuration follows, so repeating one gains nothing."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def endpoints(self) -> tuple[Endpoint, ...]:
        """All calls."""
        return (
            Endpoint("POST", f"{BASE}/refresh", self.refresh, needs="management", label="actuator.refresh"),
            Endpoint(
                "POST",
                f"{BASE}/gateway/refresh",
                self.refresh_routes,
                needs="management",
                label="actuator.refresh",
            ),
            Endpoint(
                "POST", f"{BASE}/refresh/webhook", self.webhook, needs="nothing", label="actuator.refresh"
            ),
        )

    async def refresh(self, request: web.BaseRequest, exchange: Exchange) -> web.StreamResponse:
        """Spring's answer: the names of the properties that changed."""
        return spring_json(request, list(await self._context.refresh()))

    async def refresh_routes(self, request: web.BaseRequest, exchange: Exchange) -> web.StreamResponse:
        """The same as ``refresh``, with the answer that Spring Cloud Gateway gives: 200, and no body."""
        await self._context.refresh()
        return web.Response(headers={"Cache-Control": "no-store"})

    async def webhook(self, request: web.BaseRequest, exchange: Exchange) -> web.StreamResponse:
        """202, and a look at the configuration that nobody waits for."""
        secret = self._context.settings.config_server_webhook_secret
        if not secret:
            raise RouteNotFound
        given = request.headers.getall(SIGNATURE, ())
        if not given:
            raise TokenRequired
        body = await read_small(request, MOST_BYTES, self._context.uploads, exchange.client)
        expected = signature_of(secret, body)
        if len(given) > 1 or not hmac.compare_digest(
            given[0].encode("utf-8", "surrogateescape"), expected.encode()
        ):
            raise TokenInvalid("not the webhook's signature")
        self._context.look()
        return web.Response(status=202, headers={"Cache-Control": "no-store"})
