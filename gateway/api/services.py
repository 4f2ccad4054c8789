"""``GET /actuator/services``: the services, their instances and the circuit breakers, as this gateway sees them."""

from __future__ import annotations

import time
from typing import Any, Final

from aiohttp import web

from gateway.api.actuator import BASE
from gateway.api.endpoints import Endpoint
from gateway.api.envelope import success
from gateway.context import BREAKERS, CONTEXT, INSTANCES
from gateway.proxy.breakers import BreakerReport
from gateway.proxy.service_report import InstanceReport
from gateway.settings.model import Settings

PATH: Final = f"{BASE}/services"
"""The call below ``/actuator``."""


def endpoints(settings: Settings) -> tuple[Endpoint, ...]:
    """The endpoint for operators."""
    return (Endpoint("GET", PATH, show, auth="management", label="actuator.services"),)


async def show(request: web.Request) -> web.StreamResponse:
    """The services of the route file and the circuit breakers that have had a call."""
    return success(request[CONTEXT], "services.shown", data=services_object(request.app))


def services_object(app: web.Application) -> dict[str, Any]:
    """All services with their instances, and all circuit breakers, as this gateway sees them now."""
    return {
        "services": [
            {
                "service": each.service,
                "healthy": each.count("healthy"),
                "instances": [instance_object(one) for one in each.instances],
            }
            for each in app[INSTANCES].report()
        ],
        "breakers": [_breaker_object(each) for each in app[BREAKERS].report()],
    }


def instance_object(report: InstanceReport) -> dict[str, Any]:
    """An instance. ``since`` is in epoch milliseconds; ``share`` is less than 1 while the instance warms up."""
    content: dict[str, Any] = {"instance": report.instance}
    if report.address:
        content["address"] = report.address
    content |= {"state": report.state, "requests": report.requests}
    if report.seconds is not None:
        content["since"] = _epoch_ms(report.seconds)
    if report.reason and report.state != "healthy":
        content["reason"] = report.reason
    if report.share < 1:
        content["share"] = round(report.share, 2)
    return content


def _breaker_object(report: BreakerReport) -> dict[str, Any]:
    content: dict[str, Any] = {
        "name": report.name,
        "state": report.state,
        "since": _epoch_ms(report.seconds),
    }
    if report.seconds_left:
        content["retryAfter"] = round(report.seconds_left, 1)
    return content


def _epoch_ms(seconds_ago: float) -> int:
    # In whole seconds: read from two clocks, and so never the same to the millisecond.
    return round(time.time() - seconds_ago) * 1000
