"""A real Zipkin shows one trace across the gateway and a service that reports its own spans."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from gateway.observability.zipkin import ZipkinExporter
from tests.interop.peers import FIRST_START_SECONDS, peer
from tests.support.gateway_process import gateway_process
from tests.support.listening import listening
from tests.support.tokens import Issuer, serving

pytestmark = pytest.mark.timeout(FIRST_START_SECONDS + 60)

Trace = list[dict[str, Any]]
T = "4bf92f3577b34da6a3ce929d0e0e4736"
S = "00f067aa0ba902b7"

ROUTES = """
routes:
  - id: reservations
    uri: lb://reservation-service
    predicates: ["Path=/api/v1/reservations/**"]
services:
  reservation-service: ["%s"]
gates:
  - calls: [POST /api/v1/reservations]
"""


@pytest.fixture
async def zipkin() -> AsyncIterator[str]:
    async with peer("zipkin") as base:
        yield base


async def trace_of(zipkin: str, trace_id: str, enough: Callable[[Trace], bool]) -> Trace:
    """That trace as Zipkin shows it, once it holds enough."""
    found: Trace = []
    async with aiohttp.ClientSession() as session, asyncio.timeout(40):
        while not enough(found):
            await asyncio.sleep(0.1)
            async with session.get(f"{zipkin}/api/v2/trace/{trace_id}") as answer:
                found = json.loads(await answer.read()) if answer.status == 200 else []
    return found


def a_service(provider: TracerProvider) -> web.Application:
    """A service with OpenTelemetry's own idea of a ``traceparent``: it reports a span for each request."""
    tracer = provider.get_tracer("reservation-service")

    async def reserve(request: web.Request) -> web.Response:
        parent = TraceContextTextMapPropagator().extract(dict(request.headers.items()))
        with tracer.start_as_current_span("reserve a seat", parent, SpanKind.SERVER):
            return web.json_response({}, status=201)

    app = web.Application()
    app.router.add_post("/api/v1/reservations", reserve)
    return app


async def test_one_trace_shows_gateway_and_service(zipkin: str, redis_url: str, tmp_path: Path) -> None:
    endpoint = f"{zipkin}/api/v2/spans"
    provider = TracerProvider(
        resource=Resource({"service.name": "reservation-service"}), shutdown_on_exit=False
    )
    counts: list[tuple[str, int]] = []
    provider.add_span_processor(
        BatchSpanProcessor(
            ZipkinExporter(endpoint, lambda outcome, count: counts.append((outcome, count))),
            schedule_delay_millis=100,
        )
    )
    issuer = Issuer()
    routes = tmp_path / "routes.yaml"
    runner = web.AppRunner(a_service(provider), access_log=None)
    async with serving(issuer) as keys, listening(runner) as service:
        routes.write_text(ROUTES % service)
        environ = {
            "REDIS_URL": redis_url,
            "JWT_JWKS_URI": keys.uri,
            "ROUTES_FILE": str(routes),
            "ZIPKIN_ENDPOINT": endpoint,
            "MANAGEMENT_TRACING_SAMPLING_PROBABILITY": "1",
            "ALLOWED_IN_MAX_CAPACITY": "1",
        }
        headers = {"Authorization": f"Bearer {issuer.token('ann')}"}
        async with (
            gateway_process(environ, tmp_path) as gateway,
            aiohttp.ClientSession(headers=headers) as session,
        ):
            async with session.post(f"{gateway.base}/api/v1/queue/lineup") as answer:
                assert (await answer.json())["state"] == "ALLOWED_IN"
            client = {"traceparent": f"00-{T}-{S}-01", "tracestate": "vendor=1"}
            async with session.post(f"{gateway.base}/api/v1/reservations", headers=client) as answer:
                assert (answer.status, answer.headers["X-Trace-Id"]) == (201, T)
            trace = await trace_of(zipkin, T, lambda spans: len(spans) >= 4)
            bob = {"Authorization": f"Bearer {issuer.token('bob')}"}
            async with session.post(f"{gateway.base}/api/v1/queue/lineup", headers=bob) as answer:
                assert (await answer.json())["state"] == "WAITING"
                lineup = answer.headers["X-Trace-Id"]
            async with session.delete(f"{gateway.base}/api/v1/queue/allowed-in-token") as answer:
                assert answer.status == 200
            waited = await trace_of(zipkin, lineup, lambda spans: len(spans) >= 3)
            assert any(f"trace={T}" in line for line in gateway.lines)
    await asyncio.to_thread(provider.shutdown)

    by_name = {(span["localEndpoint"]["serviceName"], span["name"], span.get("kind")): span for span in trace}
    assert set(by_name) == {
        ("gateway-server", "post reservations", "SERVER"),
        ("gateway-server", "redis gate", "CLIENT"),
        ("gateway-server", "post reservations", "CLIENT"),
        ("reservation-service", "reserve a seat", "SERVER"),
    }
    server = by_name["gateway-server", "post reservations", "SERVER"]
    call = by_name["gateway-server", "post reservations", "CLIENT"]
    assert server["parentId"] == S
    assert by_name["gateway-server", "redis gate", "CLIENT"]["parentId"] == server["id"]
    assert call["parentId"] == server["id"]
    assert by_name["reservation-service", "reserve a seat", "SERVER"]["parentId"] == call["id"]
    assert call["remoteEndpoint"]["serviceName"] == "reservation-service"
    assert {span["name"] for span in waited} == {"post queue.lineup", "redis lineup", "queue.admission"}
    assert counts == [("sent", 1)]


async def test_what_still_waits_is_sent_before_the_gateway_ends(
    zipkin: str, redis_url: str, tmp_path: Path
) -> None:
    environ = {
        "REDIS_URL": redis_url,
        "ZIPKIN_ENDPOINT": f"{zipkin}/api/v2/spans",
        "SPRING_APPLICATION_NAME": "edge",
        "TRACING_SAMPLING_PROBABILITY": "1",
    }
    async with gateway_process(environ, tmp_path) as gateway:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{gateway.base}/nowhere") as answer,
        ):
            trace_id = answer.headers["X-Trace-Id"]
        gateway.process.terminate()
        assert await gateway.ended() == 0
    [span] = await trace_of(zipkin, trace_id, lambda spans: len(spans) == 1)
    assert span["localEndpoint"]["serviceName"] == "edge"
    assert span["tags"]["http.response.status_code"] in {"401", "404"}
