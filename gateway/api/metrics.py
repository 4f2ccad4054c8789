"""``/actuator/metrics``: single metrics in Spring's JSON, for tools that can't read Prometheus's format."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from io import BytesIO
from typing import Final

from aiohttp import web

from gateway.api.actuator import BASE, BackgroundRenderer
from gateway.api.endpoints import Auth, Endpoint
from gateway.api.envelope import encode
from gateway.api.spring_json import media_type_of, spring_json
from gateway.context import CONTEXT, OBSERVERS, RequestContext
from gateway.errors import BadRequest, FieldError, RouteNotFound
from gateway.observability.metrics import Metrics
from gateway.observability.spring_names import Meter, Pair, Processor, meter_json, meters_of
from gateway.query import values_of
from gateway.settings.model import Settings

MAX_TAGS: Final = 16
"""More tags than any metric has. Each tag is compared with all series."""


class MetricsApi:
    """The names of all metrics, and each metric with its numbers."""

    def __init__(self) -> None:
        self._renderer = BackgroundRenderer()
        self._processor = Processor()

    def endpoints(self, settings: Settings) -> tuple[Endpoint, ...]:
        """The endpoints of this module."""
        reads: Auth = "management" if settings.management_reads == "token" else "nothing"
        return (
            Endpoint("GET", f"{BASE}/metrics", self.names, auth=reads, label="actuator.metrics"),
            Endpoint("GET", f"{BASE}/metrics/{{name}}", self.metric, auth=reads, label="actuator.metrics"),
        )

    async def names(self, request: web.Request) -> web.StreamResponse:
        """The names of all metrics, sorted."""
        return spring_json(request, {"names": list(await self._meters(request.app[OBSERVERS].metrics))})

    async def metric(self, request: web.Request) -> web.StreamResponse:
        """One metric: all its series combined, or only those with the tags in ``?tag=key:value``."""
        tags = tags_of(request[CONTEXT])
        meter = (await self._meters(request.app[OBSERVERS].metrics)).get(request[CONTEXT].parameters["name"])
        if meter is None:
            raise RouteNotFound
        body = await self._renderer.render("metric", partial(_render_meter, meter, tags), object())
        if body is None:
            raise RouteNotFound
        return web.Response(
            body=BytesIO(body), headers={"Content-Type": media_type_of(request), "Cache-Control": "no-store"}
        )

    async def _meters(self, metrics: Metrics) -> Mapping[str, Meter]:
        return await self._renderer.render("meters", partial(self._read, metrics))

    def _read(self, metrics: Metrics) -> Mapping[str, Meter]:
        return meters_of(metrics.registry.collect(), self._processor.usage())


def tags_of(context: RequestContext) -> tuple[Pair, ...]:
    """The tags in a call, each once. Raises BadRequest for a tag that is not ``key:value``, and for too many tags."""
    target = context.target
    if target is None or not target.has_query:
        return ()
    given = dict.fromkeys(values_of(target.raw_query, "tag"))
    if len(given) > MAX_TAGS:
        raise BadRequest(f"tag may be given {MAX_TAGS} times at most")
    tags = [(key, value) for key, colon, value in (each.partition(":") for each in given) if key and colon]
    if len(tags) < len(given):
        faults = [
            FieldError("tag", each[:64], "allowed is key:value") for each in given if ":" not in each[1:]
        ]
        raise BadRequest("a tag is not key:value", tuple(faults))
    return tuple(tags)


def _render_meter(meter: Meter, tags: tuple[Pair, ...]) -> bytes | None:
    content = meter_json(meter, tags)
    return None if content is None else encode(content)
