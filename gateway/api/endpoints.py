"""The gateway's own endpoints: path, handler, and what each call needs. They come before any route."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from aiohttp import web

from gateway.context import Handler
from gateway.errors import MethodNotAllowed, RouteNotFound
from gateway.proxy.security_headers import SecurityHeaders

_PROBE_METHODS = ("GET", "HEAD", "OPTIONS")
_PARAMETER = re.compile(r"\{(\w+)\}")

Auth = Literal["token", "nothing", "management", "desk", "desk_open"]
"""``desk``: a session of the operator's desk. ``desk_open``: none, but a host under which the desk answers."""

_OPERATOR_PATHS = ("/actuator", "/metrics")
NAMESPACES = ("/api/v1/queue", *_OPERATOR_PATHS, "/swagger-ui", "/swagger-ui.html")
"""The gateway itself answers every path at or below these, and never routes it, in upper or lower case."""


def is_for_operators(path: str) -> bool:
    """Whether an endpoint is for operators and monitoring. Pages of other origins may not call it."""
    return path.lower().startswith(_OPERATOR_PATHS)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One of the gateway's own endpoints. ``path`` may hold ``{name}`` segments. ``label`` names it in logs and
    metrics.

    ``auth``: what the call needs. ``of_room``: the call is about the place of the caller in the room ``?room=``, which
    may be one for visitors. ``sheddable``: an overloaded instance refuses the call, because it brings a new user.
    ``streams``: it answers with server-sent events, even for a temporary refusal. ``slash``: the path with a slash at
    the end is the same call. ``may_be_page``: a browser that navigates gets a page, if the room ``?room=`` has one.
    ``below``: it answers every method at every path below its own. ``cors``: pages of other origins may call it where a
    CORS rule says so.
    ``security``: headers that each answer gets if it lacks them, in place of those of other answers. ``probed``: load
    balancers may also use ``OPTIONS`` to check whether the gateway works.
    """

    method: str
    path: str
    handler: Handler
    auth: Auth = "token"
    label: str = ""
    of_room: bool = False
    sheddable: bool = False
    streams: bool = False
    slash: bool = False
    may_be_page: bool = False
    below: bool = False
    cors: bool = True
    probed: bool = False
    security: SecurityHeaders | None = None

    def routes(self) -> list[web.RouteDef]:
        """The routes for aiohttp. Where aiohttp answers GET, it also answers HEAD."""
        # A parameter accepts anything but a slash; aiohttp's default also excludes braces.
        path = _PARAMETER.sub(r"{\1:[^/]+}", self.path)
        if self.below:
            return [web.route("*", f"{path}/{{rest:(?s:.*)}}", self.handler, expect_handler=on_demand)]
        paths = (path, f"{path}/") if self.slash else (path,)
        calls = [(self.method, self.handler), *([("OPTIONS", probe)] if self.probed else [])]
        return [
            web.route(method, each, handler, expect_handler=on_demand)
            for each in paths
            for method, handler in calls
        ]


async def probe(request: web.Request) -> web.StreamResponse:
    """Answers a load balancer that checks by ``OPTIONS`` whether the gateway works."""
    if "Access-Control-Request-Method" in request.headers:
        # This is a preflight, and pages of other origins may not call operators' endpoints.
        raise MethodNotAllowed(_PROBE_METHODS)
    return web.Response(headers={"Allow": ", ".join(_PROBE_METHODS), "Cache-Control": "no-store"})


async def on_demand(_request: web.Request) -> None:
    """Sends no "100 Continue" yet. The code that reads the body sends it, so a client never sends a body that is
    refused."""


class Endpoints:
    """Finds the gateway's own endpoints by method and canonical path. ``namespaces`` as in ``NAMESPACES``."""

    def __init__(self, endpoints: Iterable[Endpoint], namespaces: tuple[str, ...] = NAMESPACES) -> None:
        self._exact: dict[str, dict[str, Endpoint]] = {}
        self._with_parameters: list[tuple[list[str], dict[str, Endpoint]]] = []
        self._prefixed: list[tuple[str, Endpoint]] = []
        self._namespaces = namespaces
        self._below = tuple(namespace + "/" for namespace in namespaces)
        for endpoint in endpoints:
            if endpoint.below:
                self._prefixed.append((f"{endpoint.path}/", endpoint))
                continue
            for path in (endpoint.path, f"{endpoint.path}/") if endpoint.slash else (endpoint.path,):
                methods = self._methods(path)
                methods[endpoint.method] = endpoint
                if endpoint.probed:
                    methods["OPTIONS"] = replace(endpoint, method="OPTIONS", handler=probe, auth="nothing")

    def _methods(self, path: str) -> dict[str, Endpoint]:
        if "{" not in path:
            return self._exact.setdefault(path, {})
        segments = path.split("/")
        for known, methods in self._with_parameters:
            if known == segments:
                return methods
        methods = {}
        self._with_parameters.append((segments, methods))
        return methods

    def find(self, method: str, path: str) -> tuple[Endpoint, Mapping[str, str]] | None:
        """The endpoint and its path parameters; None if the path is not the gateway's own.

        Raises RouteNotFound or MethodNotAllowed for a path below the gateway's namespaces that does not exist.
        """
        methods = self._exact.get(path)
        parameters: Mapping[str, str] = {}
        if methods is None:
            lowered = path.lower()
            if not (lowered.startswith(self._below) or lowered in self._namespaces):
                return None
            for prefix, prefixed in self._prefixed:
                if path.startswith(prefix):
                    return prefixed, {}
            methods, parameters = self._find_with_parameters(path)
        endpoint = methods.get(method) or (methods.get("GET") if method == "HEAD" else None)
        if endpoint is None:
            raise MethodNotAllowed(tuple(sorted({*methods, *(["HEAD"] if "GET" in methods else [])})))
        return endpoint, parameters

    def may_be_called_by_pages(self, path: str) -> bool:
        """Whether pages of other origins may call what is at this path."""
        return all(endpoint.cors for endpoint in self._exact.get(path, {}).values())

    def _find_with_parameters(self, path: str) -> tuple[dict[str, Endpoint], dict[str, str]]:
        given = path.split("/")
        for segments, methods in self._with_parameters:
            if len(segments) == len(given) and all(
                wanted == found or (wanted.startswith("{") and found)
                for wanted, found in zip(segments, given, strict=True)
            ):
                pairs = zip(segments, given, strict=True)
                return methods, {wanted[1:-1]: found for wanted, found in pairs if wanted.startswith("{")}
        raise RouteNotFound
