"""What else Spring Cloud Gateway's ``/actuator/gateway`` tells: which predicates and filters there are for routes, and
what is done to every call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aiohttp import web

from gateway.api.actuator import BASE
from gateway.api.endpoints import Endpoint, Needs
from gateway.context import Context, Exchange
from gateway.routing.describe import filter_factories, predicate_factories
from gateway.web.actuator_json import plain

_SPRING: Final = "org.springframework.cloud.gateway.filter."

OWN_STEPS: Final = (
    "gateway.middleware.resolve.locating",
    "gateway.middleware.cors.crossing",
    "gateway.middleware.admit.shedding",
    "gateway.middleware.admit.authenticating",
    "gateway.middleware.admit.gating",
)
"""What each call passes before a service is asked, in this order."""

_METRICS: Final = f"{_SPRING}GatewayMetricsFilter"
_OF_SPRING: Final = {
    f"{_SPRING}NettyWriteResponseFilter": -1,
    _METRICS: 0,
    f"{_SPRING}RouteToRequestUrlFilter": 10_000,
    f"{_SPRING}ReactiveLoadBalancerClientFilter": 10_150,
    f"{_SPRING}WebsocketRoutingFilter": 2**31 - 2,
    f"{_SPRING}NettyRoutingFilter": 2**31 - 1,
}
"""Spring's filters whose work is done here as well, with their order there. There are none for cached bodies, for
``forward:`` and for cookies that hold an instance."""


def global_filters(*, spring_metrics: bool) -> dict[str, int]:
    """Everything that is done to a call which is forwarded, with its order: lower comes first."""
    first = -1000
    own = {name: first + at for at, name in enumerate(OWN_STEPS)}
    spring = {name: order for name, order in _OF_SPRING.items() if spring_metrics or name != _METRICS}
    return own | spring


class GatewayApi:
    """Three calls whose answers never change."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def endpoints(self) -> tuple[Endpoint, ...]:
        """All of them."""
        reads: Needs = "management" if self._context.settings.management_reads == "token" else "nothing"
        base, label = f"{BASE}/gateway", "actuator.routes"
        return (
            Endpoint("GET", f"{base}/globalfilters", self.global_filters, needs=reads, label=label),
            Endpoint("GET", f"{base}/routefilters", self.route_filters, needs=reads, label=label),
            Endpoint("GET", f"{base}/routepredicates", self.route_predicates, needs=reads, label=label),
        )

    async def global_filters(self, request: web.BaseRequest, exchange: Exchange) -> web.StreamResponse:
        """What is done to every call, with its order."""
        return _answer(global_filters(spring_metrics=self._context.spring_metrics is not None))

    async def route_filters(self, request: web.BaseRequest, exchange: Exchange) -> web.StreamResponse:
        """The filters that a route may have."""
        return _answer(dict.fromkeys(filter_factories()))

    async def route_predicates(self, request: web.BaseRequest, exchange: Exchange) -> web.StreamResponse:
        """The predicates that a route may have."""
        return _answer(dict.fromkeys(predicate_factories()))


def _answer(content: Mapping[str, int | None]) -> web.StreamResponse:
    return plain(content)
