"""Adds the discovery locator's routes to a table: one for each known service."""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Iterable
from typing import Final

from gateway.routing.spec.issues import Issues
from gateway.routing.table import RouteTable

MAX_SERVICES: Final = 1000
"""Further names are left out, so that registering services can't grow the table without limit."""
RESERVED: Final = frozenset(
    {".well-known", "actuator", "api", "health", "metrics", "swagger-ui", "swagger-ui.html", "v3"}
)
"""Service names that get no route, because the gateway answers below ``/{name}`` itself, or calls there are usually
open."""
_SERVICE = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,126}[a-z0-9])?")

_log = logging.getLogger(__name__)


def with_discovered_routes(table: RouteTable, names: Iterable[str], *, own: str = "") -> RouteTable:
    """``table`` with the locator's routes for its own services and ``names``, after the routes of the same order.

    ``own``: the name under which the gateway itself is registered. It gets no route.
    """
    locator = table.locator
    if locator is None:
        return table
    left_out = RESERVED | locator.exclude | {own.lower()}
    known = sorted({name.lower() for name in (*table.services, *names)} - left_out)
    fit = [name for name in known if _SERVICE.fullmatch(name)]
    if len(fit) > MAX_SERVICES:
        _log.warning("%d services are known; the locator makes routes for %d", len(fit), MAX_SERVICES)
    issues = Issues(table.source)
    taken = {route.id for route in table.routes}
    made = [route for route in locator.routes(fit[:MAX_SERVICES], issues) if route.id not in taken]
    if issues.errors:
        _log.warning("the locator could not make every route: %s", issues.errors[0].message)
    if not made:
        return table
    made = [
        dataclasses.replace(route, tls=table.service_tls.get(route.upstream.service or "")) for route in made
    ]
    routes = sorted((*table.routes, *made), key=lambda route: route.order)
    return dataclasses.replace(table, routes=tuple(routes))
