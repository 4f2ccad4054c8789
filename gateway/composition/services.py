"""The instances of services: where the route table names some, and what watches them beside the requests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial

from gateway.observability.metrics import Metrics
from gateway.proxy.health_checks import HealthChecks
from gateway.proxy.load_balancer import Instances
from gateway.proxy.name_lookups import Lookup, NameLookups
from gateway.proxy.service_report import INSTANCE_STATES
from gateway.proxy.upstream import UpstreamBase
from gateway.routing.table import RouteTable
from gateway.service_tls import ServiceTls
from gateway.settings.model import Settings


@asynccontextmanager
async def watching_instances(
    instances: Instances,
    settings: Settings,
    metrics: Metrics,
    lookup: Lookup,
    table: Callable[[], RouteTable],
) -> AsyncIterator[None]:
    """Looks up names and checks health until the block ends. ``table``: the one in force."""
    metrics.count_instances(partial(_counts, instances))
    async with (
        # First, so that the checks begin with the addresses of names.
        NameLookups(instances, settings.proxy_dns_seconds, metrics.looked_up, lookup).running(),
        HealthChecks(
            instances, metrics.health_checked, lambda service: tls_of_service(table(), service)
        ).running(),
    ):
        yield


def hosts_of_routes(table: RouteTable) -> Iterator[UpstreamBase]:
    """The hosts of routes that name no service."""
    for route in table.routes:
        upstream = route.upstream
        if upstream.service is None and upstream.host:
            yield UpstreamBase(upstream.scheme, upstream.host, upstream.port)


def tls_of_service(table: RouteTable, service: str) -> ServiceTls | None:
    """How the health of a service is asked over TLS: as the service says, else as the first route to it that says
    something of TLS."""
    return table.service_tls.get(service) or next(
        (route.tls for route in table.routes if route.tls and route.upstream.service == service), None
    )


def _counts(instances: Instances) -> Iterator[tuple[tuple[str, str], int]]:
    """How many instances of each configured service are in each state, by service and state."""
    for service in instances.report():
        for state in INSTANCE_STATES:
            yield (service.service, state), service.count(state)
