"""``/actuator``: health, info, and access to operators' calls. Long answers are created in a thread and shared."""

from __future__ import annotations

import asyncio
import platform
import time
from collections.abc import Callable, Coroutine, Mapping
from io import BytesIO
from typing import Any, Final, NamedTuple, TypeVar, cast
from urllib.parse import quote

from aiohttp import web
from prometheus_async.aio.web import server_stats

from gateway import __version__
from gateway.api.endpoints import Auth, Endpoint
from gateway.api.envelope import encode
from gateway.api.spring_json import plain, spring_json
from gateway.context import CONFIGURATION, CONTEXT, HEALTH, OPERATORS, Handler, Health
from gateway.errors import RouteNotFound
from gateway.observability.exposition import negotiate_format
from gateway.routing.describe import actuator as routes_of
from gateway.routing.describe import actuator_route
from gateway.settings.model import Settings

T = TypeVar("T")

EXPENSIVE_SECONDS: Final = 0.05
"""An answer is long if creating it takes more CPU time than this."""

CACHE_FACTOR: Final = 3
"""A long answer is reused for this many times its creation time. So creating it takes at most a quarter of one CPU,
however many callers there are."""


class _CachedBody(NamedTuple):
    body: object
    subject: object
    started: float
    until: float

    def is_usable(self, arrived: float) -> bool:
        """Whether the answer may be used for a call that arrived at the time ``arrived``."""
        return self.started >= arrived or time.monotonic() < self.until


class BackgroundRenderer:
    """Creates answers in a thread and keeps the last one of each kind."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._cached: dict[str, _CachedBody] = {}

    async def render(self, kind: str, make: Callable[[], T], subject: object = None) -> T:
        """Calls ``make`` in a thread and returns its result: bytes, or an object from which several answers are made.

        If ``subject`` is given, the answer depends on this object alone and is created once for it. Otherwise an answer
        covers everything that happened before the call, unless a long one is still kept.
        """
        # If a caller disconnects, the next thread must not start while the first is still at work.
        return await asyncio.shield(self._render(kind, make, subject, time.monotonic()))

    async def _render(self, kind: str, make: Callable[[], T], subject: object, arrived: float) -> T:
        async with self._lock:
            cached = self._cached.get(kind)
            if (
                cached is not None
                and cached.subject is subject
                and (subject is not None or cached.is_usable(arrived))
            ):
                return cast(T, cached.body)
            started = time.monotonic()
            body, took = await asyncio.to_thread(_timed, make)
            kept = CACHE_FACTOR * took if took > EXPENSIVE_SECONDS else 0.0
            self._cached[kind] = _CachedBody(body, subject, started, time.monotonic() + kept)
            return body


def _timed(make: Callable[[], T]) -> tuple[T, float]:
    started = time.thread_time()
    return make(), time.thread_time() - started


BASE = "/actuator"
OUT_OF_SERVICE = "OUT_OF_SERVICE"


def _readiness(components: Mapping[str, Any]) -> str:
    return cast(str, components["readinessState"]["status"])


class _AcceptHeader(NamedTuple):
    """The part of a request that ``server_stats`` reads."""

    headers: Mapping[str, str]


def _shows_details(request: web.Request) -> bool:
    if request.app[CONFIGURATION].settings.management_reads != "token":
        return True
    # A wrong token is not counted: probes may send one of their own.
    return request.app[OPERATORS].find(request.headers.getall("Authorization", ())) is not None


def _components(health: Health) -> dict[str, Any]:
    components: dict[str, Any] = {}
    for name, check in sorted(health.checks.items()):
        up, details = check()
        status = up if isinstance(up, str) else "UP" if up else "UNKNOWN"
        components[name] = {"status": status, "details": details}
    out = health.draining or any(each["status"] == OUT_OF_SERVICE for each in components.values())
    components["livenessState"] = {"status": "UP"}
    components["readinessState"] = {"status": OUT_OF_SERVICE if out else "UP"}
    return components


class Actuator:
    """Health, information, routes and metrics."""

    def __init__(self) -> None:
        self._renderer = BackgroundRenderer()

    def endpoints(self, settings: Settings) -> tuple[Endpoint, ...]:
        """The endpoints below ``/actuator``, except those for rooms."""
        reads: Auth = "management" if settings.management_reads == "token" else "nothing"
        return (
            Endpoint("GET", BASE, self.links, auth=reads, label="actuator"),
            self._health_endpoint("/health", self.health),
            self._health_endpoint("/health/liveness", self.liveness),
            self._health_endpoint("/health/readiness", self.readiness),
            self._health_endpoint("/health/{component}", self.component, reads),
            Endpoint("GET", f"{BASE}/info", self.info, auth=reads, label="actuator.info"),
            Endpoint("GET", f"{BASE}/gateway", self.gateway, auth=reads, label="actuator.routes"),
            Endpoint("GET", f"{BASE}/gateway/routes", self.routes, auth=reads, label="actuator.routes"),
            Endpoint("GET", f"{BASE}/gateway/routes/{{id}}", self.route, auth=reads, label="actuator.routes"),
            Endpoint("GET", f"{BASE}/prometheus", self.prometheus, auth=reads, label="actuator.prometheus"),
            Endpoint("GET", "/metrics", self.prometheus, auth=reads, label="actuator.prometheus"),
        )

    @staticmethod
    def _health_endpoint(path: str, handler: Handler, auth: Auth = "nothing") -> Endpoint:
        return Endpoint(
            "GET", f"{BASE}{path}", handler, auth, label="actuator.health", slash=True, probed=True
        )

    async def links(self, request: web.Request) -> web.StreamResponse:
        """Links to all endpoints."""
        base = f"{request.scheme}://{request.host}{BASE}" if request.host else BASE

        def link(path: str, templated: bool = False) -> dict[str, Any]:
            return {"href": base + path, "templated": templated}

        return spring_json(
            request,
            {
                "_links": {
                    "self": link(""),
                    "health": link("/health"),
                    "health-path": link("/health/{*path}", templated=True),
                    "info": link("/info"),
                    "metrics": link("/metrics"),
                    "metrics-requiredMetricName": link("/metrics/{requiredMetricName}", templated=True),
                    "gateway": link("/gateway"),
                    "prometheus": link("/prometheus"),
                    "rooms": link("/rooms"),
                    # As in Spring: the list is the same for all callers. Without operators these are not there.
                    **(
                        {"services": link("/services"), "refresh": link("/refresh")}
                        if request.app[OPERATORS].exist
                        else {}
                    ),
                }
            },
        )

    async def health(self, request: web.Request) -> web.StreamResponse:
        """The status of each component. If Redis or the authorization server is unavailable, this is shown but does not
        take the instance out of service, because it still serves ungated routes. A component that is OUT_OF_SERVICE
        does. If reads need an operator's token, callers without one get only the overall status, because probes have no
        token."""
        components = _components(request.app[HEALTH])
        status = _readiness(components)
        content: dict[str, Any] = {"status": status}
        if _shows_details(request):
            content |= {"components": components, "groups": ["liveness", "readiness"]}
        return spring_json(request, content, 200 if status == "UP" else 503)

    async def component(self, request: web.Request) -> web.StreamResponse:
        """The status of one component."""
        component = _components(request.app[HEALTH]).get(request[CONTEXT].parameters["component"])
        if component is None:
            raise RouteNotFound
        return spring_json(
            request, component, 503 if component["status"] in {"OUT_OF_SERVICE", "DOWN"} else 200
        )

    async def liveness(self, request: web.Request) -> web.StreamResponse:
        """Always UP: an answer shows that the process is alive."""
        return spring_json(request, {"status": "UP"})

    async def readiness(self, request: web.Request) -> web.StreamResponse:
        """Whether requests should be sent to this instance; if not, because of which components."""
        components = _components(request.app[HEALTH])
        status = _readiness(components)
        if status == "UP":
            return spring_json(request, {"status": status})
        content: dict[str, Any] = {"status": status}
        if _shows_details(request):
            content["components"] = {
                name: each for name, each in components.items() if each["status"] == OUT_OF_SERVICE
            }
        return spring_json(request, content, 503)

    async def info(self, request: web.Request) -> web.StreamResponse:
        """Name, version, profiles and Python version of this gateway."""
        settings = request.app[CONFIGURATION].settings
        return spring_json(
            request,
            {
                "app": {"name": settings.spring_application_name, "version": __version__},
                "profiles": list(settings.spring_profiles_active),
                "python": platform.python_version(),
            },
        )

    async def gateway(self, request: web.Request) -> web.StreamResponse:
        """Links to everything about routes."""
        ids = [route.id for route in request.app[CONFIGURATION].tables.current.table.routes]
        fixed = ("globalfilters", "routefilters", "routepredicates", "routes")
        below = [*fixed, *(f"routes/{quote(one, safe='')}" for one in ids)]
        entries = [{"href": f"{BASE}/gateway/{each}", "methods": ["GET"]} for each in below]
        if request.app[OPERATORS].exist:
            entries.append({"href": f"{BASE}/gateway/refresh", "methods": ["POST"]})
        return plain(entries)

    async def routes(self, request: web.Request) -> web.StreamResponse:
        """The routes in the order in which they are matched."""
        table = request.app[CONFIGURATION].tables.current.table
        body = await self._renderer.render("routes", lambda: encode(routes_of(table)), table)
        return _streamed_response(body, "application/json", {"Cache-Control": "no-store"})

    async def route(self, request: web.Request) -> web.StreamResponse:
        """One route."""
        route = request.app[CONFIGURATION].tables.current.table.route(request[CONTEXT].parameters["id"])
        if route is None:
            raise RouteNotFound
        return plain(actuator_route(route))

    async def prometheus(self, request: web.Request) -> web.StreamResponse:
        """All metrics of the process in Prometheus's format. With thousands of series, writing them takes seconds."""
        form = negotiate_format(",".join(request.headers.getall("Accept", ())))
        body = await self._renderer.render(form.media_type, lambda: _metrics(form.media_type))
        return _streamed_response(body, form.content_type, {})


def _metrics(media_type: str) -> bytes:
    # ``server_stats`` reads only this header. It gives the newest version of either format, whatever version is
    # requested.
    answer = _result(server_stats(cast(web.Request, _AcceptHeader({"Accept": media_type}))))
    return cast(bytes, answer.body)


def _result(coroutine: Coroutine[Any, Any, web.Response]) -> web.Response:
    """The result of a coroutine that never waits, so it needs no loop."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return cast(web.Response, done.value)
    raise RuntimeError("it waits")


def _streamed_response(body: bytes, content_type: str, headers: dict[str, str]) -> web.Response:
    # Written in pieces: written as a whole, each slow client would hold a copy in memory.
    return web.Response(body=BytesIO(body), headers={"Content-Type": content_type, **headers})
