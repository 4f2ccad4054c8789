"""``GET /api/v1/queue/pass-keys.json``: the public keys with which everyone can check passes and receipts."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from gateway.api.endpoints import Endpoint
from gateway.api.queue import QUEUE
from gateway.context import CONFIGURATION, SIGNING_KEYS
from gateway.settings.model import Settings

MAX_AGE_SECONDS: Final = 300
"""How long the answer may be cached, at most. A key is published one turn before it signs, so a cached answer has it in
time."""


def endpoints(settings: Settings) -> tuple[Endpoint, ...]:
    """The endpoint of this module."""
    path = f"{QUEUE}/pass-keys.json"
    return (Endpoint("GET", path, pass_keys, auth="nothing", label="queue.pass_keys"),)


async def pass_keys(request: web.Request) -> web.StreamResponse:
    """The keys as a JWKS (RFC 7517). Raises QueueUnavailable while none are known."""
    document = await request.app[SIGNING_KEYS].document()
    turn = request.app[CONFIGURATION].settings.pass_rotate_seconds
    age = min(MAX_AGE_SECONDS, turn // 2)
    headers = {"Cache-Control": f"public, max-age={age}", "X-Content-Type-Options": "nosniff"}
    return web.Response(body=document, content_type="application/json", headers=headers)
