"""An identity provider for tests, over real HTTP: issuers with a document and a key set each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.support.listening import listening


@dataclass
class Provider:
    """An auth server: what it answers by path, JSON unless it is a response. ``asked`` are the paths asked for."""

    base: str = ""
    answers: dict[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    answering: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        await self.answering.wait()
        answer = self.answers.get(request.path)
        if answer is None:
            return web.json_response({}, status=404)
        return answer() if callable(answer) else web.json_response(answer)

    def publish(self, path: str, keys: list[dict[str, Any]], *, issuer: str | None = None) -> str:
        """An issuer below ``path`` with these keys; returns its name."""
        issuer = self.base + path if issuer is None else issuer
        below = f"{path.rstrip('/')}/.well-known/openid-configuration"
        self.answers[below] = {"issuer": issuer, "jwks_uri": f"{self.base}/keys{path}", "more": ["x"]}
        self.answers[f"/keys{path}"] = {"keys": keys}
        return issuer


@asynccontextmanager
async def providing() -> AsyncIterator[Provider]:
    """A running ``Provider`` on a free port; it answers while ``answering`` is set."""
    found = Provider()
    found.answering.set()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", found.handle)
    async with listening(web.AppRunner(app, access_log=None, shutdown_timeout=0.1)) as found.base:
        yield found
        found.answering.set()
