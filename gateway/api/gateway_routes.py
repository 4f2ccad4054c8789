"""The rest of Spring Cloud Gateway's ``/actuator/gateway``: the predicates and filters available for routes, and the
filters that apply to every call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aiohttp import web

from gateway.api.actuator import BASE
from gateway.api.endpoints import Auth, Endpoint
from gateway.api.spring_json import plain
from gateway.context import OBSERVERS
from gateway.routing.describe import filter_factories, predicate_factories
from gateway.settings.model import Settings

_SPRING: Final = "org.springframework.cloud.gateway.filter."

MIDDLEWARES: Final = tuple(
    f"gateway.middleware.{name}.{name}"
    for name in ("access_log", "errors", "resolve", "cors", "overload", "authentication", "gate")
)
"""The middlewares that each call passes before it reaches a service, in this order."""

_METRICS: Final = f"{_SPRING}GatewayMetricsFilter"
_SPRING_FILTERS: Final = {
    f"{_SPRING}NettyWriteResponseFilter": -1,
    _METRICS: 0,
    f"{_SPRING}RouteToRequestUrlFilter": 10_000,
    f"{_SPRING}ReactiveLoadBalancerClientFilter": 10_150,
    f"{_SPRING}WebsocketRoutingFilter": 2**31 - 2,
    f"{_SPRING}NettyRoutingFilter": 2**31 - 1,
}
"""Spring's filters whose work the gateway does too, with their order in Spring. Those for cached bodies, for
``forward:`` and for cookies that hold an instance are missing."""


def global_filter_order(*, spring_metrics: bool) -> dict[str, int]:
    """Every middleware and filter for a forwarded call, with its order: lower comes first."""
    first = -1000
    own = {name: first + at for at, name in enumerate(MIDDLEWARES)}
    spring = {name: order for name, order in _SPRING_FILTERS.items() if spring_metrics or name != _METRICS}
    return own | spring


def endpoints(settings: Settings) -> tuple[Endpoint, ...]:
    """The endpoints of this module."""
    reads: Auth = "management" if settings.management_reads == "token" else "nothing"
    base, label = f"{BASE}/gateway", "actuator.routes"
    return (
        Endpoint("GET", f"{base}/globalfilters", global_filters, auth=reads, label=label),
        Endpoint("GET", f"{base}/routefilters", route_filters, auth=reads, label=label),
        Endpoint("GET", f"{base}/routepredicates", route_predicates, auth=reads, label=label),
    )


async def global_filters(request: web.Request) -> web.StreamResponse:
    """The filters that apply to every call, with their order."""
    return _json_response(
        global_filter_order(spring_metrics=request.app[OBSERVERS].spring_metrics is not None)
    )


async def route_filters(request: web.Request) -> web.StreamResponse:
    """The filters that a route may have."""
    return _json_response(dict.fromkeys(filter_factories()))


async def route_predicates(request: web.Request) -> web.StreamResponse:
    """The predicates that a route may have."""
    return _json_response(dict.fromkeys(predicate_factories()))


def _json_response(content: Mapping[str, int | None]) -> web.StreamResponse:
    return plain(content)
