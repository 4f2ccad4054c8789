"""The gateway's own calls: which there are, what each needs, and who answers. They come before any route."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from aiohttp import web

from gateway.context import Exchange, Handler
from gateway.errors import MethodNotAllowed, RouteNotFound

Needs = Literal["token", "nothing", "management"]

_OPERATORS = ("/actuator", "/metrics")
NAMESPACES = ("/api/v1/queue", *_OPERATORS, "/swagger-ui", "/swagger-ui.html")
"""Everything at or below these is answered here and never routed, in whatever case it is written."""


def is_for_operators(path: str) -> bool:
    """Whether an own call is for operators and their machines, and so for no page of another origin."""
    return path.lower().startswith(_OPERATORS)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One own call. ``path`` may hold ``{name}`` segments. ``label`` names it in logs and metrics.

    ``sheds``: refused while the instance is overloaded, because it brings a newcomer. ``streams``: answers with
    server-sent events, also where it refuses for the moment. ``slash``: a slash behind the path is the same call.
    ``probed``: load balancers may ask by ``OPTIONS``, too, whether the gateway is there.
    """

    method: str
    path: str
    handler: Handler
    needs: Needs = "token"
    label: str = ""
    sheds: bool = False
    streams: bool = False
    slash: bool = False
    probed: bool = False


def _saying(allowed: tuple[str, ...]) -> Handler:
    async def answer(request: web.BaseRequest, _exchange: Exchange) -> web.StreamResponse:
        if "Access-Control-Request-Method" in request.headers:
            # A preflight, and what is for operators is for no page.
            raise MethodNotAllowed(allowed)
        return web.Response(headers={"Allow": ", ".join(allowed), "Cache-Control": "no-store"})

    return answer


class Endpoints:
    """Finds own calls by method and canonical path. ``namespaces`` as ``NAMESPACES``."""

    def __init__(self, endpoints: Iterable[Endpoint], namespaces: tuple[str, ...] = NAMESPACES) -> None:
        self._exact: dict[str, dict[str, Endpoint]] = {}
        self._shaped: list[tuple[list[str], dict[str, Endpoint]]] = []
        self._namespaces = namespaces
        self._below = tuple(namespace + "/" for namespace in namespaces)
        for endpoint in endpoints:
            self._methods(endpoint.path)[endpoint.method] = endpoint
            if endpoint.slash:
                self._methods(f"{endpoint.path}/")[endpoint.method] = endpoint

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
            probed = next((each for each in methods.values() if each.probed), None)
            more = [*(["HEAD"] if "GET" in methods else []), *(["OPTIONS"] if probed else [])]
            allowed = tuple(sorted({*methods, *more}))
            if method != "OPTIONS" or probed is None:
                raise MethodNotAllowed(allowed)
            endpoint = Endpoint(method, probed.path, _saying(allowed), needs="nothing", label=probed.label)
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
