"""The gateway's own calls: which there are, what each needs, and who answers. They come before any route."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from aiohttp import web

from gateway.context import Handler
from gateway.errors import MethodNotAllowed, RouteNotFound

_PROBED = ("GET", "HEAD", "OPTIONS")
_PARAMETER = re.compile(r"\{(\w+)\}")

Auth = Literal["token", "nothing", "management"]

_OPERATORS = ("/actuator", "/metrics")
NAMESPACES = ("/api/v1/queue", *_OPERATORS, "/swagger-ui", "/swagger-ui.html")
"""Everything at or below these is answered here and never routed, in whatever case it is written."""


def is_for_operators(path: str) -> bool:
    """Whether an own call is for operators and their machines, and so for no page of another origin."""
    return path.lower().startswith(_OPERATORS)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One own call. ``path`` may hold ``{name}`` segments. ``label`` names it in logs and metrics.

    ``auth`` is what the call needs. ``sheddable``: an overloaded instance refuses it, because it brings a new user.
    ``streams``: answers with server-sent events, also where it refuses for the moment. ``slash``: a slash behind the
    path is the same call. ``probed``: load balancers may ask by ``OPTIONS``, too, whether the gateway is there.
    """

    method: str
    path: str
    handler: Handler
    auth: Auth = "token"
    label: str = ""
    sheddable: bool = False
    streams: bool = False
    slash: bool = False
    probed: bool = False

    def routes(self) -> list[web.RouteDef]:
        """The routes for aiohttp, which answers HEAD as well where GET is answered."""
        # A parameter takes what a segment may hold here; aiohttp's own default leaves out braces.
        path = _PARAMETER.sub(r"{\1:[^/]+}", self.path)
        paths = (path, f"{path}/") if self.slash else (path,)
        calls = [(self.method, self.handler), *([("OPTIONS", probe)] if self.probed else [])]
        return [
            web.route(method, each, handler, expect_handler=on_demand)
            for each in paths
            for method, handler in calls
        ]


async def probe(request: web.Request) -> web.StreamResponse:
    """Answers a load balancer that asks by ``OPTIONS`` whether the gateway is there."""
    if "Access-Control-Request-Method" in request.headers:
        # A preflight, and pages of other origins may not call what is for operators.
        raise MethodNotAllowed(_PROBED)
    return web.Response(headers={"Allow": ", ".join(_PROBED), "Cache-Control": "no-store"})


async def on_demand(_request: web.Request) -> None:
    """Sends no "100 Continue" yet: the body is asked for where it is read, so that a refused one is never sent."""


class Endpoints:
    """Finds own calls by method and canonical path. ``namespaces`` as ``NAMESPACES``."""

    def __init__(self, endpoints: Iterable[Endpoint], namespaces: tuple[str, ...] = NAMESPACES) -> None:
        self._exact: dict[str, dict[str, Endpoint]] = {}
        self._shaped: list[tuple[list[str], dict[str, Endpoint]]] = []
        self._namespaces = namespaces
        self._below = tuple(namespace + "/" for namespace in namespaces)
        for endpoint in endpoints:
            for path in (endpoint.path, f"{endpoint.path}/") if endpoint.slash else (endpoint.path,):
                methods = self._methods(path)
                methods[endpoint.method] = endpoint
                if endpoint.probed:
                    methods["OPTIONS"] = replace(endpoint, method="OPTIONS", handler=probe, auth="nothing")

    def _methods(self, path: str) -> dict[str, Endpoint]:
        if "{" not in path:
            return self._exact.setdefault(path, {})
        segments = path.split("/")
        for known, methods in self._shaped:
            if known == segments:
                return methods
        methods = {}
        self._shaped.append((segments, methods))
        return methods

    def find(self, method: str, path: str) -> tuple[Endpoint, Mapping[str, str]] | None:
        """The call and its path parameters; None if the path is not the gateway's own.

        Raises RouteNotFound and MethodNotAllowed for what is below its namespaces but does not exist.
        """
        methods = self._exact.get(path)
        parameters: Mapping[str, str] = {}
        if methods is None:
            lowered = path.lower()
            if not (lowered.startswith(self._below) or lowered in self._namespaces):
                return None
            methods, parameters = self._find_shaped(path)
        endpoint = methods.get(method) or (methods.get("GET") if method == "HEAD" else None)
        if endpoint is None:
            raise MethodNotAllowed(tuple(sorted({*methods, *(["HEAD"] if "GET" in methods else [])})))
        return endpoint, parameters

    def _find_shaped(self, path: str) -> tuple[dict[str, Endpoint], dict[str, str]]:
        given = path.split("/")
        for segments, methods in self._shaped:
            if len(segments) == len(given) and all(
                wanted == found or (wanted.startswith("{") and found)
                for wanted, found in zip(segments, given, strict=True)
            ):
                pairs = zip(segments, given, strict=True)
                return methods, {wanted[1:-1]: found for wanted, found in pairs if wanted.startswith("{")}
        raise RouteNotFound
