"""``/v3/api-docs`` of the demo's services: made of what the application has, as springdoc makes it for a real one."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any

from aiohttp import web

Bodies = Mapping[str, Mapping[str, object]]


def described(app: web.Application, title: str, bodies: Bodies | None = None) -> web.Application:
    """Adds the description of ``app`` to it. ``bodies`` are examples of what is sent, by path; what a call does is the
    docstring of its handler."""
    paths = _paths(app, bodies or {})

    async def document(request: web.Request) -> web.Response:
        return web.json_response(
            {
                "openapi": "3.1.0",
                "info": {"title": title, "version": "demo"},
                # As services do it, of themselves: nobody outside can reach this address.
                "servers": [{"url": str(request.url.origin()), "description": "Generated server url"}],
                "security": [{}, {"token": []}],
                "paths": paths,
                "components": {
                    "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
                },
            }
        )

    app.router.add_get("/v3/api-docs", document)
    return app


def _paths(app: web.Application, bodies: Bodies) -> dict[str, dict[str, Any]]:
    paths: dict[str, dict[str, Any]] = {}
    for route in app.router.routes():
        if route.method == "HEAD" or route.resource is None:
            continue
        path = route.resource.canonical
        operation: dict[str, Any] = {
            "summary": inspect.getdoc(route.handler) or "",
            "responses": {"default": {"description": "JSON", "content": {"application/json": {}}}},
        }
        if names := re.findall(r"{(\w+)}", path):
            operation["parameters"] = [
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
            ]
        if path in bodies:
            operation["requestBody"] = {"content": {"application/json": {"example": bodies[path]}}}
        paths.setdefault(path, {})[route.method.lower()] = operation
    return paths
