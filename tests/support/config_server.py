"""A Config Server inside the test's own process: it says over real HTTP what the test wants it to say."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from gateway.discovery.config_server.response import ConfigResponse, PropertySource, Value
from tests.support.listening import listening

Sources = list[dict[str, Any]]


def answer_of(*sources: Mapping[str, Any]) -> ConfigResponse:
    """An answer with these sources, named ``first.yml``, ``second.yml`` and so on, each value on a line of its own."""
    names = ("first.yml", "second.yml", "third.yml")
    return ConfigResponse(
        tuple(
            PropertySource(
                name, {key: Value(value, line) for line, (key, value) in enumerate(source.items(), 1)}
            )
            for name, source in zip(names, sources, strict=False)
        ),
        "c0ffee",
    )


def routes(*ids: str, prefix: str = "spring.cloud.gateway.server.webflux") -> dict[str, Any]:
    """Properties of routes ``/ID/**`` to ``lb://ID``."""
    found: dict[str, Any] = {}
    for at, name in enumerate(ids):
        found[f"{prefix}.routes[{at}].id"] = name
        found[f"{prefix}.routes[{at}].uri"] = f"lb://{name}"
        found[f"{prefix}.routes[{at}].predicates[0]"] = f"Path=/{name}/**"
    return found


@dataclass
class ConfigServerStub:
    """``sources`` is what it says; ``status`` anything but 200 makes it say nothing."""

    url: str = ""
    sources: Sources = field(default_factory=list)
    status: int = 200
    body: bytes | None = None
    """What it answers in place of the sources."""
    breaks_off: bool = False
    """Whether its answer ends before it is over."""
    labels: dict[str, int] | None = None
    """The status by label, 404 for others; None: every label is there."""
    credentials: tuple[str, str] | None = None
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Path and Accept of each request."""

    def say(self, *sources: Mapping[str, Any]) -> None:
        self.sources = [dict(source) for source in sources]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.raw_path, request.headers.get("Accept", "")))
        if self.credentials is not None:
            wanted = base64.b64encode(":".join(self.credentials).encode()).decode()
            if request.headers.get("Authorization") != f"Basic {wanted}":
                return web.Response(status=401)
        label = request.path.split("/")[3] if request.path.count("/") > 2 else None
        status = self.status if self.labels is None else self.labels.get(label or "", 404)
        if status != 200:
            return web.Response(status=status, headers={"Location": "/elsewhere"})
        if self.breaks_off:
            response = web.StreamResponse(headers={"Content-Length": "5000"})
            await response.prepare(request)
            await response.write(b'{"name": "x", ')
            assert request.transport is not None
            request.transport.close()
            return response
        if self.body is not None:
            return web.Response(body=self.body, content_type="application/json")
        described = [
            {
                "name": f"file-{at}.yml",
                "source": {key: {"value": value, "origin": f"{line}:9"} for line, (key, value) in pairs},
            }
            for at, source in enumerate(self.sources)
            for pairs in [list(enumerate(source.items(), 1))]
        ]
        version = hashlib.sha1(json.dumps(self.sources).encode()).hexdigest()
        return web.json_response(
            {"name": "x", "label": label, "version": version, "propertySources": described}
        )


@asynccontextmanager
async def config_server() -> AsyncIterator[ConfigServerStub]:
    """A running one."""
    stub = ConfigServerStub()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", stub.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    async with listening(runner) as stub.url:
        yield stub
